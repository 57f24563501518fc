"""Another database and other keys in place of those in use: both or, whatever happens, neither.

The old ones are kept until the new ones are proven. A note says that, and what the old keys
were; whoever finds it after a kill undoes what was begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from airflow_docker import console, files, secret_files
from airflow_docker.engines import Engine, folders
from airflow_docker.errors import UserError

LOCK = "backup.lock"
"""In STATE_DIR: one backup or restore at a time."""


def replace(engine: Engine, dump: Path, keys: Mapping[str, str]) -> None:
    """Use what :meth:`Database.dump` wrote, and these keys. Nothing else of the stack may run.

    To be called with LOCK held. Raises UserError, with all as it was, if that fails.
    """
    database, old = engine.database, secret_files.saved_keys(engine.settings)
    had = database.exists()
    # A new server, or one that has lost its keys, needs keys before it answers any query.
    is_early = not had or len(old) < len(secret_files.OF_DATABASE)
    try:
        if is_early:
            _begin(engine, had, old, keys)
        with database.running_server():
            database.load_beside(dump)
            if not is_early:
                _begin(engine, had, old, keys)
            database.swap_in(keys["postgres_password"])
            _note(engine).unlink()
            database.drop_backup()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Another password of the database, there and in its file. To be called with LOCK held, while it serves."""
    try:
        _begin(engine, True, old, new)
        engine.database.set_password(new["postgres_password"])
        _note(engine).unlink()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_admin_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Change the admin's password. Airflow reads it from the file, so after a kill the next verb goes on with it."""
    note = _untaken(engine)
    files.write(note, b"")
    secret_files.put(engine.settings, engine.secret_owner, new)
    try:
        apply_now(engine, "admin_password", "The old password stays. Fix that and try again.")
    except Exception:
        secret_files.put(engine.settings, engine.secret_owner, old)
        note.unlink()
        raise
    note.unlink()


def end_interrupted(engine: Engine) -> None:
    """Take in the admin's password, if a run was killed while it did. To be called while the database serves."""
    if _untaken(engine).is_file():
        apply_now(engine, "admin_password", "Fix that and type: inv secrets --rotate admin_password")
        _untaken(engine).unlink(missing_ok=True)


def apply_now(engine: Engine, name: str, todo: str) -> None:
    """Have the key ``name`` taken from its file into the database. Raises UserError if that fails."""
    result = engine.apply_key(name)
    if result.returncode:
        raise UserError(name, f"cannot be taken into the database.\n{result.stderr.strip()}\n", todo)


def is_pending(engine: Engine) -> bool:
    """True if a replacement was begun and neither ended nor undone."""
    return _note(engine).is_file()


def undo_interrupted(engine: Engine) -> None:
    """Bring back what was, if a replacement was killed; wait for one that is being made."""
    if not is_pending(engine):
        return
    folders.require_own_state(engine.settings)
    with files.locked(engine.settings.state_dir / LOCK, "backup"):
        if is_pending(engine):
            with console.step("Undoing a restore that was interrupted"):
                _undo(engine)


def _begin(engine: Engine, had: bool, old: Mapping[str, str], keys: Mapping[str, str]) -> None:
    note = {"had": had, "keys": dict(old)}
    files.write(_note(engine), json.dumps(note).encode(), 0o600)
    secret_files.put(engine.settings, engine.secret_owner, keys)


def _undo(engine: Engine) -> None:
    """Each step may have been done already."""
    note = files.read_object(_note(engine), "had", "keys")
    if not note:
        what = "is not what was written, so the restore that was interrupted cannot be undone."
        raise UserError(str(_note(engine)), what, "Restore the backup again after moving this file away.")
    engine.database.rollback(note["had"], note["keys"].get("postgres_password", ""))
    secret_files.put(engine.settings, engine.secret_owner, note["keys"])
    _note(engine).unlink()


def _untaken(engine: Engine) -> Path:
    """There is a new password of the admin that the database may not know yet."""
    return engine.settings.state_dir / f"admin-password.{engine.name}"


def _note(engine: Engine) -> Path:
    return engine.settings.state_dir / f"undo.{engine.name}.json"
