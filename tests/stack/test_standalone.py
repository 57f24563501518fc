"""The standalone engine: processes on this machine, and an environment that uv creates."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from trust.conftest import count

from airflow_docker import PROJECT
from airflow_docker.engines.standalone import processes
from stack.conftest import run, until

REPETITIONS = count(full=10, short=4)
ON = ("standalone",)
RELEASES = ("standalone", "standalone-3")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def listening(project):
    """Addresses and ports on which the project's processes listen."""
    addresses = set()
    for process in project.processes():
        addresses |= {c.laddr for c in process.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN}
    return addresses


@pytest.mark.on(*RELEASES)
def test_it_listens_on_loopback_at_its_port_and_nowhere_else(stack):
    assert listening(stack) == {("127.0.0.1", stack.settings.airflow_port)}


def test_the_home_of_the_tasks_is_the_projects_own(stack):
    environ = stack.environment()
    home = Path(environ["HOME"])
    assert home.is_relative_to(stack.settings.state_dir)
    assert (home / "bdrc/data").resolve() == stack.settings.work_data_dir.resolve()
    assert (home / "bdrc/log").resolve() == stack.settings.app_log_dir.resolve()
    assert (home / "dev/tmp").resolve() == stack.settings.arch_root.resolve()
    assert Path(environ["ARCH_ROOT"]) == stack.settings.arch_root
    script = shutil.which("syncOneWork.sh", path=environ["PATH"])
    assert script and Path(script).is_relative_to(stack.settings.build_dir)


@pytest.mark.on(*RELEASES)
def test_no_secret_is_in_an_environment_an_argument_list_or_a_plan(stack):
    values = [f.read_text() for f in stack.settings.secrets_dir.iterdir() if f.is_file() and f.stat().st_size]
    values += [stack.values["SECRET_AWS__default__aws_secret_access_key"], "marker-drs"]
    links = [link for link in stack.stack.folder.rglob("*") if link.is_symlink() and link.is_file()]
    assert {link.resolve().parent for link in links} == {stack.settings.secrets_dir.resolve()}
    inside = [f for f in stack.stack.folder.rglob("*") if f.is_file() and not f.is_symlink()]
    seen = [repr(p.environ()) + repr(p.cmdline()) for p in stack.processes()]
    seen += [f.read_text(errors="replace") for f in inside]
    assert not [value for value in values for text in seen if value in text]
    assert stack.stack.folder.stat().st_mode & 0o077 == 0


def test_the_users_own_environment_stays_outside(stack, monkeypatch):
    environ = stack.environment()
    assert not [
        name for name in environ if name.startswith(("SECRET_", "AWS_")) and name != "AWS_SHARED_CREDENTIALS_FILE"
    ]


def is_running_task(project):
    return project.sql("select count(*) from task_instance where state = 'running'") != "0"


def kill(process):
    process.kill()
    psutil.wait_procs([process], timeout=10)


@pytest.mark.parametrize("victim", ["scheduler", "webserver", "supervisor"])
def test_after_a_kill_status_is_true_up_heals_and_down_leaves_nothing(stack, victim):
    stack.inv("up")
    port = stack.settings.airflow_port
    for repetition in range(REPETITIONS):
        until(lambda: is_running_task(stack))
        written = json.loads((stack.stack.folder / "state.json").read_text())
        pid = written["supervisor"] if victim == "supervisor" else written["services"][victim]["pid"]
        kill(psutil.Process(pid))
        now = stack.json("status")
        assert now["state"] == "unhealthy", (repetition, now)
        if victim != "supervisor":
            assert {s["name"] for s in now["services"] if s["health"] != "healthy" and s["name"] != "init"} >= {victim}
        if repetition % 2:
            stack.inv("down")
            assert not stack.processes() and not listens(port), repetition
        stack.inv("up")
        healed = stack.json("status")
        assert healed["state"] == "healthy", (repetition, healed)


def test_a_second_up_leaves_what_runs_alone(stack):
    stack.inv("up")
    before = [p.pid for p in stack.processes("webserver")]
    assert "Already up and healthy" in stack.inv("up")
    assert before[0] in [p.pid for p in stack.processes("webserver")]


def test_down_after_a_reboot_and_with_a_reused_process_id(stack):
    stack.inv("up")
    state = stack.stack.folder / "state.json"
    text = state.read_text()
    stack.inv("down")
    with subprocess.Popen(["sleep", "600"]) as other:  # another program that has the process id of our supervisor
        try:
            state.write_text(text.replace(str(json.loads(text)["supervisor"]), str(other.pid)))
            assert "is not running" in stack.inv("status", code=3)
            assert "is not running" in stack.inv("down")
            stack.inv("up")
            stack.inv("down")
            assert other.poll() is None
        finally:
            other.kill()
    stack.inv("up")


def test_down_ends_what_runs_even_if_its_state_is_gone(project):
    project.inv("up")
    shutil.move(project.settings.state_dir, project.folder / "away")
    try:
        assert project.processes()
        project.inv("down")
        assert not project.processes()
    finally:
        shutil.rmtree(project.settings.state_dir, ignore_errors=True)
        shutil.move(project.folder / "away", project.settings.state_dir)


def test_what_ignores_being_asked_is_ended_all_the_same(tmp_path):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], env={}).wait()"
    environ = os.environ | {processes.MARK: str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", child, stubborn], env=environ, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        parent.stdout.readline()
        assert len(processes.tagged(str(tmp_path))) == 2  # the one without a tag is in the same session
        processes.end(str(tmp_path), grace=0.5)
        assert not [p for p in processes.tagged(str(tmp_path)) if p.status() != psutil.STATUS_ZOMBIE]
        assert parent.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)


def test_volumes_take_the_database_and_the_environment_and_nothing_else(project):
    project.inv("up")
    built = next(project.settings.build_dir.glob("standalone/*/venv"))
    archived = project.settings.arch_root / "mine.txt"
    archived.write_text("x")
    project.inv("down", "--volumes", "--yes")
    assert not built.exists() and not project.stack.folder.exists()
    assert archived.exists() and project.settings.build_dir.exists()


def test_an_environment_that_another_project_uses_stays(project, make_project, tmp_path_factory):
    other = make_project("standalone", tmp_path_factory.mktemp("other"), BUILD_DIR=str(project.settings.build_dir))
    for each in (project, other):
        each.inv("pull", "build")
    environments = list(project.settings.build_dir.glob("standalone/*/venv"))
    assert len(environments) == 1
    other.inv("down", "--volumes", "--yes")
    assert environments[0].exists()
    project.inv("down", "--volumes", "--yes")
    assert not environments[0].exists()


def test_a_package_that_cannot_be_compiled_is_named_with_its_remedy_and_can_be_left_out(project, tmp_path):
    project.inv("pull")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("mysqlclient==2.2.7\n")
    no_pkg_config = tmp_path / "bin"
    no_pkg_config.mkdir()
    (no_pkg_config / "pkg-config").write_text("#!/bin/sh\nexit 1\n")
    (no_pkg_config / "pkg-config").chmod(0o755)
    os.environ["PATH"], path = f"{no_pkg_config}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        output = project.inv("build", "--requirements", str(requirements), code=1)
    finally:
        os.environ["PATH"] = path
    assert "mysqlclient: there is no wheel of it for this machine, and it cannot be compiled here (see " in output
    assert "default-libmysqlclient-dev" in output and "STANDALONE_SKIP=mysqlclient" in output
    project.set(STANDALONE_SKIP="mysqlclient")
    project.inv("build", "--requirements", str(requirements))
    environment = next(project.settings.build_dir.glob("standalone/*/manifest.json")).parent
    assert "mysqlclient" not in (environment / "requirements.lock").read_text()
    assert "mysqlclient==2.2.7" in (project.settings.build_dir / "standalone/requirements.lock").read_text()


def test_what_is_for_images_only_is_named(project, tmp_path):
    (tmp_path / "audit.deb").write_text("x")
    project.set(SYSTEM_PACKAGES="no-such-package", AUDIT_TOOL_DEB=str(tmp_path / "audit.deb"))
    project.inv("pull")
    output = project.inv("build")
    assert "audit.deb, a Debian package" in output and "sudo apt install no-such-package" in output
    project.set(STANDALONE_SKIP="no-such-package audit-tool")
    output = project.inv("build")
    assert "Debian package" not in output and "apt install" not in output


def test_without_docker_auto_says_what_it_chose_and_why(project, tmp_path):
    project.set(ENGINE="auto")
    folder = tmp_path / "bin"
    folder.mkdir()
    slow = folder / "docker"
    for script, why in [("exit 1", "no Docker engine answers"), ("sleep 600", "has not answered in")]:
        slow.write_text(f"#!/bin/sh\n{script}\n")
        slow.chmod(0o755)
        os.environ["PATH"], path = f"{folder}:{os.environ['PATH']}", os.environ["PATH"]
        began = time.monotonic()
        try:
            output = project.inv("down")
        finally:
            os.environ["PATH"] = path
        assert "Engine: standalone (" in output and why in output
        assert time.monotonic() - began < 60


def test_a_user_without_root_in_a_folder_with_blanks(tmp_path_factory):
    python = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if usable(p)), None)
    if os.geteuid() != 0 or python is None:
        pytest.skip("needs root, to become somebody else, and a Python 3.11 that everybody can run")
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/no root XXXXXX"], text=True).strip())
    try:
        listed = run("git", "-C", str(PROJECT), "ls-files", "--cached", "--others", "--exclude-standard").stdout
        for name in listed.splitlines():
            if (PROJECT / name).exists():
                (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / "checkout" / name)
        (folder / "home").mkdir()
        for entry in (folder, *folder.rglob("*")):
            os.chown(entry, 1234, 1234)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        inherited = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_", "HTTP", "http"))}
        environ = inherited | {"HOME": str(folder / "home"), "PATH": "/usr/bin:/bin", "PYTHON": python,
                               "ENGINE": "standalone", "AIRFLOW_PORT": str(port)}  # fmt: skip
        shown = run(
            "setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "./inv", "demo",
            cwd=folder / "checkout", env=environ, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        down = run("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "./inv", "demo", "--down",
                   cwd=folder / "checkout", env=environ, stdin=subprocess.DEVNULL)  # fmt: skip
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "record" in shown.stderr and down.returncode == 0, down.stderr
        assert not (folder / "checkout" / ".demo").exists()
        assert not [p for p in os.listdir(folder / "home") if p in (".aws", ".config", "bdrc", "airflow")]
    finally:
        shutil.rmtree(folder)


def usable(python):
    """True if another user can create our environment with this Python."""
    question = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    command = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", python, "-c", question]
    return Path(python).exists() and not run(*command).returncode


def test_killed_at_any_moment_a_build_leaves_what_the_next_one_builds_from(project):
    project.inv("pull")
    command = [sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT), "build"]
    for _ in range(5):
        with subprocess.Popen(command, env=project.environ, stderr=subprocess.DEVNULL, start_new_session=True) as build:
            time.sleep(random.uniform(0.3, 4))
            os.killpg(build.pid, signal.SIGKILL)
    project.inv("up")
