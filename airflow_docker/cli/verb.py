"""How a verb is declared: its group, its help, what must hold before it runs, and whether it locks the project."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from invoke.context import Context
from invoke.tasks import Task, task

from airflow_docker.errors import USAGE, UserError, guarded
from airflow_docker.verbs.preflight import Need

if TYPE_CHECKING:
    from airflow_docker.locks import Lock
    from airflow_docker.settings import Settings

HELP_TIMEOUT = "seconds to wait until all services are healthy"
DEFAULT_TIMEOUT = "300"
Flags = Mapping[str, Any]
_GIVEN = ("settings", "engine", "lock")


def _no_settings(**_: Any) -> dict[str, str]:
    return {}


def _any_flags(**_: Any) -> None:
    """All flags go together."""


@dataclass(frozen=True)
class Verb:
    """A declared verb: ``body`` takes its flags, and before them what it names of settings, engine and lock.

    ``needs`` must hold before it runs; with ``locks`` it holds the lock of the project from then on. ``modes``
    maps a flag to needs and lock if that flag is set. ``sets`` turns flags into settings, and ``require`` raises
    UserError for flags that do not go together. With ``notify`` one line names the engine. For ``ends_start`` see
    :class:`Mode`.
    """

    body: Callable[..., None]
    needs: Sequence[Need] = ()
    locks: bool = False
    modes: Mapping[str, Mode] = field(default_factory=dict)
    sets: Callable[..., dict[str, str]] = _no_settings
    require: Callable[..., None] = _any_flags
    notify: bool = False
    ends_start: bool = False

    @property
    def signature(self) -> inspect.Signature:
        """What Invoke reads the flags from: a context, and the parameters of ``body`` that are flags."""
        parameters = inspect.signature(self.body).parameters
        context = inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return inspect.Signature([context, *(p for name, p in parameters.items() if name not in _GIVEN)])

    @property
    def takes(self) -> tuple[str, ...]:
        """What the body gets beside its flags."""
        parameters = inspect.signature(self.body).parameters
        return tuple(name for name in _GIVEN if name in parameters)

    def mode(self, flags: Flags) -> Mode:
        """Needs and lock with these flags."""
        own = Mode(tuple(self.needs), self.locks, ends_start=self.ends_start)
        return next((mode for flag, mode in self.modes.items() if flags.get(flag)), own)

    def run(self, c: Context, flags: dict[str, Any]) -> None:
        """Check what must hold, then do it."""
        from airflow_docker import locks, scrubbed_env
        from airflow_docker.sources import remotes

        scrubbed_env.scrub()
        remotes.leave_surrounding_repository()
        locks.set_verb(f"inv {self.body.__name__}")
        if c.config.run.dry:
            raise UserError("--dry", "no verb has a dry run.", "To see what is set and from where: inv config", USAGE)
        self.require(**flags)
        if "timeout" in flags:
            seconds(flags["timeout"])
        if not self.takes:
            self.body(**flags)
            return
        mode = self.mode(flags)
        if mode.is_global:
            self.body(None, **flags)
            return
        from airflow_docker.settings import load

        settings = load(flags=self.sets(**flags))
        if "engine" not in self.takes:
            self.body(settings, **flags)
            return
        self._run_with_engine(settings, mode, flags)

    def _run_with_engine(self, settings: Settings, mode: Mode, flags: Flags) -> None:
        from airflow_docker.engines.choice import choose
        from airflow_docker.verbs import preflight, waiting

        engine = choose(settings, notify=self.notify)
        if Need.OWN_STATE in mode.needs:  # whose lock would it be?
            preflight.check(engine, [Need.OWN_STATE])
        with _maybe_locked(settings, mode.locks) as lock:
            if lock and lock.has_waited:  # another run may have decided which engine it is
                engine = choose(settings, notify=False)
            if lock and not mode.ends_start:
                waiting.await_start(engine, lock)
            preflight.check(engine, mode.needs)
            self.body(engine, **flags, **({"lock": lock} if "lock" in self.takes else {}))


@dataclass(frozen=True)
class Mode:
    """What a verb needs before it runs, and whether it locks the project; ``is_global`` if it is about none.

    With the lock, it waits for a start or stop of another run; with ``ends_start`` it ends it.
    """

    needs: tuple[Need, ...] = ()
    locks: bool = False
    is_global: bool = False
    ends_start: bool = False


@contextmanager
def _maybe_locked(settings: Settings, is_locked: bool) -> Iterator[Lock | None]:
    if not is_locked:
        yield None
        return
    from airflow_docker.verbs import project_lock

    with project_lock.held(settings) as lock:
        yield lock


def verb(
    group: str, *, needs: Sequence[Need] = (), locks: bool = False, modes: Mapping[str, Mode] | None = None,
    sets: Callable[..., dict[str, str]] = _no_settings, require: Callable[..., None] = _any_flags,
    notify: bool = False, ends_start: bool = False, default_flag: str = "", **options: Any,
) -> Callable[[Callable[..., None]], Task[Any]]:  # fmt: skip
    """Declare the function below as a verb: see :class:`Verb`.

    ``default_flag`` takes the arguments behind the verb. ``options`` are those of an Invoke task. Each error that
    a user can cause is reported as a sentence.
    """

    def declare(body: Callable[..., None]) -> Task[Any]:
        declared = Verb(body, needs, locks, modes or {}, sets, require, notify, ends_start)

        @functools.wraps(body)
        def run(c: Context, **flags: Any) -> None:
            declared.run(c, flags)

        run.__signature__ = declared.signature  # type: ignore[attr-defined]
        verb_task: Any = task(**options)(guarded(run))
        verb_task.group, verb_task.default_flag, verb_task.declared = group, default_flag, declared
        return cast(Task[Any], verb_task)

    return declare


def seconds(text: str) -> float:
    """The value of --timeout. Raises UserError."""
    from airflow_docker.settings.types import is_count

    if not is_count(text) or int(text) == 0:
        raise UserError("--timeout", f"'{text}' is not a whole number of seconds.", "Say for instance 600.", USAGE)
    return float(text)
