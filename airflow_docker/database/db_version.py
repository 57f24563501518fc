"""The Airflow version of the database. It is recorded after each successful start, and before an upgrade.

A newer Airflow migrates the database. An older one cannot use the result, and only a backup leads back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from airflow_docker import console, project_state
from airflow_docker.engines import Engine
from airflow_docker.errors import USAGE, UserError

LABEL = "airflow-docker.airflow"


@dataclass(frozen=True)
class VersionRecord:
    """``airflow`` is the version that ran last.

    ``begun`` is the target of an upgrade that has neither ended nor been rolled back;
    ``artifact`` is what ran before it, empty if nothing did. ``backup`` is the file to roll back to.
    """

    airflow: str
    backup: str = ""
    begun: str = ""
    artifact: str = ""


def read(engine: Engine) -> VersionRecord | None:
    """The record; None if there is none, as before the first start."""
    record = project_state.read(engine.settings, engine.name).database
    names = ("airflow", "backup", "begun", "artifact")
    return VersionRecord(**{name: str(record.get(name, "")) for name in names}) if record else None


def current(engine: Engine) -> str:
    """The version of the database, during an upgrade that of before, as far as is known."""
    if recorded := read(engine):
        return recorded.airflow
    running = engine.running_artifact()
    labels = engine.builder.labels(running) if running else None
    return (labels or {}).get(LABEL, engine.settings.airflow_version)


def record(engine: Engine) -> None:
    """Record the version of the settings, after a start or a restore."""
    version, recorded = engine.settings.airflow_version, read(engine)
    if recorded and not recorded.begun and recorded.airflow == version:
        return
    _write(engine, VersionRecord(version, backup=recorded.backup if recorded and recorded.begun == version else ""))


def begin_upgrade(engine: Engine, recorded: VersionRecord) -> None:
    """Record that the database may be partly migrated from now on."""
    _write(engine, recorded)


def clear(engine: Engine) -> None:
    """Record that there is no database any more."""
    project_state.update(engine.settings, engine.name, database={})


def interrupted(engine: Engine) -> UserError | None:
    """The error for an upgrade that was interrupted, or None."""
    recorded = read(engine)
    if recorded is None or not recorded.begun:
        return None
    what = f"the upgrade from Airflow {recorded.airflow} to {recorded.begun} was interrupted."
    rollback = f"To go back, with AIRFLOW_VERSION={recorded.airflow}: inv restore {recorded.backup} --yes"
    return UserError("database", what, f"To do the rest: inv upgrade {recorded.begun}. {rollback}")


def require_whole(engine: Engine) -> None:
    """Raise UserError if a migration of the database was interrupted."""
    if error := interrupted(engine):
        raise error


def problem(engine: Engine) -> UserError | None:
    """Why this version of Airflow must not be started on the database, or None."""
    version, recorded = engine.settings.airflow_version, read(engine)
    if recorded is None or not (recorded.begun or is_older(version, recorded.airflow)) or not engine.database.exists():
        return None
    if error := interrupted(engine):
        return error
    what = f"it is {version}, and the database is of Airflow {recorded.airflow}, which is newer."
    todo = f"Set AIRFLOW_VERSION={recorded.airflow} in .env. To go back:"
    return UserError(
        "AIRFLOW_VERSION", what, f"{todo} inv restore {recorded.backup or 'FILE'} --yes, a backup of {version}."
    )


def check_compatible(engine: Engine) -> None:
    """Raise UserError if this version of Airflow must not be started on the database."""
    if error := problem(engine):
        raise error


def require_same(engine: Engine) -> None:
    """Raise UserError unless the settings name the version of the database."""
    check_compatible(engine)
    version, recorded = engine.settings.airflow_version, read(engine)
    if recorded and recorded.airflow != version and engine.database.exists():
        what = f"it is {version}, and what there is runs Airflow {recorded.airflow}."
        raise UserError("AIRFLOW_VERSION", what, f"Type: inv upgrade {version}", USAGE)


def is_older(version: str, other: str) -> bool:
    """True if ``version`` comes before ``other``; both are like 2.11.2."""
    return _numbers(version) < _numbers(other)


def will_migrate(engine: Engine) -> bool:
    """True if a start will bring the database to a newer version."""
    recorded = read(engine)
    is_newer = recorded is not None and is_older(recorded.airflow, engine.settings.airflow_version)
    return is_newer and engine.database.exists()


def warn_of_migration(engine: Engine) -> None:
    """Warn if a start will migrate the database."""
    if will_migrate(engine):
        version = engine.settings.airflow_version
        advice = f"inv upgrade {version} looks first whether all fits, and takes a backup"
        console.warn(f"Airflow {version} migrates the database, which is of {current(engine)}, for good; {advice}.")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _write(engine: Engine, recorded: VersionRecord) -> None:
    project_state.update(engine.settings, engine.name, database=asdict(recorded))
