"""Resource usage of a running stack: memory, processor time, and the maximum of any measure."""

import contextlib
import threading

import psutil
from stack.conftest import run

from airflow_docker.engines.standalone import processes

SECONDS_BETWEEN = 3
"""Not less, as measuring takes processor time itself."""


def of_services(stack, *services):
    """Process ids of a stack in containers, of these services or of all."""
    label = "label=com.docker.compose"
    of_project = [f"{label}.project={stack.settings.compose_project_name}"]
    pids = []
    for filters in [[*of_project, f"{label}.service={service}"] for service in services] or [of_project]:
        asked = [word for each in filters for word in ("--filter", each)]
        for container in stack.docker("ps", "-q", "--no-trunc", *asked).split():
            listed = run("docker", "top", container, "-eo", "pid").stdout.split()[1:]
            pids += [int(pid) for pid in listed]
    return pids


def of_stack(stack):
    """Process ids of a stack on either engine."""
    if stack.engine == "standalone":
        return [process.pid for process in processes.tagged(stack.stack.mark)]
    return of_services(stack)


def memory(pids):
    """Bytes of processes (PSS): shared memory is counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # the process has ended
            total += psutil.Process(pid).memory_full_info().pss
    return total


def processor_seconds(pids):
    """Processor time of processes and of their children that have ended."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += sum(psutil.Process(pid).cpu_times()[:4])  # user, system, and both of children that ended
    return total


def busy_seconds():
    """Processor time that this machine has used since its boot."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


@contextlib.contextmanager
def most(measure):
    """Call ``measure()`` regularly during the block; yields a function that returns the maximum so far."""
    largest, ended = [0], threading.Event()

    def look():
        while not ended.wait(SECONDS_BETWEEN):
            largest[0] = max(largest[0], measure())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield lambda: largest[0]
    finally:
        ended.set()
        looking.join()
