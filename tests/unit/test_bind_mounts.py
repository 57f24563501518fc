"""Which engine docker uses, whether it sees our folders, and the message if it does not; also on macOS."""

import hashlib
import json
import os
import re
import socket
from pathlib import Path

import docker_desktop
import pytest

from airflow_docker.engines import endpoint, engine_host, folders, images
from airflow_docker.engines.compose import bind_mounts, commands
from airflow_docker.engines.compose.bind_mounts import Look
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.endpoint import Endpoint
from airflow_docker.engines.engine_host import EngineHost
from airflow_docker.engines.standalone import variables
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.engines.swarm.engine import Swarm
from airflow_docker.engines.swarm.tasks import Services
from airflow_docker.errors import UserError
from airflow_docker.verbs.checks import machine, project, remote

DOCKER = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "MINIKUBE_ACTIVE_DOCKERD")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder without any choice of an engine."""
    for name in DOCKER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def contexts(home, current="", **sockets):
    """What `docker context create` and `use` write."""
    config = home / ".docker"
    config.mkdir(exist_ok=True)
    (config / "config.json").write_text(json.dumps({"currentContext": current} if current else {"auths": {}}))
    for name, host in sockets.items():
        folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "meta.json").write_text(
            json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})
        )


# --- the endpoint ---


def test_the_endpoint_is_the_one_that_docker_uses(home, monkeypatch):
    assert endpoint.current() == Endpoint("unix:///var/run/docker.sock")
    contexts(home, current="far", far="ssh://me@server", near="unix:///near.sock")
    assert endpoint.current() == Endpoint("ssh://me@server", "context far")
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    assert endpoint.current() == Endpoint("unix:///near.sock", "DOCKER_CONTEXT")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint.current() == Endpoint("unix:///var/run/docker.sock", "DOCKER_CONTEXT")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    assert endpoint.current() == Endpoint("tcp://192.0.2.1:2375", "DOCKER_HOST")
    assert endpoint.current().shown == "tcp://192.0.2.1:2375 (DOCKER_HOST)"


@pytest.mark.parametrize("written", ["", "[]", "{", '{"currentContext": 1}', '{"currentContext": "gone"}'])
def test_invalid_config_files_leave_the_default_endpoint(home, written):
    contexts(home)
    (home / ".docker" / "config.json").write_text(written)
    assert endpoint.current().address == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("unix:///var/run/docker.sock", False),
        ("tcp://127.0.0.1:2375", False),
        ("tcp://localhost:2376", False),
        ("ssh://me@localhost", False),
        ("127.0.0.1:2375", False),
        ("192.0.2.1:2375", True),
        ("tcp://[::1", False),
        ("tcp://192.0.2.1:2376", True),
        ("ssh://me@192.0.2.1:22", True),
        ("ssh://no-such-host.invalid", True),
    ],
)
def test_another_machine_is_known_by_its_address(address, expected):
    assert Endpoint(address).is_elsewhere is expected


def test_the_remedy_undoes_the_choice_of_the_endpoint(home, monkeypatch):
    assert Endpoint("tcp://h", "DOCKER_HOST").remedy == "unset DOCKER_HOST"
    assert Endpoint("tcp://h", "DOCKER_CONTEXT").remedy == "unset DOCKER_CONTEXT"
    assert Endpoint("ssh://h", "context far").remedy == "docker context use default"
    contexts(home, **docker_desktop.SOCKETS)
    assert Endpoint("ssh://h", "context far").remedy == "docker context use desktop-linux"
    monkeypatch.setenv("MINIKUBE_ACTIVE_DOCKERD", "minikube")
    assert Endpoint("tcp://192.168.49.2:2376", "DOCKER_HOST").remedy == "eval $(minikube docker-env --unset)"


# --- what is mounted ---


@pytest.mark.parametrize("flavour", ["", "EXECUTOR=CeleryExecutor\n", "AIRFLOW_VERSION=3.3.2\n"])
def test_every_folder_that_compose_mounts_is_checked(make_settings, tmp_path, flavour):
    extra = "/home/airflow/extern/Archive4"
    engine = Compose(make_settings(f"EXTRA_MOUNTS=/e:{extra}\nARCHIVE3_DIR=/a3\nLOGS_DIR=/logs\n{flavour}"))
    services = [service for layer in engine.layers for service in commands._read_layer(layer)["services"].values()]
    services += engine.overlay["services"].values()
    mounts = [volume for service in services if service for volume in service.get("volumes", [])]
    sources = {mount["source"] for mount in mounts if isinstance(mount, dict) and mount["type"] == "bind"}
    values = engine.environment()
    mounted = {re.sub(r"\$\{(\w+)\}", lambda name: values[name[1]], source) for source in sources}
    assert mounted == {str(folder) for folder in folders.mounted(engine.settings).values()}
    assert {name: str(folder) for name, folder in engine.mounted_folders().items()} == {
        "STATE_DIR": f"{tmp_path}/.state", "SECRETS_DIR": f"{tmp_path}/.secrets",
        "DAGS_DIR": f"{tmp_path}/sources/ao-workflows/airflow-docker/dags",
        "LOGS_DIR": "/logs", "ARCHIVE3_DIR": "/a3", f"EXTRA_MOUNTS ({extra})": "/e",
    }  # fmt: skip


def test_the_target_of_a_link_in_state_dir_is_checked_too(make_settings, tmp_path):
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "mnt").symlink_to("/srv")
    assert Compose(make_settings()).mounted_folders()["ARCH_ROOT"] == tmp_path / ".state" / "mnt"


def test_standalone_mounts_nothing(make_settings):
    engine = Standalone(make_settings())
    assert engine.mounted_folders() == {}
    engine.require_bind_mounts()


def test_commands():
    look = Look("p", "i:1", {"STATE_DIR": Path("/s"), "ARCH_ROOT": Path('/a, "b"')})
    first, second = '"type=bind","source=/s"', '"type=bind","source=/a, ""b"""'
    assert look.create_command() == [
        "docker", "create", "--name", "p-bind-mounts", "--pull", "never",
        "--label", "com.docker.compose.project=p", "--label", "com.docker.compose.oneoff=True",
        "--label", "com.docker.compose.config-hash=none",
        "--mount", f'{first},"target=/seen/0","readonly"', "--mount", f'{second},"target=/seen/1","readonly"',
        "--entrypoint", "sh", "i:1",
    ]  # fmt: skip
    assert look.read_command("1/") == ["docker", "cp", "p-bind-mounts:/seen/1/", "-"]
    assert look.remove_command() == ["docker", "rm", "--force", "--volumes", "p-bind-mounts"]
    run = ["docker", "run", "--rm", "--pull", "never", "--network", "none", "--user", "0:0"]
    assert look.list_command(None) == [*run, "--entrypoint", "sh", "i:1", "-c", "true"]
    assert look.list_command(Path("/s")) == [
        *run, "--mount", f'{first},"target=/seen","readonly"', "--entrypoint", "sh", "i:1",
        "-c", "stat -c %Y /seen && ls -A /seen",
    ]  # fmt: skip


# --- what is seen ---


class Answers(Look):
    """A check whose quick part fails, and whose containers are shell commands: one for each folder."""

    scripts: dict[Path | None, str]

    def create_command(self):
        return ["false"]

    def list_command(self, folder):
        return ["sh", "-c", self.scripts[folder]]


def unseen(folder, script, name="DAGS_DIR", control="true"):
    look = Answers("p", "i:1", {name: folder})
    object.__setattr__(look, "scripts", {folder: script, None: control})
    return list(look.unseen())


def test_a_running_container_decides_if_the_quick_check_fails(tmp_path):
    """A share may show an old time, and its names may not be readable."""
    here = tmp_path / "here"
    here.mkdir()
    time = int(here.stat().st_mtime)
    assert unseen(here, f"echo {time}") == []
    assert unseen(here, f"echo {time - 1}") == ["DAGS_DIR"]  # both are empty
    (here / "one.py").touch()
    (here / "two.py").touch()
    time = int(here.stat().st_mtime)
    assert unseen(here, "printf '1\\ntwo.py\\n'") == []
    assert unseen(here, "printf '1\\nthree.py\\n'") == ["DAGS_DIR"]
    assert unseen(here, f"echo {time}") == ["DAGS_DIR"]  # another one, created in the same second
    assert unseen(here, "exit 125") == ["DAGS_DIR"]
    assert unseen(here, "exit 2") == []  # root may be nobody on a network mount
    assert unseen(here, "exit 125", control="exit 125") == []  # then the folder is not the cause


def test_state_dir_is_known_only_by_its_mark(tmp_path):
    (tmp_path / ".seen-of-a-run-that-was-killed").touch()
    (tmp_path / "up.log").touch()
    assert unseen(tmp_path, f"stat -c %Y {tmp_path}; echo up.log; echo .seen-0", "STATE_DIR") == ["STATE_DIR"]
    assert unseen(tmp_path, f"echo 1; ls -A {tmp_path}", "STATE_DIR") == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["up.log"]


def test_the_message(tmp_path, monkeypatch):
    look = Answers("p", "i:1", {"ARCH_ROOT": Path("/a"), "EXTRA_MOUNTS (/x)": Path("/e")})
    object.__setattr__(look, "scripts", {Path("/a"): "exit 125", Path("/e"): "exit 125", None: "true"})
    monkeypatch.setattr(engine_host, "ask", lambda: EngineHost("server", "Debian GNU/Linux 12 (bookworm)"))
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    with pytest.raises(UserError) as caught:
        bind_mounts.require(look, "Or set ENGINE=standalone.")
    assert caught.value.text == (
        "docker: the engine at ssh://me@server (DOCKER_HOST) does not see ARCH_ROOT (/a), EXTRA_MOUNTS (/x) (/e). "
        "To use the engine of this machine: unset DOCKER_HOST. Or type inv on the machine where the engine runs. "
        "Or set ENGINE=standalone."
    )


def test_the_remedy_is_that_of_the_virtual_machine():
    own, two = Endpoint("unix:///var/run/docker.sock"), [Path("/a"), Path("/b c")]
    start = """--mount "$HOME:w" --mount /a:w --mount '/b c:w'"""
    for name, system, at, expected in [
        ("docker-desktop", "Docker Desktop", own, "Share them in Docker Desktop: Settings, Resources, File sharing."),
        ("colima", "Ubuntu", own, f"Type: colima stop; colima start {start}"),
        ("colima-x", "Ubuntu", own, f"Type: colima stop x; colima start x {start}"),
        ("a5f0", "Debian", own, "Type inv on the machine where the engine runs."),
    ]:
        assert engine_host.remedy(EngineHost(name, system), at, two) == expected


def _entered(context):
    with context:
        pass


MOUNTING = {
    "up": lambda engine: _entered(engine.starting(unchanged=False)),
    "restart": lambda engine: _entered(engine.restarting(["scheduler"])),
    "scale": lambda engine: engine.scale(2),
    "dags": lambda engine: engine.parse_dags(isolated=True),
    "rotate": lambda engine: engine.apply_key("fernet_key"),
    "restore": lambda engine: _entered(engine.database.running_server()),
}


@pytest.mark.parametrize(
    ("kind", "verb"),
    [*((Compose, verb) for verb in MOUNTING), *((Swarm, verb) for verb in ("up", "restart", "dags", "rotate"))],
)
def test_everything_that_mounts_checks_first(make_settings, monkeypatch, kind, verb):
    """On swarm a database has no folder of ours, nor has `inv scale` anything to mount that was not mounted before."""
    settings = make_settings("EXECUTOR=CeleryExecutor\n")
    settings.state_dir.mkdir()
    engine, ran = kind(settings, "i:1"), []

    def refuse(self):
        raise UserError("docker", "the engine does not see it.")

    monkeypatch.setattr(kind, "require_bind_mounts", refuse)
    monkeypatch.setattr(kind, "states", lambda self: [])
    monkeypatch.setattr("airflow_docker.engines.images.require", lambda name, where: {"Id": "i"})
    monkeypatch.setattr("airflow_docker.engines.ports.require_free", lambda port, port_owner: None)
    for name in ("capture", "stream", "start"):
        monkeypatch.setattr(f"airflow_docker.shell.{name}", lambda command, **_: ran.append(command) or Ended())
    if kind is Swarm:
        monkeypatch.setattr(kind, "services_inspected", lambda self: Services({}, [], {}))
        monkeypatch.setattr(kind, "_prepared", lambda self, *_, **__: ({}, None))
    with pytest.raises(UserError, match="does not see it"):
        MOUNTING[verb](engine)
    assert [command for command in ran if "up" in command or "run" in command or "deploy" in command] == []


class Ended:
    """A program that has ended well."""

    returncode, stdout, stderr = 0, "", ""


# --- doctor, which starts nothing ---


def finding(settings, engine=Compose):
    result = machine.bind_mounts(settings, engine(settings))
    return result.state, result.detail, result.remedy


@pytest.fixture
def answers(home, monkeypatch):
    """Have docker answer as recorded, by :func:`docker_desktop.docker`."""

    def make(*args, **more):
        docker_desktop.docker(home / "bin", *args, **more)
        monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")

    return make


def test_doctor_knows_another_machine_without_asking_it(make_settings, answers, monkeypatch):
    answers()
    (Path(os.environ["HOME"]) / "bin" / "docker").write_text("#!/bin/sh\necho asked >&2; exit 1\n")
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@192.0.2.1")
    assert finding(make_settings()) == (
        "error",
        "the engine at ssh://me@192.0.2.1 (DOCKER_HOST) is on another machine, "
        "and its containers see no folder of this one.",
        "To use the engine of this machine: unset DOCKER_HOST. Or type inv on the machine where the engine runs.",
    )
    assert finding(make_settings("ENGINE=swarm\nDAGS_DELIVERY=image\n"), Swarm)[0] == "ok"
    assert finding(make_settings("ENGINE=swarm\n"), Swarm)[0] == "error"
    monkeypatch.delenv("DOCKER_HOST")
    assert finding(make_settings())[:2] == ("skipped", "Docker does not answer.")


def test_doctor_knows_this_machine_by_its_name(make_settings, answers, home):
    answers(docker_desktop.INFO | {"Name": socket.gethostname(), "OperatingSystem": "Debian GNU/Linux 12 (bookworm)"})
    assert finding(make_settings()) == ("ok", "unix:///var/run/docker.sock is the engine of this machine", "")
    answers(docker_desktop.INFO | {"Name": "other", "OperatingSystem": "Debian GNU/Linux 12 (bookworm)"})
    state, detail, remedy = finding(make_settings("ARCHIVE0_DIR=/a\n"))
    assert (state, remedy) == ("warning", "inv up checks each. Type inv on the machine where the engine runs.")
    named = {"STATE_DIR": home / ".state", "SECRETS_DIR": home / ".secrets"}
    named |= {"DAGS_DIR": home / "sources/ao-workflows/airflow-docker/dags", "ARCHIVE0_DIR": "/a"}
    unsure = ", ".join(f"{name} ({folder})" for name, folder in named.items())
    at = "the engine at unix:///var/run/docker.sock runs on other"
    assert detail == f"{at}, which may not see {unsure}."


# --- macOS, with recorded answers ---


@pytest.fixture
def mac(home, monkeypatch, answers):
    """A Mac with Docker Desktop, as far as our own code sees."""
    monkeypatch.setattr("sys.platform", "darwin")
    contexts(home, current="desktop-linux", **docker_desktop.SOCKETS)
    answers()
    return answers


def test_docker_desktop_is_supported_and_maps_owners_itself(mac, make_settings):
    settings = make_settings()
    assert Compose(settings).problem() is None
    assert Compose(settings).secret_owner.owner is None
    assert project.uid(settings, Compose(settings)).detail == "Docker Desktop shows files to the services as their own"
    assert "OBJC_DISABLE_INITIALIZE_FORK_SAFETY" in variables.own_variables(settings, settings.state_dir)


def test_folders_of_another_owner_are_no_problem_on_docker_desktop(mac, make_settings, home):
    settings = make_settings(f"LOGS_DIR={home}/logs\n")
    (home / "logs").mkdir(mode=0o500)
    (settings.workflow_dev_dir / settings.dags_dir).mkdir(parents=True, mode=0o500)
    owner = Compose(settings).secret_owner.owner
    assert folders.problems(settings, owner) == folders.dag_problems(settings, owner) == []
    folders.prepare(settings, owner)


def test_doctor_checks_docker_desktops_machine(mac, make_settings):
    settings = make_settings()
    engine = Compose(settings)
    assert machine.memory(settings, engine).detail == "4.1 GB are available"
    mac(docker_desktop.INFO | {"MemTotal": 2 * 10**9})
    assert machine.memory(settings, engine).remedy.endswith("Give Docker more: Docker Desktop, Settings, Resources.")
    mac(docker_desktop.INFO | {"DockerRootDir": "/no/such/folder"})  # it is one of the virtual machine
    assert machine.docker_disk(settings, engine).state == "skipped"
    assert images.pulls_through_proxy()
    assert remote.postgres_image(settings, engine).state == "warning"  # only its proxy knows


def test_doctor_knows_what_a_virtual_machine_shares_by_default(mac, make_settings):
    at = f"the engine at {docker_desktop.SOCKETS['desktop-linux']} (context desktop-linux) runs on docker-desktop, a "
    shared = make_settings("ARCH_ROOT=/Volumes/Archive\n")
    assert finding(shared) == (
        "ok",
        f"{at}virtual machine of Docker Desktop, which shares these folders by default; inv up checks each",
        "",
    )
    state, detail, remedy = finding(make_settings("ARCH_ROOT=/srv/archive\n"))
    assert state == "warning" and detail.endswith("which may not see ARCH_ROOT (/srv/archive).")
    assert remedy == "inv up checks each. Share them in Docker Desktop: Settings, Resources, File sharing."
    mac(docker_desktop.COLIMA)
    state, detail, remedy = finding(shared)
    assert state == "warning" and detail.endswith("which may not see ARCH_ROOT (/Volumes/Archive).")
    assert remedy.endswith('Type: colima stop; colima start --mount "$HOME:w" --mount /Volumes/Archive:w')


def test_a_folder_that_docker_desktop_does_not_share_is_named(mac, make_settings, home):
    archive, settings = home / "archive", make_settings(f"ARCH_ROOT={home}/archive\n")
    (archive / "Works").mkdir(parents=True)
    settings.state_dir.mkdir()
    mac(hidden=[archive, settings.state_dir])
    with pytest.raises(UserError) as caught:
        Compose(settings, "i:1").require_bind_mounts()
    socket_of_desktop = docker_desktop.SOCKETS["desktop-linux"]
    assert caught.value.text == (
        f"docker: the engine at {socket_of_desktop} (context desktop-linux) does not see "
        f"STATE_DIR ({settings.state_dir}), ARCH_ROOT ({archive}). "
        "Share them in Docker Desktop: Settings, Resources, File sharing. Or set ENGINE=standalone."
    )
