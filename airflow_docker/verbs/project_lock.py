"""One verb at a time changes a project. A verb that only waits for health lets the next one in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow_docker import files, locks
from airflow_docker.errors import UserError
from airflow_docker.locks import Lock
from airflow_docker.settings import Settings


@contextmanager
def held(settings: Settings) -> Iterator[Lock]:
    """Hold the lock of the project, which is in STATE_DIR. A STATE_DIR that stays empty is removed again.

    If STATE_DIR cannot be created, the lock is not held: the verb's own checks report that, and all else that is wrong.
    """
    state_dir = settings.state_dir
    lock = Lock(state_dir / locks.NAME, "STATE_DIR")
    created = [folder for folder in (state_dir, *state_dir.parents) if not folder.exists()]
    try:
        with suppress(UserError):
            files.make_directory(state_dir, "STATE_DIR")
        if state_dir.is_dir():
            lock.acquire()
        yield lock
    finally:
        lock.release()
        with suppress(OSError):
            for folder in created:
                folder.rmdir()
