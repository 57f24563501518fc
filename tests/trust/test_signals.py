"""Ctrl-C and SIGTERM end every verb at once: one line, exit code 130 or 143, and no process left."""

import fcntl
import os
import pty
import signal
import socket
import sqlite3
import sys
import time

import pytest
from conftest import INV
from stack.conftest import free_port, run
from stack.test_demo import checkout  # noqa: F401  a copy of this one, for the demo

from trust.conftest import count
from trust.verbs import Running, gone

SECONDS = 2.0
ALLOWANCE = 0.5
"""More seconds for a busy machine."""
WAYS = [(number, group) for number in (signal.SIGINT, signal.SIGTERM) for group in (False, True)]


def ways(index):
    """Both signals, to the process and to its group: all four, in the short form one of them."""
    return WAYS[: count(4, 0)] or [WAYS[index % 4]]


@pytest.fixture
def ended(figure):
    """``ended(project, moment, way, verb, …)``: run the verb, interrupt it at the moment; its output since then."""

    def interrupt(project, moment, way, *args, **environ):
        number, group = way
        running = Running(project, *args, **environ)
        try:
            running.until(moment)
            before, children = running.text, running.children()
            began = time.monotonic()
            running.signal(number, group)
            code = running.process.wait(30)
            took = time.monotonic() - began
            output = running.text.removeprefix(before)
            context = (
                f"{args} {number.name} {'group' if group else 'process'} after {took:.2f} s: {code}\n{running.text}"
            )
            assert code == 128 + number, context
            assert took < SECONDS + ALLOWANCE, context
            assert output.splitlines()[-1] == f"inv {args[0]}: interrupted. Run it again to continue.", context
            assert "Traceback" not in running.text and running.text.count("interrupted.") == 1, context
            assert not (left := gone(children, 0.5)), (left, context)
        finally:
            running.end()
        figure("signals answered within 2 s", took <= SECONDS)
        return output

    return interrupt


def says(text):
    """The moment at which the output of a verb holds this text."""
    return lambda running: text in running.text


def runs(program):
    """The moment at which a verb has this program as a child."""
    return lambda running: running.has_child(program)


@pytest.fixture
def silent():
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.git"


@pytest.fixture
def alone(make_project, tmp_path):
    """A project on standalone; nothing runs."""
    return make_project("standalone", tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_pull_from_remotes_that_hang(alone, ended, silent, way):
    alone.set(AO_WORKFLOWS_URL=silent, ARCHIVE_OPS_URL=silent)
    ended(alone, runs("remote-http"), way, "pull")
    assert not [f.name for f in alone.folder.glob("sources/.*")]


@pytest.mark.parametrize("way", WAYS)
def test_secrets_that_wait_for_a_lock(alone, ended, way):
    alone.inv("secrets")
    lock = alone.settings.secrets_dir / ".lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended(alone, says("waiting for"), way, "secrets")
    alone.inv("secrets")
    assert not lock.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_build_of_an_environment(alone, ended, way):
    alone.inv("pull")
    ended(alone, runs("/uv"), way, "build")
    left = [f.name for f in (alone.settings.build_dir / "standalone").glob(".*")]
    assert not left, "the resolver's temporary folders are gone"


@pytest.mark.parametrize("verb", ["status", "doctor"])
@pytest.mark.parametrize("way", WAYS)
def test_a_look_at_a_docker_that_hangs(alone, ended, tmp_path, way, verb):
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nsleep 600\n")
    fake.chmod(0o755)
    alone.set(ENGINE="compose")
    ended(alone, runs("bin/docker"), way, verb, PATH=f"{fake.parent}{os.pathsep}{os.environ['PATH']}")


def large(project, megabytes=100):
    """Create a large database at the path of Airflow's, so that a copy takes a while."""
    project.inv("secrets")
    file = project.stack.database_file
    project.stack.folder.mkdir()
    (project.stack.folder / ".made-by-airflow-docker").touch()
    file.parent.mkdir()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('1')")
        database.execute("CREATE TABLE log (extra)")
        database.executemany("INSERT INTO log VALUES (?)", ([os.urandom(1 << 20)] for _ in range(megabytes)))
    database.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_backup_and_a_restore(alone, ended, way):
    large(alone)
    ended(alone, says("Packing"), way, "backup")
    state = alone.settings.state_dir
    assert not list(state.glob("backups/*")) + list(state.glob("backups/.*")) + list(state.glob("backup.*"))
    file = str(alone.folder / "whole.backup")
    alone.inv("backup", "--file", file)
    unpacking = lambda running: (state / "backup.work" / "database").exists()  # noqa: E731
    ended(alone, unpacking, way, "restore", file, "--yes")
    assert not list(state.glob("backup.*")) + list(state.glob("undo.*"))
    alone.inv("restore", file, "--yes")


TRAP = """
import signal, sys, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", flush=True)
end = time.monotonic() + 60
while not got and time.monotonic() < end:
    time.sleep(0.05)
time.sleep(3)
print("its own end", flush=True)
sys.exit(7)
"""


def test_ctrl_c_at_a_terminal_is_for_the_program_that_runs_there(alone, figure):
    """Airflow's own commands handle Ctrl-C themselves, with their own exit code."""
    pid, terminal = pty.fork()
    script = (
        "import sys\nfrom airflow_docker import interruption, shell\n"
        "with interruption.handle_signals(lambda: 'inv'):\n"
        f"    sys.exit(shell.stream([sys.executable, '-c', {TRAP!r}], interactive=True))\n"
    )
    if not pid:
        os.execv(INV[0], [INV[0], "-c", script])
    output = b""
    while b"ready" not in output:
        output += os.read(terminal, 1000)
    time.sleep(0.3)
    os.write(terminal, b"\x03")
    while b"its own end" not in output:
        output += os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, output


@pytest.mark.usefixtures("docker_engine")
def test_a_build_of_an_image(make_project, tmp_path, ended):
    project = make_project("compose", tmp_path)
    try:
        project.inv("pull")
        for way in ways(0):
            ended(project, says("DONE"), way, "build", "--no-cache")
        project.inv("build")
    finally:
        project.remove()


def test_what_waits_for_services(project, ended):
    """Services that `up` has started keep starting; the next `up` and `down` find them."""
    project.inv("pull", "secrets", "build")
    for index, way in enumerate(ways(1)):
        ended(project, says("· Starting"), way, "up")
        project.inv("up")
        ended(project, says("|"), way, "logs", "--follow")
        ended(project, runs("dags.py"), ways(2)[index], "dags")
        ended(project, runs("airflow"), ways(3)[index], "airflow", "dags list")
        ended(project, says("· Restarting"), way, "restart")
        ended(project, says("· Stopping"), way, "down")
        project.inv("up")
        project.inv("down")


def test_the_demo(make_project, checkout, tmp_path, ended):  # noqa: F811
    project = make_project("standalone", tmp_path / "environment")
    inv = [sys.executable, str(checkout / "airflow_docker"), "--search-root", str(checkout)]
    environ = {"ENGINE": "standalone", "AIRFLOW_PORT": str(free_port())}
    try:
        for way in ways(2):
            ended(project, runs("/uv"), way, "demo", inv=inv, **environ)
    finally:
        assert run(*inv, "demo", "--down").returncode == 0
    assert not (checkout / ".demo").exists()
