"""Many tasks at once: none is lost, none is run twice, and what it takes."""

import threading

import psutil
import pytest
from stack.conftest import run

from airflow_docker.standalone import processes
from trust.conftest import count
from trust.many import Many, timed

TASKS = count(full=1000, short=100)


def of_containers(stack):
    """Bytes that the stack's containers take."""
    label = f"label=com.docker.compose.project={stack.settings.compose_project_name}"
    total = 0
    for container in stack.docker("ps", "-q", "--no-trunc", "--filter", label).split():
        listed = run("docker", "top", container, "-eo", "pid").stdout.split()[1:]
        total += sum(shared_out(int(pid)) for pid in listed)
    return total


def shared_out(pid):
    """Bytes of a process, its part only of what it shares with others."""
    try:
        return psutil.Process(pid).memory_full_info().pss
    except psutil.Error:  # it has ended meanwhile
        return 0


def of_processes(stack):
    return sum(shared_out(process.pid) for process in processes.marked(stack.stack.mark))


@pytest.fixture
def peak(stack):
    """The most memory that the stack takes meanwhile, in bytes, looked at once a second."""
    found, ended = [0], threading.Event()
    measure = of_containers if stack.engine == "compose" else of_processes

    def look():
        while not ended.wait(1):
            found[0] = max(found[0], measure(stack))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield lambda: found[0]
    finally:
        ended.set()
        looking.join()


def test_of_many_tasks_none_is_lost_and_none_is_run_twice(stack, peak, figure):
    many = Many(stack, tasks=TASKS, seconds=0, at_once=16, retries=0, name="load")
    many.place()
    many.begin("load")
    seconds = timed()
    assert many.wait_for_end("load", 3000) == "success"
    took = seconds()
    assert many.states("load") == f"success|{TASKS}|{TASKS}"
    assert sorted(many.lines("load")) == list(range(TASKS))
    figure(f"{stack.engine}: tasks, none lost, none run twice", TASKS)
    figure(f"{stack.engine}: tasks per minute", f"{TASKS / took * 60:.0f}")
    figure(f"{stack.engine}: peak memory, MB", f"{peak() / 1e6:.0f}")
