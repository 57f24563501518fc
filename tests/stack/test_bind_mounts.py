"""An engine that does not see this machine's folders: the error of `inv` before it builds or starts anything."""

import shutil
import tarfile
from contextlib import contextmanager

import pytest

from airflow_docker import project_state
from airflow_docker.engines import endpoint
from airflow_docker.verbs import builds
from stack.conftest import ComposeProject, docker, run
from stack.engine import private_engine

PORT = 2375
ADDRESS = f"tcp://127.0.0.1:{PORT}"
TINY = "airflow-docker-test/tiny:1"
"""An image with only a shell and the programs that check folders."""
NEEDED = ("sh", "stat", "ls")
SENTENCE = f"docker: the engine at {ADDRESS} (DOCKER_HOST) does not see "
TODO = (
    "To use the engine of this machine: unset DOCKER_HOST. Or type inv on the machine where the engine runs. "
    "Or set ENGINE=standalone."
)


def tiny(file):
    """Write a tar of this machine's programs and their libraries, as an image's root."""
    programs = {f"bin/{name}": shutil.which(name) for name in NEEDED}
    fields = run("ldd", *programs.values()).stdout.split()
    libraries = {field.strip("/"): field for field in fields if field.startswith("/") and not field.endswith(":")}
    with tarfile.open(file, "w", dereference=True) as root:
        for name, program in (programs | libraries).items():
            root.add(program, name)


@pytest.fixture(scope="module")
def engine(docker_engine, tmp_path_factory):
    """A Docker engine over TCP, with its own host name and the tiny image."""
    with private_engine("elsewhere", f"--host={ADDRESS}", "--tls=false") as remote:
        root = tmp_path_factory.mktemp("tiny") / "root.tar"
        tiny(root)
        remote.docker("import", str(root), TINY)
        yield remote


@pytest.fixture
def here(engine, tmp_path):
    """A project whose base image cannot be pulled: a verb that gets as far as a build fails with that."""
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "Works").mkdir()
    project = ComposeProject(
        tmp_path / "here", POSTGRES_IMAGE=TINY, AIRFLOW_BASE_IMAGE="localhost:1/no:1", ARCHIVE0_DIR=str(archive)
    )
    project.docker_host = ADDRESS
    project.inside = ("nsenter", f"--net=/run/netns/{engine.network}")
    yield project
    shutil.rmtree(tmp_path)


@contextmanager
def hidden(engine, folder, *subfolders):
    """For the engine only, hide ``folder`` behind another one that has the empty ``subfolders``."""
    for command in (["mount", "-t", "tmpfs", "tmpfs", str(folder)], ["mkdir", "-p", *map(str, (folder, *subfolders))]):
        result = engine.inside(*command)
        assert result.returncode == 0, result.stderr
    try:
        yield
    finally:
        assert engine.inside("umount", str(folder)).returncode == 0


def error_of_up(here, engine):
    """The last line of `inv up`, which fails and must leave nothing on the engine or here."""
    output = here.inv("up", code=1)
    assert "Building" not in output and "Starting" not in output
    assert engine.docker("ps", "--all", "--quiet") == ""
    assert engine.docker("volume", "ls", "--quiet") == ""
    assert not list(here.settings.state_dir.glob(".seen-*"))
    return output.splitlines()[-1]


def expected(*named):
    return f"{SENTENCE}{', '.join(f'{name} ({folder})' for name, folder in named)}. {TODO}"


def outside(here):
    """The default folders that a project mounts besides the archive."""
    settings = here.settings
    dags = settings.workflow_dev_dir / settings.dags_dir
    return ("STATE_DIR", settings.state_dir), ("SECRETS_DIR", settings.secrets_dir), ("DAGS_DIR", dags)


def test_folders_that_are_missing_or_others_are_named_before_anything_is_built(here, engine):
    named = outside(here)
    with hidden(engine, here.folder):
        assert error_of_up(here, engine) == expected(*named)
    folders = [folder for _, folder in named]
    with hidden(engine, here.folder, *folders):
        assert error_of_up(here, engine) == expected(*named)
    archive = here.settings.archive0_dir
    with hidden(engine, archive):
        assert error_of_up(here, engine) == expected(("ARCHIVE0_DIR", archive))
    assert error_of_up(here, engine).startswith("AIRFLOW_BASE_IMAGE: localhost:1/no:1 is not on this machine")


def test_a_start_of_what_is_built_says_the_same_and_so_do_other_verbs_that_mount(here, engine):
    here.inv("secrets")
    here.inv("pull")
    note = {"artifact": TINY, "settings": builds._build_settings(here.settings)}
    project_state.update(here.settings, "compose", build=note)
    named = outside(here)
    with hidden(engine, here.folder, *(folder for _, folder in named)):
        assert error_of_up(here, engine) == expected(*named)
        assert here.inv("dags", code=1).splitlines()[-1] == expected(*named)


def test_doctor_judges_by_the_endpoint_and_the_host_name(here, engine):
    def bind_mounts():
        return next(check for check in here.json("doctor")["checks"] if check["name"] == "bind mounts")

    check = bind_mounts()
    assert check["state"] == "warning"
    runs = f"the engine at {ADDRESS} (DOCKER_HOST) runs on elsewhere, which may not see STATE_DIR ("
    assert check["found"].startswith(runs)
    assert check["remedy"].startswith("inv up checks each. To use the engine of this machine: unset DOCKER_HOST.")
    here.docker_host, here.inside = "", ()
    assert bind_mounts()["found"] == "unix:///var/run/docker.sock is the engine of this machine"
    assert engine.docker("ps", "--all", "--quiet") == ""


def test_the_endpoint_is_read_as_docker_reads_it(docker_engine, tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    docker("context", "create", "far", "--docker", "host=ssh://me@192.0.2.1")
    docker("context", "create", "near", "--docker", f"host=unix://{tmp_path}/sock")
    inspected = ("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    seen = set()
    for used, variable in (("far", ""), ("far", "near"), ("near", ""), ("near", "default")):
        docker("context", "use", used)
        if variable:
            monkeypatch.setenv("DOCKER_CONTEXT", variable)
        assert endpoint.current().address == docker(*inspected)
        seen.add(endpoint.current().address)
        monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    assert len(seen) == 3
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@192.0.2.2")
    assert endpoint.current().address == docker(*inspected) == "ssh://me@192.0.2.2"
    monkeypatch.delenv("DOCKER_HOST")
    docker("context", "use", "far")
    assert endpoint.current().remedy == "docker context use default"
    docker(*endpoint.current().remedy.split()[1:])
    assert endpoint.current() == endpoint.Endpoint(endpoint.DEFAULT)
