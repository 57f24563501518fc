"""Another database and other keys in place of those in use: both or, whatever happens, neither.

The old ones are kept until the new ones are proven. A note says that, and what the old keys
were; whoever finds it after a kill undoes what was begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from airflow_docker import console, files, secrets
from airflow_docker.engines import Engine, folders
from airflow_docker.errors import UserError

LOCK = "backup.lock"
"""In STATE_DIR: one backup or restore at a time."""


def replace(engine: Engine, database: Path, keys: Mapping[str, str]) -> None:
    """Use what :meth:`Store.dump` wrote, and these keys. Nothing else of the stack may run.

    To be called with LOCK held. Raises UserError, with all as it was, if that fails.
    """
    store, old = engine.store, secrets.kept(engine.settings)
    had = store.exists()
    # A server that begins anew, or has lost its keys, wants some before it can be asked anything.
    is_early = not had or len(old) < len(secrets.OF_DATABASE)
    try:
        if is_early:
            _begin(engine, had, old, keys)
        with store.serving():
            store.load(database)
            if not is_early:
                _begin(engine, had, old, keys)
            store.swap(keys["postgres_password"])
            _note(engine).unlink()
            store.forget()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Another password of the database, there and in its file. To be called with LOCK held, while it serves."""
    try:
        _begin(engine, True, old, new)
        engine.store.set_password(new["postgres_password"])
        _note(engine).unlink()
    except BaseException:
        if is_pending(engine):
            _undo(engine)
        raise


def change_admin_password(engine: Engine, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Another password of the admin. What takes it in reads the file, so a kill in between is mended forwards."""
    note = _untaken(engine)
    files.write(note, b"")
    secrets.put(engine.settings, engine.reader, new)
    try:
        take_in(engine, "admin_password", "The old password stays. Mend it and try again.")
    except Exception:
        secrets.put(engine.settings, engine.reader, old)
        note.unlink()
        raise
    note.unlink()


def end_interrupted(engine: Engine) -> None:
    """Take in the admin's password, if a run was killed while it did. To be called while the database serves."""
    if _untaken(engine).is_file():
        take_in(engine, "admin_password", "Mend it and type: inv secrets --rotate admin_password")
        _untaken(engine).unlink(missing_ok=True)


def take_in(engine: Engine, name: str, todo: str) -> None:
    """Have the key ``name`` taken from its file into the database. Raises UserError if that fails."""
    result = engine.take_key(name)
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
    secrets.put(engine.settings, engine.reader, keys)


def _undo(engine: Engine) -> None:
    """Each step may have been done already."""
    note = files.read_object(_note(engine), "had", "keys")
    if not note:
        what = "is not what was written, so the restore that was interrupted cannot be undone."
        raise UserError(str(_note(engine)), what, "Restore the backup again after moving this file away.")
    engine.store.take_back(note["had"], note["keys"].get("postgres_password", ""))
    secrets.put(engine.settings, engine.reader, note["keys"])
    _note(engine).unlink()


def _untaken(engine: Engine) -> Path:
    """There is a new password of the admin that the database may not know yet."""
    return engine.settings.state_dir / f"admin-password.{engine.name}"


def _note(engine: Engine) -> Path:
    return engine.settings.state_dir / f"undo.{engine.name}.json"
