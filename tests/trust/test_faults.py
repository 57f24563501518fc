"""Faults while many tasks run: no task is lost, status reports the fault, and the stack recovers."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from conftest import INV
from stack.conftest import run, until
from stack.engine import private_engine

from trust.conftest import count
from trust.many import Many

TASKS = count(full=200, short=60)
OPTIONS = {
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "2",
    # Airflow notices a task without database or executor after minutes; sooner here, to keep the tests short.
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "20",
}
REPORT_SECONDS, HEAL_SECONDS, RUN_SECONDS = 60, 300, 900


class Rig:
    """A stack for fault injection, with a DAG of many tasks."""

    def __init__(self, stack, logs, engine=None):
        self.stack, self.logs, self.engine = stack, logs, engine
        # Faults of the engine cost attempts; a full disk costs many, as each fails at once.
        self.many = Many(stack, TASKS, retries=100)

    def status(self):
        """Exit code, JSON (empty if there is none) and stderr of `inv status`."""
        result = run(*INV, "status", "--json", env=self.stack.environ, stdin=subprocess.DEVNULL)
        report = json.loads(result.stdout) if result.stdout else {}
        assert "Traceback" not in result.stderr
        if report:
            code = {"healthy": 1 if report["problems"] else 0, "unhealthy": 1, "not running": 3}[report["state"]]
            assert result.returncode == code
        return result.returncode, report, result.stderr

    def service(self, name):
        """One service in `inv status`; the exit code must match its state."""
        code, report, _ = self.status()
        service = next((s for s in report.get("services", []) if s["name"] == name), {"state": "absent"})
        assert code == 1 or (service["state"], service["health"]) == ("running", "healthy")
        return service

    def heal(self):
        """Wait until all services are healthy, without doing anything."""
        until(lambda: self.status()[1].get("state") == "healthy", HEAL_SECONDS)

    def docker(self, *args):
        return self.stack.docker(*args)

    def crash(self, service):
        """Kill a service's process."""
        if self.engine:
            self.engine.crash(self.stack.container(service))
        else:
            result = json.loads((self.stack.stack.folder / "state.json").read_text())
            psutil.Process(result["services"][service]["pid"]).kill()


def crash(service):
    """The process is killed: it restarts automatically, and status reports that until `inv up` finds all healthy."""

    def fault(rig):
        before = rig.service(service)["since"]
        rig.crash(service)
        until(lambda: (now := rig.service(service))["state"] != "running" or now["since"] != before, REPORT_SECONDS)
        rig.heal()
        assert rig.service(service)["since"] != before
        assert service in [problem["where"] for problem in rig.status()[1]["problems"]]
        assert "Already up and healthy" in rig.stack.inv("up")
        assert rig.status()[0] == 0

    return fault


def kill_by_hand(service):
    """`docker kill` is a manual stop: the service does not restart, and status reports that until `inv up`."""

    def fault(rig):
        rig.docker("kill", rig.stack.container(service))
        until(lambda: rig.service(service)["state"] == "exited", REPORT_SECONDS)
        rig.stack.inv("up")
        rig.heal()

    return fault


def restart_database(rig):
    before = rig.service("postgres")["since"]
    rig.docker("restart", rig.stack.container("postgres"))
    until(lambda: rig.service("postgres")["since"] != before, REPORT_SECONDS)
    rig.heal()


def pause_database(rig):
    end = time.monotonic() + 20
    database = rig.stack.container("postgres")
    rig.docker("pause", database)
    try:
        until(lambda: rig.service("postgres")["state"] == "paused", REPORT_SECONDS)
        time.sleep(max(0, end - time.monotonic()))
        assert rig.service("postgres")["state"] == "paused"
    finally:
        rig.docker("unpause", database)
    rig.heal()


def without_engine(end):
    """Docker itself stops and starts again: its containers restart automatically."""

    def fault(rig):
        getattr(rig.engine, end)()
        try:
            code, report, message = rig.status()
            assert (code, report) == (1, {}) and "Docker engine" in message
        finally:
            rig.engine.start()
        rig.heal()

    return fault


def fill_logs(rig):
    """Without room for logs no task can run: status reports a problem although all services are healthy."""
    fill(rig.logs)
    try:
        code, report, message = rig.status()
        assert code == 1 and report["disk"]["full"] == ["LOGS_DIR"]
        assert f"LOGS_DIR: there is no room left in {rig.logs}." in message
        assert "no room left" in rig.stack.inv("up", code=1)
        time.sleep(10)  # tasks fail meanwhile
    finally:
        for file in rig.logs.glob("filler*"):
            file.unlink()
    rig.heal()
    # A task that was writing its log has continued or ended: it does not log the full disk in an endless recursion.
    assert not [f for f in rig.logs.glob("dag_id=many/**/*.log") if "RecursionError" in f.read_text(errors="replace")]


def fill(folder):
    """Use up all bytes, then all inodes: on most disks a new folder needs both."""
    with (folder / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    with contextlib.suppress(OSError):
        for number in range(10**6):
            (folder / f"filler{number}").touch()


SERVICES = ("webserver", "triggerer", "scheduler", "postgres")
FULL = {
    "crashes": [crash(service) for service in SERVICES],
    "kills by hand": [kill_by_hand(service) for service in SERVICES],
    "a database away": [restart_database, pause_database],
    "Docker stopped and cut off": [without_engine("stop"), without_engine("cut")],
    "a full log disk": [fill_logs],
}
SHORT = {"a power cut, and a full log disk": [without_engine("cut"), fill_logs]}
STANDALONE = count(full=[crash("scheduler"), fill_logs], short=[crash("scheduler")])


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """A small file system for logs, with room for those of the tests."""
    folder = tmp_path_factory.mktemp("logs")
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=20000", "tmpfs", str(folder))
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("only root can mount a small file system")
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))


def logs_on(disk: Path, engine, uid):
    folder = disk / engine
    folder.mkdir()
    os.chown(folder, uid, 0)
    return folder


@pytest.fixture(scope="module")
def compose(small_disk, make_project, images, tmp_path_factory):
    """A stack on a private Docker engine; this machine's engine, which has a network, builds the image."""
    logs = logs_on(small_disk, "compose", 1001)
    project = make_project(
        "compose", tmp_path_factory.mktemp("faults"), AIRFLOW_UID="1001", LOGS_DIR=str(logs), **OPTIONS
    )
    try:
        with private_engine("faults") as engine:
            project.inv("pull", "build")
            engine.load(project.json_of_build()["artifact"], project.settings.postgres_image)
            project.docker_host = engine.host
            project.inv("up")
            rig = Rig(project, logs, engine)
            rig.many.deploy()
            yield rig
    finally:
        project.docker_host = ""
        project.remove()


@pytest.fixture
def standalone(small_disk, make_project, tmp_path):
    logs = logs_on(small_disk, "standalone", os.geteuid())
    project = make_project("standalone", tmp_path, LOGS_DIR=str(logs), **OPTIONS)
    try:
        project.inv("up")
        rig = Rig(project, logs)
        rig.many.deploy()
        yield rig
    finally:
        project.remove()


def break_and_count(rig, faults, figure):
    """Inject each fault while tasks run; then check that each run succeeded with all tasks."""
    many, runs = rig.many, []
    for fault in faults:
        if not runs or many.tasks_in(runs[-1], "success") > TASKS * 3 / 4:
            runs.append(f"run-{time.time_ns()}")
            many.begin(runs[-1])
        # Tasks continue after each fault, and some of this run are left when the next fault begins.
        many.wait_for(runs[-1], min(many.tasks_in(runs[-1], "success") + 4, TASKS - 1))
        fault(rig)
    for name in runs:
        assert many.wait_for_end(name, RUN_SECONDS) == "success"
        assert many.states(name) == f"success|{TASKS}|{TASKS}"
        assert set(many.lines(name)) == set(range(TASKS))
    rig.heal()
    figure("faults survived", len(faults))
    figure("tasks run while faults happened", TASKS * len(runs))


@pytest.mark.parametrize("faults", count(full=FULL, short=SHORT).items(), ids=lambda faults: faults[0])
def test_on_compose_no_task_is_lost_to(compose, faults, figure):
    break_and_count(compose, faults[1], figure)


def test_standalone_loses_no_task_to_a_crash_or_a_full_disk(standalone, figure):
    break_and_count(standalone, STANDALONE, figure)
