"""Out-of-memory kills and crashes since the last healthy start, of the last hour at most.

When a container starts again, Docker forgets what was killed in it. So the health check of each container
reports it (docker/runtime/memory.sh) in a file of LOGS_DIR: no engine is needed to read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_docker import project_state
from airflow_docker.engines import Engine, ServiceState
from airflow_docker.errors import UserError

REPORTS = "out-of-memory"
"""The folder in LOGS_DIR."""
_LONGEST = timedelta(hours=1)
_KILLED = (-9, 128 + 9)
_NO_LIMIT = 1 << 60  # bytes; with version 1 of cgroups no limit is a number too


@dataclass(frozen=True)
class Report:
    """How many processes were killed in a container, and when the last was.

    ``most`` is the most memory that was ever in use there, in bytes; 0 where the kernel does not know.
    """

    service: str
    last: datetime
    count: int
    has_limit: bool
    most: int


def recent(engine: Engine, states: Sequence[ServiceState]) -> list[UserError]:
    """All of it, each as an error; ``states`` are those of the engine."""
    since = _since(engine)
    killed = [_of_report(engine, report) for report in _reports(engine, since)]
    return killed + [_of_crash(engine, state) for state in states if _time(state.crashed) >= since]


def sentences(engine: Engine) -> list[str]:
    """The same as sentences, at this moment: something else may have failed because of it."""
    engine.report_killed()
    return [f"{error.where}: {error.what}" for error in recent(engine, engine.states())]


def of_failed(engine: Engine, state: ServiceState) -> list[str]:
    """Sentences on the memory of a service that has failed; none if nothing is known."""
    if state.out_of_memory:
        return [f"It was killed because memory ran out ({_limit(engine)})."]
    if state.exit_code in _KILLED:
        return [f"It was killed, as happens when memory runs out ({_limit(engine)})."]
    reports = [report for report in _reports(engine, _since(engine)) if report.service == state.service]
    return [_of_report(engine, report).what for report in reports]


def clear(engine: Engine) -> None:
    """All services are healthy now: earlier kills and crashes are reported no longer."""
    for report in (engine.settings.logs_dir / REPORTS).glob("*"):
        with suppress(OSError):  # another user's; its time shows that it is old
            report.unlink()
    project_state.update(engine.settings, engine.name, well_since=datetime.now(UTC).isoformat())


def _reports(engine: Engine, since: datetime) -> Iterator[Report]:
    """What the health checks have reported."""
    for file in sorted((engine.settings.logs_dir / REPORTS).glob("*")):
        with suppress(OSError, ValueError, OverflowError):  # one that is being replaced
            _, last, count, limit, most = file.read_text().split()
            at, has_limit = datetime.fromtimestamp(int(last), UTC), limit != "max" and int(limit) < _NO_LIMIT
            if at >= since:
                yield Report(file.name.partition(".")[0], at, int(count), has_limit, int(most))


def _of_report(engine: Engine, report: Report) -> UserError:
    """An error for what was killed in a container."""
    were = "process was" if report.count == 1 else "processes were"
    last = "" if report.count == 1 else "the last "
    figures = _limit(engine) + (f", at most {report.most / 1e6:.0f} MB were in use" if report.most else "")
    what = f"{report.count} {were} killed because memory ran out, {last}{_ago(report.last)} ({figures})."
    scarce = "Raise MEMORY_LIMIT" if report.has_limit else "This machine has too little: set MEMORY_LIMIT"
    return UserError(report.service, what, f"{scarce}, or run fewer tasks at once; then type: inv up")


def _of_crash(engine: Engine, state: ServiceState) -> UserError:
    """An error for a service that ended by itself and was started again."""
    code = "" if state.crash_code is None else f" with exit code {state.crash_code}"
    killed = ", as after a kill for want of memory," if state.crash_code in _KILLED else ""
    times = f"; {state.restarts} times so far" if state.restarts > 1 else ""
    what = f"it ended by itself{code}{killed} {_ago(_time(state.crashed))}, and was started again"
    todo = f"Read why: inv logs {state.service} --since 1h. When it is well, type: inv up"
    return UserError(state.service, f"{what} ({_limit(engine)}{times}).", todo)


def _limit(engine: Engine) -> str:
    limit = "0" if engine.name == "standalone" else engine.settings.memory_limit
    return "there is no MEMORY_LIMIT" if limit == "0" else f"MEMORY_LIMIT is {limit}"


def _ago(moment: datetime) -> str:
    seconds = max(int((datetime.now(UTC) - moment).total_seconds()), 0)
    return f"{seconds // 60} min ago" if seconds >= 60 else f"{seconds} s ago"


def _since(engine: Engine) -> datetime:
    return max(datetime.now(UTC) - _LONGEST, _time(project_state.read(engine.settings, engine.name).well_since))


def _time(stamp: str) -> datetime:
    """A time in ISO 8601; one long ago if ``stamp`` is none."""
    with suppress(ValueError):
        return datetime.fromisoformat(stamp).astimezone(UTC)
    return datetime.fromtimestamp(0, UTC)
