"""Lock files: each is held by one run at a time, names its holder, and is freed by a kill."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from airflow_docker import console, interruption
from airflow_docker.errors import UserError
from airflow_docker.files import is_same_file

NAME = ".lock"
"""The usual name of a lock file."""
_RUN_VARIABLE, _RUN = "AIRFLOW_DOCKER_RUN", f"{os.getpid()}.{time.time_ns()}"
"""Marks, in their environment, all programs that this run starts, except those that are to outlive it."""
_verb = ""


def set_verb(verb: str) -> None:
    """Say which verb this run does, such as ``inv up``: runs that wait for it name it."""
    global _verb
    _verb = verb


class Lock:
    """A lock file. It exists while it is held, or after a kill until its next holder is done."""

    def __init__(self, file: Path, where: str) -> None:
        self.file, self.where = file, where
        self.has_waited = False
        self._opened: IO[str] | None = None

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def is_held(self) -> bool:
        return self._opened is not None

    def acquire(self) -> float:
        """Take it, after waiting for its holder, whom one line names.

        Returns when a run that was killed had taken it (seconds since 1970), or 0. The programs of that run
        have been ended. Raises UserError if the folder cannot be written or does not support locks.
        """
        os.environ[_RUN_VARIABLE] = _RUN
        while True:
            opened = self._open()
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.has_waited = True
                console.say(f"· {self.where}: waiting for {_holder(opened)[0] or 'another run'} …")
                fcntl.flock(opened, fcntl.LOCK_EX)
            except OSError as problem:  # a network file system without locks
                what = f"{self.file.parent} does not support locks ({problem.strerror})."
                raise UserError(self.where, what, "Name a folder on a local disk.") from None
            if is_same_file(opened.fileno(), self.file):  # else its last holder has removed it while we waited
                self._opened = opened
                return self._take_over(opened)
            opened.close()

    def is_taken(self) -> bool:
        """True if another run holds it now."""
        try:
            with self.file.open() as opened:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there is no such file, or no lock on this file system
            return False
        return False

    def release(self) -> None:
        """Let the next run have it; nothing happens if it is not held."""
        if self._opened:
            self.file.unlink(missing_ok=True)
            self._opened.close()
            self._opened = None

    def _open(self) -> IO[str]:
        try:
            return self.file.open("a+")
        except OSError as problem:
            todo = "Name a folder where you may write, with room in it."
            what = f"{self.file.parent} cannot be written ({problem.strerror})."
            raise UserError(self.where, what, todo) from None

    def _take_over(self, opened: IO[str]) -> float:
        """End what a killed holder has left, and write down who holds it now; when that one had begun, or 0."""
        killed_run = _holder(opened)[1]
        began_at = self.file.stat().st_mtime if killed_run else 0.0
        if killed_run:
            _end_programs_of(killed_run)
        opened.truncate(0)
        with suppress(OSError):  # on a full disk the lock works without its holder's name
            verb = f" ({_verb})" if _verb else ""
            os.write(opened.fileno(), f"process {os.getpid()}{verb}\n{_RUN}".encode())
        return began_at


@contextmanager
def locked(file: Path, where: str) -> Iterator[float]:
    """Hold ``file`` as a lock file; yields what :meth:`Lock.acquire` returns."""
    lock = Lock(file, where)
    began_at = lock.acquire()
    try:
        yield began_at
    finally:
        lock.release()


def _holder(opened: IO[str]) -> tuple[str, str]:
    """Its holder as text for people, and the id of that run; both empty if it has not written them yet."""
    opened.seek(0)
    text, _, run = opened.read().partition("\n")
    return text, run


def _end_programs_of(run: str) -> None:
    """End programs that a killed run has left running: they would still change what we have locked."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_RUN_VARIABLE) == run:
                interruption.end(process.pid)
