"""Verbs for a stack that runs: logs, shell, Airflow's own commands, restart, scale."""

from __future__ import annotations

import contextlib
import re
import shlex
from datetime import UTC, datetime, timedelta

from invoke.exceptions import Exit

from airflow_docker import console
from airflow_docker.engines import Engine, crashes
from airflow_docker.errors import USAGE, UserError
from airflow_docker.locks import Lock
from airflow_docker.settings.types import is_count
from airflow_docker.verbs import builds, stack, waiting

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def logs(engine: Engine, services: list[str], *, follow: bool, tail: str, since: str) -> None:
    """Show the logs of services, of all by default. Raises UserError for unknown ones and bad flags."""
    chosen = check_services(engine, services)
    if tail and not is_count(tail):
        raise UserError("--tail", f"'{tail}' is not a number of lines.", "Say for instance 100.", USAGE)
    start = parse_since(since) if since else None
    if not engine.states():
        console.warn(f"{engine.settings.compose_project_name} is not running")
    _exit_with(engine.logs(chosen, follow=follow, tail=int(tail) if tail else None, since=start))


def parse_since(text: str) -> datetime:
    """The time that ``10m``, ``1h30m``, ``2d``, or a date or time in ISO 8601 means. Raises UserError."""
    if parts := re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text):
        values = {name: int(value or 0) for name, value in zip(_UNITS.values(), parts.groups(), strict=True)}
        with contextlib.suppress(OverflowError):
            return datetime.now(UTC) - timedelta(**values)
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        what = f"'{text}' is neither a duration nor a time."
        raise UserError("--since", what, "Say for instance 10m, 2h, 3d or 2026-01-31T08:00.", USAGE) from None


def check_services(engine: Engine, services: list[str]) -> list[str]:
    """Return ``services``. Raises UserError, with the names that exist, for an unknown one."""
    for name in services:
        if name not in engine.services():
            known_services = ", ".join(engine.services())
            raise UserError(name, "there is no such service.", f"There are: {known_services}.", USAGE)
    return services


def airflow(engine: Engine, command: str) -> None:
    """Run one of Airflow's own commands where the tasks run; its exit code is ours."""
    try:
        args = shlex.split(command)
    except ValueError as problem:
        raise UserError("inv airflow", f"{problem} in {command!r}.", "Close what you opened.", USAGE) from None
    if not args:
        raise UserError("inv airflow", "which command?", 'Say for instance: inv airflow "dags list"', USAGE)
    _exit_with(ready(engine).execute("scheduler", ["airflow", *args]))


def shell(engine: Engine, service: str) -> None:
    """Open a shell where a service runs, the scheduler by default."""
    check_services(engine, [service] if service else [])
    _exit_with(ready(engine).execute(service or "scheduler", ["bash"]))


def restart(engine: Engine, services: list[str], timeout: float, lock: Lock | None = None) -> None:
    """Restart services, by default all, and wait until they are healthy. Start those that do not run."""
    check_services(engine, services)
    running = ready(engine)
    before = {state.container: state for state in running.states()}
    if not before:
        stack.up(engine, timeout=timeout, lock=lock)
        return
    console.say(f"· Restarting {', '.join(services) or engine.settings.compose_project_name} …")
    if not services or not stack.is_unchanged(running):
        stack.mark_dirty(running)
    with waiting.letting_go(running, lock) as wait, running.restarting(services) as is_done:
        digest = stack.digest_of(running)
        wait(is_done, timeout=timeout, before=before)
        if not services:
            wait.record(digest)
    crashes.clear(running)
    if not services:
        stack.record_config(running, digest)


def scale(engine: Engine, workers: str, timeout: float, lock: Lock | None = None) -> None:
    """Change the number of workers, and wait until they are healthy. Raises UserError if no worker runs."""
    wanted = stack.worker_count("inv scale", workers)
    if not engine.workers():
        raise UserError(engine.settings.compose_project_name, "no worker is running.", "Type: inv up")
    stack.scale(ready(engine), wanted, timeout, lock)
    if wanted != engine.settings.workers:
        console.say(f"  After a change of settings, or inv down, inv up starts {engine.settings.workers} (WORKERS).")


def ready(engine: Engine) -> Engine:
    """The engine with the running artifact, or else the last build. Raises UserError if there is neither."""
    return engine.with_artifact(engine.running_artifact() or builds.require_last(engine))


def _exit_with(code: int) -> None:
    """End with the exit code of a program that the user has asked for."""
    if code:
        raise Exit(code=code if code > 0 else 128 - code)
