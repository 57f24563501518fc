"""One verb at a time changes a project. A verb that only waits for health lets the next one in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_docker import files
from airflow_docker.errors import UserError
from airflow_docker.locks import Lock
from airflow_docker.settings import Settings

_NAME = ".project.lock"
"""Not the usual name: STATE_DIR may be SECRETS_DIR too, which has a lock of its own."""


@contextmanager
def held(settings: Settings) -> Iterator[Lock]:
    """Hold the lock of the project, which is in STATE_DIR. A STATE_DIR that stays empty is removed again.

    If STATE_DIR cannot be created, the lock is not held: the verb's own checks report that, and all else that is wrong.
    """
    state_dir = settings.state_dir
    lock = Lock(state_dir / _NAME, "STATE_DIR")
    created = [folder for folder in (state_dir, *state_dir.parents) if not folder.exists()]
    try:
        _acquire(lock, state_dir)
        yield lock
    finally:
        lock.release()
        with suppress(OSError):
            for folder in created:
                folder.rmdir()


def _acquire(lock: Lock, state_dir: Path) -> None:
    while True:
        with suppress(UserError):
            files.make_directory(state_dir, "STATE_DIR")
        if not state_dir.is_dir():
            return
        try:
            lock.acquire()
        except UserError:
            if state_dir.is_dir():
                raise
        else:
            return  # else another run has removed a STATE_DIR that it had left empty
