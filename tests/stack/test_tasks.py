"""Real tasks: they fill /tmp and run programs there, use more memory than there is, and write logs."""

import contextlib
import json
import re

import pytest
from conftest import INV
from trust.many import alone

from stack.conftest import FLAVOURS, docker, run, until
from stack.test_stack import Browser

ON = ("compose", "compose-celery")
EACH = (*ON, "compose-3")
DAG = '''
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from airflow.decorators import dag, task


def do(task):
    dag(task.__name__, schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)(task)()


@do
def uses_tmp():
    @task
    def fill(bytes):
        """Write more than there is memory."""
        with tempfile.NamedTemporaryFile() as file:
            for _ in range(bytes >> 20):
                file.write(b"x" * (1 << 20))
            assert Path(file.name).parent == Path("/tmp") and Path(file.name).stat().st_size >= bytes

    @task
    def run_there():
        """What a PythonVirtualenvOperator does."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--copies", folder], check=True)
            done = subprocess.run([folder + "/bin/python", "-c", "print(6 * 7)"], capture_output=True, check=True)
            assert done.stdout == b"42\\n"

    fill(1300 << 20) >> run_there()


@do
def shares_memory():
    @task
    def fill():
        """More than the 64 MB that Docker gives by itself."""
        with open("/dev/shm/test", "wb") as file:
            file.write(b"x" * (100 << 20))
        Path("/dev/shm/test").unlink()

    fill()


@do
def takes_all():
    @task
    def take():
        (b"x" * (4 << 30)).count(b"y")

    take()


@do
def takes_its_time():
    @task
    def wait():
        print("the line of a running task", flush=True)
        end = Path.home() / "bdrc" / "data" / "end"
        for _ in range(600):
            if end.exists():
                break
            time.sleep(0.2)

    wait()
'''


@pytest.fixture
def dags(stack):
    """Deploy the DAGs above."""
    file = stack.settings.workflow_dev_dir / stack.settings.dags_dir / "real_tasks.py"
    file.write_text(DAG)
    known = f"select count(*) from dag where fileloc like '%real_tasks.py' and {stack.release.is_known}"
    until(lambda: stack.sql(known) == "4", 120)
    yield
    file.unlink()


@pytest.fixture
def scarce(stack):
    """Limit the containers that run tasks to 1200 MB."""
    containers = stack.containers(stack.task_service)
    docker("update", "--memory", "1200m", "--memory-swap", "1200m", *containers)
    yield
    with contextlib.suppress(AssertionError):  # one was removed meanwhile
        docker("update", "--memory", "3g", "--memory-swap", "3g", *containers)


@pytest.mark.on(*EACH)
def test_a_task_writes_more_into_tmp_than_there_is_memory_and_runs_a_program_there(stack, dags, scarce):
    assert "uses_tmp has succeeded" in stack.inv("dags", "--run", "uses_tmp", shows_services=True)
    assert stack.sh(stack.task_service, "stat -c '%a %u' /tmp; df --output=fstype /tmp | tail -1").split() == [
        "1777", "0", "overlay",
    ]  # fmt: skip


@pytest.mark.on(*EACH)
def test_the_web_ui_runs_programs_in_a_small_tmp_of_its_own(stack):
    output = stack.sh(
        stack.release.page,
        "df --output=fstype,size /tmp | tail -1; printf '#!/bin/sh\necho 42' >/tmp/x; chmod +x /tmp/x; /tmp/x; rm /tmp/x",
    )
    assert output.split() == ["tmpfs", str(256 << 10), "42"]


def test_tasks_share_as_much_memory_as_is_set(stack, dags):
    assert stack.sh(stack.task_service, "df --output=size /dev/shm | tail -1").split() == [str(1 << 20)]
    assert "shares_memory has succeeded" in stack.inv("dags", "--run", "shares_memory", shows_services=True)


def test_what_tasks_have_written_is_counted(stack):
    name = stack.inspect(stack.task_service)["Name"].lstrip("/")
    stack.sh(stack.task_service, "head -c 50M /dev/zero >/tmp/written")
    try:
        size = re.search(rf"^{re.escape(name)} +([\d.]+) MB$", stack.inv("clean"), re.M)
        assert float(size[1]) > 50
    finally:
        stack.sh(stack.task_service, "rm /tmp/written")


def status(stack):
    """Exit code, JSON and text of `inv status`."""
    result = run(*INV, "status", "--json", env=stack.environ)
    return result.returncode, json.loads(result.stdout), result.stderr


@pytest.mark.on(*EACH)
def test_a_task_that_takes_all_memory_is_reported_until_all_is_well(stack, dags, scarce):
    stack.inv("up")
    assert status(stack)[0] == 0
    output = stack.inv("dags", "--run", "takes_all", code=1, shows_services=True)
    killed = rf"{stack.task_service}: \d+ process(es were| was) killed because memory ran out, .*\(MEMORY_LIMIT is 3g, at most 1258 MB were in use\)"
    assert re.search(killed, output.splitlines()[-1]), output
    if stack.flavour == "compose-celery":
        with alone(stack):  # scaling down would wait for a sensor
            stack.inv("scale", "2")
            stack.inv("scale", "1")
    code, report, output = status(stack)
    assert (code, report["state"], len(report["problems"])) == (1, "healthy", 1)
    problem = report["problems"][0]
    assert problem["where"] == stack.task_service and problem["todo"].startswith("Raise MEMORY_LIMIT")
    assert re.search(killed, output)
    first = stack.inv("status", code=1).splitlines()[0]
    assert "running, with problems (1)" in first and "healthy" not in first
    assert "is healthy" in stack.inv("restart", "triggerer")
    code, report, _ = status(stack)
    assert (code, report["state"], report["problems"]) == (0, "healthy", [])


def crash(stack, service):
    """Kill the process of a service, like the kernel does."""
    before = stack.inspect(service)["RestartCount"]
    stack.sh(service, "kill -9 $(cat /proc/1/task/1/children)")
    until(lambda: stack.inspect(service)["RestartCount"] == before + 1)


def test_a_service_that_ended_by_itself_is_reported_and_one_that_was_restarted_is_not(stack):
    stack.inv("up")
    crash(stack, "triggerer")
    until(lambda: status(stack)[1]["state"] == "healthy", 120)
    code, report, output = status(stack)
    assert (code, [problem["where"] for problem in report["problems"]]) == (1, ["triggerer"])
    assert re.search(
        r"triggerer: it ended by itself \d+ (s|min) ago, and was started again \(MEMORY_LIMIT is 3g\)", output
    )
    assert "Already up and healthy" in stack.inv("up")
    assert status(stack)[0] == 0
    docker("restart", stack.container("triggerer"))
    until(lambda: status(stack)[0] == 0, 120)


def log_of(stack, browser, run_id):
    """The web UI's log of the first try of the waiting task."""
    version = stack.release.number - 1
    path = f"/api/v{version}/dags/takes_its_time/dagRuns/{run_id}/taskInstances/wait/logs/1?full_content=true"
    return browser.get(path)[1]


@pytest.mark.on(*FLAVOURS)
def test_the_log_of_a_running_task_is_shown(stack, dags):
    end = stack.settings.work_data_dir / "end"
    stack.inv("airflow", "dags trigger takes_its_time --run-id shown")
    try:
        running = "select count(*) from task_instance where run_id = 'shown' and state = 'running'"
        until(lambda: stack.sql(running) == "1", 90)
        browser = Browser(stack)
        assert browser.log_in("admin", (stack.settings.secrets_dir / "admin_password").read_text())
        log = until(lambda: (text := log_of(stack, browser, "shown")) and "the line of a running task" in text and text)
        assert "Could not read served logs" not in log
        assert stack.sql(running) == "1"
    finally:
        end.touch()
        until(lambda: stack.sql("select state from dag_run where run_id = 'shown'") == "success", 90)
        end.unlink()
