"""Replaces the database and its keys: both or, whatever happens, neither.

The old ones are kept until the new ones are in place. An undo file holds the old keys; after a kill,
the next verb that needs them undoes the replacement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from airflow_docker import console, files, project_state, secret_files
from airflow_docker.engines import Engine
from airflow_docker.errors import UserError


def replace(engine: Engine, dump: Path, keys: Mapping[str, str]) -> None:
    """Use what :meth:`Database.dump` wrote, and these keys. Nothing else of the stack may run.

    The caller holds the lock of the project. Raises UserError, with all as it was, if that fails.
    """
    database, old = engine.database, secret_files.saved_keys(engine.settings)
    had_database = database.exists()
    # A new server, or one that has lost its keys, needs keys before it answers any query.
    keys_first = not had_database or len(old) < len(secret_files.OF_DATABASE)
    try:
        if keys_first:
            _begin(engine, had_database, old, keys)
        with database.running_server():
            database.load_beside(dump)
            if not keys_first:
                _begin(engine, had_database, old, keys)
            database.swap_in(keys["postgres_password"])
            _undo_file(engine).unlink()
            database.drop_backup()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the password of the database, there and in its file, while its server runs."""
    try:
        _begin(engine, True, old, new)
        engine.database.set_password(new["postgres_password"])
        _undo_file(engine).unlink()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_admin_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the admin's password. Airflow reads it from the file, so after a kill the next verb goes on with it."""
    project_state.update(engine.settings, engine.name, has_new_admin_password=True)
    secret_files.put(engine.settings, engine.secret_owner, new)
    try:
        apply_now(engine, "admin_password", "The old password stays. Fix that and try again.")
    except Exception:
        secret_files.put(engine.settings, engine.secret_owner, old)
        project_state.update(engine.settings, engine.name, has_new_admin_password=False)
        raise
    project_state.update(engine.settings, engine.name, has_new_admin_password=False)


def end_interrupted(engine: Engine) -> None:
    """Apply the admin's new password if a run was killed before it did. The database server must run."""
    if project_state.read(engine.settings, engine.name).has_new_admin_password:
        apply_now(engine, "admin_password", "Fix that and type: inv secrets --rotate admin_password")
        project_state.update(engine.settings, engine.name, has_new_admin_password=False)


def apply_now(engine: Engine, name: str, todo: str) -> None:
    """Apply the key ``name`` from its file to the database. Raises UserError if that fails."""
    result = engine.apply_key(name)
    if result.returncode:
        raise UserError(name, f"cannot be taken into the database.\n{result.stderr.strip()}\n", todo)


def is_pending(engine: Engine) -> bool:
    """True if a replacement has begun and has neither ended nor been undone."""
    return _undo_file(engine).is_file()


def undo_interrupted(engine: Engine) -> None:
    """Undo a replacement that was killed, if there is one. The caller holds the lock of the project."""
    if is_pending(engine):
        with console.step("Undoing a restore that was interrupted"):
            _undo(engine)


def _begin(engine: Engine, had_database: bool, old: Mapping[str, str], keys: Mapping[str, str]) -> None:
    undo_record = {"had": had_database, "keys": dict(old)}
    files.write(_undo_file(engine), json.dumps(undo_record).encode(), 0o600)
    secret_files.put(engine.settings, engine.secret_owner, keys)


def _undo(engine: Engine) -> None:
    """Undo it. It is idempotent: each step may have been done already."""
    undo_record = files.read_object(_undo_file(engine), "had", "keys")
    if not undo_record:
        what = "is not what was written, so the restore that was interrupted cannot be undone."
        raise UserError(str(_undo_file(engine)), what, "Restore the backup again after moving this file away.")
    engine.database.rollback(undo_record["had"], undo_record["keys"].get("postgres_password", ""))
    secret_files.put(engine.settings, engine.secret_owner, undo_record["keys"])
    _undo_file(engine).unlink()


def _undo_file(engine: Engine) -> Path:
    return project_state.undo_file(engine.settings, engine.name)
