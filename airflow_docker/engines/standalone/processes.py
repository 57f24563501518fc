"""Our processes, known by a tag (the mark) in their environment, whatever has become of their parents.

Unlike a process id, it stays right after the death of a parent, after a reboot, and when an id is
given to another program.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

MARK, SERVICE = "AIRFLOW_DOCKER_STANDALONE", "AIRFLOW_DOCKER_SERVICE"
KEEP_ENVIRON = {"SPT_NOENV": "1"}
"""Airflow names its processes by setproctitle, which would overwrite the environment that others see.
https://github.com/dvarrazzo/py-setproctitle#environment-variables"""
_POLL_SECONDS, _KILL_SECONDS = 0.1, 10.0
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, OSError)


def tagged(mark: str, service: str | None = None) -> list[psutil.Process]:
    """The processes with this mark, and of this service; without one also what shares a session with them."""
    processes = [p for p, environ in _environments() if environ.get(MARK) == mark]
    if service is not None:
        return [p for p in processes if _environment(p).get(SERVICE) == service]
    sessions = {session for p in processes if (session := _session(p.pid))} - {_session(0)}
    seen = {p.pid for p in processes}
    return processes + [p for p in psutil.process_iter() if p.pid not in seen and _session(p.pid) in sessions]


def tags() -> set[str]:
    """The marks of all that runs on this machine, as far as this user may see it."""
    return {environ[MARK] for _, environ in _environments() if environ.get(MARK)}


def end(mark: str, grace: float, service: str | None = None) -> list[int]:
    """Stop them all: by SIGTERM first, and by SIGKILL those that still run after ``grace`` seconds.

    Returns the ids of those that even SIGKILL has not stopped: they wait for a device, as for a
    network mount that hangs.
    """
    _signal(tagged(mark, service), signal.SIGTERM)
    limit = time.monotonic() + grace
    while left := tagged(mark, service):
        if time.monotonic() > limit + _KILL_SECONDS:
            return [process.pid for process in left]
        if time.monotonic() > limit:
            _signal(left, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return []


def is_alive(pid: int, mark: str) -> bool:
    """True if this process runs and carries the mark."""
    with suppress(*_GONE):
        return _environment(psutil.Process(pid)).get(MARK) == mark
    return False


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        if process.pid != os.getpid():
            yield process, _environment(process)


def _environment(process: psutil.Process) -> dict[str, str]:
    with suppress(*_GONE):
        return process.environ()
    return {}  # gone, or somebody else's


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(*_GONE):
            process.send_signal(number)
