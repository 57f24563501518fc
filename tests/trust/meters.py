"""What a stack costs while it works: memory, processor time, and the most of something that was seen meanwhile."""

import contextlib
import threading

import psutil
from stack.conftest import run

from airflow_docker.engines.standalone import processes

SECONDS_BETWEEN = 3
"""Looking costs something itself."""


def of_services(stack, *services):
    """The processes of a stack in containers, of these services or of all."""
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
    """The processes of a stack on either engine."""
    if stack.engine == "standalone":
        return [process.pid for process in processes.tagged(stack.stack.mark)]
    return of_services(stack)


def memory(pids):
    """Bytes of processes, what they share with each other or with others counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            total += psutil.Process(pid).memory_full_info().pss
    return total


def processor_seconds(pids):
    """What processes have had, and those that they have started and that are over."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += sum(psutil.Process(pid).cpu_times()[:4])  # user, system, and both of children that ended
    return total


def busy_seconds():
    """What all processors of this machine have worked, in seconds."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


@contextlib.contextmanager
def most(measure):
    """Yields a function that says the most that ``measure()`` has given meanwhile."""
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
