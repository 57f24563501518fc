"""`inv upgrade`: replace Airflow by a newer one if everything fits; otherwise the old one stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_docker import console, secret_files
from airflow_docker.building.manifest import Bundle
from airflow_docker.database import db_version
from airflow_docker.engines import Engine, folders
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Settings, dotenv_file
from airflow_docker.verbs import backup, builds, dags, deprecations, stack

_SYNTAX = "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX"


def upgrade(engine_of: Callable[[str], Engine], version: str, timeout: float) -> None:
    """Check that all fits ``version``, take a backup, and switch. ``engine_of`` returns the engine for a version.

    If anything fails, raises UserError, and what ran before runs again. After a kill, the same command
    does the rest.
    """
    new, named = engine_of(version), engine_of("")
    old = engine_of(db_version.current(named))
    _require_newer(old, version)
    console.say(f"· From Airflow {old.settings.airflow_version} to {version}")
    with _nothing_changed(old):
        stack.require_startable(new, will_build=True)
        built = _trial(old, new)
        rollback_point = _rollback_point(old, version)
    _switch(old, new.with_artifact(built.manifest.artifact), rollback_point, timeout)
    builds.adopt(new, built)
    stack.print_access(new.settings)
    if lines := lines_to_set(new.settings):
        console.warn(f"Now set in {new.settings.env_file.name}, as the next inv up wants it: {' '.join(lines)}")


def _require_newer(old: Engine, version: str) -> None:
    """Raise UserError unless the database can be migrated to this version."""
    if not old.database.exists():
        return
    current, recorded = old.settings.airflow_version, db_version.read(old)
    if recorded and recorded.begun and recorded.begun != version:
        db_version.require_whole(old)
    if current == version:
        todo = f"Type: inv up (with AIRFLOW_VERSION={version} in .env)"
        raise UserError("inv upgrade", f"the database is of Airflow {version} already.", todo, USAGE)
    if db_version.is_older(version, current):
        what = f"the database is of Airflow {current}, and no Airflow migrates it to an older one, as {version} is."
        todo = f"To go back, set AIRFLOW_VERSION={version} and restore a backup of that time: inv restore FILE --yes"
        raise UserError("inv upgrade", what, todo, USAGE)


@contextmanager
def _nothing_changed(old: Engine) -> Iterator[None]:
    """Say after a failure that nothing was changed."""
    try:
        yield
    except UserError:
        if begun := db_version.interrupted(old):
            console.say(f"  Nothing was changed: {begun.what} {begun.todo}")
        else:
            how = "runs on as before" if old.states() else "is left as it was"
            console.say(f"  Nothing was changed: Airflow {old.settings.airflow_version} {how}.")
        raise


def _trial(old: Engine, new: Engine) -> Bundle:
    """The build of the new version, beside the current one. Raises UserError if a DAG file does not fit it."""
    settings = new.settings
    built = builds.build_beside(new)
    secret_files.write(settings, new.secret_owner)
    folders.prepare(settings, new.secret_owner.owner)
    with console.step(f"Importing every DAG with Airflow {settings.airflow_version}, beside an empty database"):
        parsed = dags.parse(new.with_artifact(built.manifest.artifact), isolated=True)
    folder = settings.workflow_dev_dir / settings.dags_dir
    deprecations.report(folder, built.manifest.python, settings.airflow_version)
    if count := len(parsed["errors"]):
        dags.show_errors(parsed, on_stderr=True)
        files = f"{count} file{'s' * (count > 1)}"
        todo = "Fix what stands above. A variable or connection that a file reads while it is imported needs a default."
        raise UserError("DAGS_DIR", f"{files} cannot be imported with Airflow {settings.airflow_version}.", todo)
    console.done(f"All DAGs ({len(parsed['dags'])}) can be imported with Airflow {settings.airflow_version}")
    if before := _dags_before(old):
        _warn_of_changes(before, parsed, settings)
    return built


def _dags_before(old: Engine) -> dict[str, Any] | None:
    """The parsed DAGs with the current Airflow; None if its artifact is gone."""
    artifact, version = old.running_artifact() or builds.last_artifact(old), old.settings.airflow_version
    if artifact and old.builder.has(artifact):
        try:
            with console.step(f"Importing every DAG with Airflow {version} too, to compare"):
                return dags.parse(old.with_artifact(artifact), isolated=True)
        except UserError as problem:
            console.warn(problem.text)
    console.warn(f"The DAGs of Airflow {version} cannot be listed, so nothing says which appear or go.")
    return None


def _warn_of_changes(before: dict[str, Any], after: dict[str, Any], settings: Settings) -> None:
    """Warn of DAGs that only one of the two versions finds."""
    appear, go = dags_only_in(after, before), dags_only_in(before, after)
    for names, what in ((appear, "appear"), (go, "are not found any more")):
        if names:
            console.warn(f"With Airflow {settings.airflow_version} these DAGs {what}: {', '.join(names)}")
    folder = settings.workflow_dev_dir / settings.dags_dir
    if (appear or go) and _SYNTAX not in settings.airflow_options and any(folder.rglob(".airflowignore")):
        console.say(f"  Airflow 2 reads .airflowignore as regexp, 3 as glob. As 2 does: {_SYNTAX}=regexp in .env")


def dags_only_in(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The DAGs that are in ``one`` parse and not in the ``other``, each with its file."""
    known = {dag["dag"] for dag in other["dags"]}
    new = {dag["dag"]: dags.short(dag["file"], one["folder"]) for dag in one["dags"] if dag["dag"] not in known}
    return [f"{dag} ({file})" for dag, file in sorted(new.items())]


def _rollback_point(old: Engine, version: str) -> db_version.VersionRecord | None:
    """A backup, and what else a rollback needs; None if there is no database."""
    if not old.database.exists():
        console.say("  There is no database yet, so there is nothing to back up.")
        return None
    recorded = db_version.read(old)
    if recorded and recorded.begun:
        if not Path(recorded.backup).is_file():
            what = "this backup, taken when the upgrade began, is needed to roll back, and it does not exist."
            raise UserError(recorded.backup, what, "Bring it back to its place.")
        console.say(f"  This upgrade was begun before; to roll back it uses the backup of then: {recorded.backup}")
        return recorded
    file = backup.create(old, None)
    running = (old.running_artifact() or builds.last_artifact(old) or "") if old.states() else ""
    return db_version.VersionRecord(old.settings.airflow_version, backup=str(file), begun=version, artifact=running)


def _switch(old: Engine, new: Engine, rollback_point: db_version.VersionRecord | None, timeout: float) -> None:
    """Stop the old version and start the new one, which migrates the database; if that fails, roll back."""
    try:
        if old.states():
            stack.stop(old)
        if rollback_point:
            db_version.begin_upgrade(new, rollback_point)
        stack.start(new, timeout)
    except Exception as failure:
        if rollback_point is None:
            raise
        console.failed(f"Airflow {new.settings.airflow_version} does not start: back to what was")
        _rollback(old, new, rollback_point, failure)
        if not isinstance(failure, UserError):
            raise
        how = "runs again, with its data" if rollback_point.artifact else "has its data again"
        what = f"Airflow {new.settings.airflow_version} does not start, and {rollback_point.airflow} {how}."
        reason = f"The reason: {failure.where}: {failure.what.rstrip()}"
        todo = "Its last log lines are above: fix that, and type the same again."
        raise UserError("inv upgrade", f"{what} {reason}", todo) from failure


def _rollback(old: Engine, new: Engine, rollback_point: db_version.VersionRecord, failure: Exception) -> None:
    """Restore the backup, and start what ran before. Raises UserError with both reasons if that fails too."""
    try:
        recorded = db_version.read(new)
        if recorded and recorded.begun:
            stack.stop(new)
            backup.roll_back_to(old, Path(rollback_point.backup))
        if rollback_point.artifact:
            stack.start(old.with_artifact(rollback_point.artifact), stack.START_SECONDS)
    except UserError as second:
        what = f"Airflow {new.settings.airflow_version} does not start ({failure}), and neither does the old one"
        todo = f"With AIRFLOW_VERSION={rollback_point.airflow}: inv restore {rollback_point.backup} --yes, then inv up"
        raise UserError("inv upgrade", f"{what} ({second.text}).", todo) from failure


def lines_to_set(settings: Settings) -> list[str]:
    """The lines that .env lacks for the version that runs now."""
    in_file, _ = dotenv_file.read(settings.env_file)
    named = [
        name for name in ("AIRFLOW_VERSION", "AIRFLOW_BASE_IMAGE") if settings.sources[name] in ("flag", "environment")
    ]
    return [f"{name}={settings.shown(name)}" for name in named if in_file.get(name) != settings.shown(name)]
