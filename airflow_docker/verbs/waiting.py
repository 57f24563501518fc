"""The wait until services are healthy, during which other verbs may have the lock of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from airflow_docker import project_state
from airflow_docker.engines import Engine, health
from airflow_docker.errors import Superseded, UserError
from airflow_docker.locks import Lock


class Wait:
    """The wait until an engine's services are healthy, during which other verbs may have the lock of the project."""

    def __init__(self, engine: Engine, lock: Lock | None) -> None:
        self.engine, self.lock, self.mark = engine, lock, recorded(engine)

    def __call__(self, is_done: Callable[[], bool], **options: Any) -> None:
        """As :func:`health.wait`. Raises Superseded if another verb has stopped or started the stack meanwhile."""
        if self.lock:
            self.lock.release()
        try:
            health.wait(self.engine, is_done=lambda: self.check() or is_done(), **options)
        except UserError:
            self.check()  # then what was seen is a consequence of that
            raise

    def check(self) -> Literal[False]:
        """Raise Superseded if something else is recorded than when the wait began."""
        if recorded(self.engine) != self.mark and self._has_state():
            raise _superseded(self.engine)
        return False

    def record(self, started: str) -> None:
        """Record, while no other start can begin, what runs now. Raises Superseded."""
        expected = self.mark if self._has_state() else None
        if not project_state.update(self.engine.settings, self.engine.name, if_started=expected, started=started):
            raise _superseded(self.engine)
        self.mark = started

    def _has_state(self) -> bool:
        """False if somebody has removed STATE_DIR while all ran: then nothing says that the stack was stopped."""
        return self.engine.settings.state_dir.is_dir()


@contextmanager
def letting_go(engine: Engine, lock: Lock | None) -> Iterator[Wait]:
    """Yields a wait that lets go of the ``lock`` of the project. It is taken again when the body has ended."""
    wait = Wait(engine, lock)
    yield wait
    if lock:
        lock.acquire()
        wait.check()


def await_start(engine: Engine, lock: Lock) -> None:
    """Wait until no other run starts or stops services, without the ``lock`` of the project. `down` does not wait."""
    while lock.is_held and engine.start_lock().is_taken():
        lock.release()
        with engine.start_lock():
            pass
        lock.acquire()


def _superseded(engine: Engine) -> Superseded:
    name = engine.settings.compose_project_name
    if recorded(engine) in ("", project_state.STOPPING):
        return Superseded(name, "was stopped by another inv while this one waited.", "To start it: inv up")
    return Superseded(name, "was changed by another inv while this one waited.", "See how it is: inv status")


def recorded(engine: Engine) -> str:
    """With which settings it was started, or what is being done to it; empty if it was not started."""
    return project_state.read(engine.settings, engine.name).started
