"""The verbs backup and restore: database, keys and settings, but not what is in git, in .env or in archives."""

from __future__ import annotations

import getpass
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from airflow_docker import __version__, console, files, scrubbed_env, secret_files
from airflow_docker.database import backup_file, db_version, encryption, replacement
from airflow_docker.engines import Engine
from airflow_docker.engines.choice import require_no_other_engine
from airflow_docker.errors import USAGE, UserError, guarded
from airflow_docker.settings import Settings
from airflow_docker.verbs import builds, config, preflight, stack

PASSPHRASE = "BACKUP_PASSPHRASE"  # noqa: S105
"""The environment variable with the passphrase; without it, the user is asked."""
FOLDER, MODE = "backups", 0o600
_WORK, _PLAIN = "backup.work", "plain"


def create(engine: Engine, file: Path | None, *, encrypt: bool = False) -> Path:
    """Write a backup to ``file``, by default one in STATE_DIR named by project and time; services keep running."""
    settings = engine.settings
    if not engine.database.exists():
        raise UserError("inv backup", "there is no database yet, so there is nothing to back up.", "Type: inv up")
    now = datetime.now(UTC)
    target = file or _default(settings, now)
    if target.exists():
        raise UserError(str(target), "this file is there already.", "Name another, or move it away.")
    keys = _all_keys(settings)
    passphrase = _new_passphrase() if encrypt else ""
    if not target.parent.is_dir():
        raise UserError("--file", f"there is no folder {target.parent}.", "Create it, or name another one.")
    with _work_folder(engine) as folder:
        with console.step("Copying the database"):
            engine.database.dump(folder / backup_file.DATABASE)
        _gather(engine, keys, folder)
        with console.step("Packing"), files.replacing(target, MODE) as output:
            if encrypt:
                _write_encrypted(_description(engine, now), folder, output, passphrase)
            else:
                backup_file.write(output, _description(engine, now), folder)
    _print_summary(target, encrypt)
    return target


def restore(engine: Engine, file: Path | None, *, yes: bool = False) -> None:
    """Restore the backup ``file``. Raises UserError, with nothing changed, if that fails."""
    if file is None:
        raise UserError("--file", "it names nothing.", "Name a file that inv backup wrote.", USAGE)
    if not file.is_file():
        raise UserError(str(file), "there is no such file.", "Name one that inv backup wrote.")
    settings = engine.settings
    with _work_folder(engine) as folder:
        description = _unpack(file, folder)
        keys = _keys(folder)
        _require_fit(engine, description)
        _require_consent(engine, keys, yes)
        if keys != secret_files.saved_keys(settings):
            require_no_other_engine(engine)
        was_running = bool(engine.states())
        if was_running:
            stack.down(engine)
        try:
            stack.clear_config(engine)
            with console.step(f"Restoring {description.project} of {description.created}"):
                replacement.replace(engine, folder / backup_file.DATABASE, keys)
                db_version.record(engine)
        except BaseException:
            if was_running:
                _start_again(engine)
            raise
        if was_running:
            stack.up(engine, timeout=stack.START_SECONDS)
    if not was_running:
        console.say("  To start it: inv up")


def _start_again(engine: Engine) -> None:
    """Start what ran before a failed restore. If this fails too, only warn: the reason of the restore counts."""
    if replacement.is_pending(engine):
        return
    try:
        preflight.check(engine, preflight.START)
        stack.up(engine, timeout=stack.START_SECONDS)
    except UserError as problem:
        console.warn(f"The stack is stopped; its data is unchanged. {problem.text}")


@guarded
def roll_back_to(engine: Engine, file: Path) -> None:
    """Restore ``file``, which this run or a killed one has written. Nothing of the stack may run."""
    with _work_folder(engine) as folder:
        description = _unpack(file, folder)
        _require_fit(engine, description)
        with console.step(f"Restoring {description.project} of {description.created}"):
            replacement.replace(engine, folder / backup_file.DATABASE, _keys(folder))
            db_version.record(engine)


def _default(settings: Settings, now: datetime) -> Path:
    """Only the user may enter the folder, whoever may enter STATE_DIR."""
    folder = settings.state_dir / FOLDER
    files.make_directory(settings.state_dir, "STATE_DIR")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{settings.compose_project_name}-{now:%Y%m%dT%H%M%SZ}.backup"


def _all_keys(settings: Settings) -> Mapping[str, str]:
    keys = secret_files.saved_keys(settings)
    if missing := [name for name in secret_files.OF_DATABASE if name not in keys]:
        what = f"there is no {missing[0]}, and a backup without it is useless."
        todo = (
            "Put the file back. If it is lost: inv up makes a new one, which cannot read what the old one has written."
        )
        raise UserError("SECRETS_DIR", what, todo)
    return keys


@contextmanager
def _work_folder(engine: Engine) -> Iterator[Path]:
    """A private folder, removed at the end. What a killed run has left is removed first."""
    state_dir = engine.settings.state_dir
    files.make_directory(state_dir, "STATE_DIR")
    engine.database.stop_server()
    folder = state_dir / _WORK
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _gather(engine: Engine, keys: Mapping[str, str], folder: Path) -> None:
    """All members but the database."""
    (folder / "keys").mkdir()
    for name, member in backup_file.KEYS.items():
        (folder / member).write_text(keys[name])
    (folder / backup_file.SETTINGS).write_text(json.dumps(config.gather(engine.settings), indent=1))
    artifact = engine.running_artifact() or builds.last_artifact(engine)
    labels = engine.builder.labels(artifact) if artifact else None
    (folder / backup_file.MANIFEST).write_text(json.dumps(labels or {}, indent=1))


def _description(engine: Engine, now: datetime) -> backup_file.Description:
    return backup_file.Description(
        project=engine.settings.compose_project_name, engine=engine.name, database=engine.database.kind,
        airflow_version=db_version.current(engine), made_by=f"airflow-docker {__version__}",
        created=now.isoformat(timespec="seconds"),
    )  # fmt: skip


def _write_encrypted(description: backup_file.Description, folder: Path, output: IO[bytes], passphrase: str) -> None:
    with (folder / _PLAIN).open("wb") as plain:
        backup_file.write(plain, description, folder)
    with (folder / _PLAIN).open("rb") as plain:
        encryption.encrypt(plain, output, passphrase)


def _print_summary(target: Path, is_encrypted: bool) -> None:
    console.done(f"Backup in {target} ({target.stat().st_size / 1e6:.1f} MB)")
    if not is_encrypted:
        console.say("  It holds keys and is not encrypted: keep it where only you can read it.")
    console.out(str(target))


def _unpack(file: Path, folder: Path) -> backup_file.Description:
    if encryption.is_encrypted(file):
        passphrase = _passphrase()
        with file.open("rb") as source, (folder / _PLAIN).open("wb") as plain:
            encryption.decrypt(source, plain, passphrase)
        file = folder / _PLAIN
    return backup_file.read(file, folder)


def _keys(folder: Path) -> dict[str, str]:
    keys = {name: (folder / member).read_text(errors="replace") for name, member in backup_file.KEYS.items()}
    if not all(key and key.isascii() and key.isprintable() for key in map(str.strip, keys.values())):
        raise encryption.damaged("its keys are not text")
    return keys


def _require_fit(engine: Engine, description: backup_file.Description) -> None:
    """Raise UserError if the backup is of another kind of database or another Airflow version."""
    if description.database != engine.database.kind:
        what = f"its database is {description.database}, and the engine {engine.name} uses {engine.database.kind}."
        raise UserError("backup", what, f"Set ENGINE={description.engine}.")
    wanted = engine.settings.airflow_version
    if description.airflow_version != wanted:
        what = f"it is of Airflow {description.airflow_version}, and AIRFLOW_VERSION is {wanted}."
        todo = f"Set AIRFLOW_VERSION={description.airflow_version} and restore; then set {wanted} and type: inv up"
        raise UserError("backup", what, todo)


def _require_consent(engine: Engine, keys: Mapping[str, str], yes: bool) -> None:
    """Raise UserError if anything would be replaced, unless ``yes``."""
    if yes:
        return
    name = engine.settings.compose_project_name
    if engine.states():
        todo = "Type: inv down, or say --yes to stop it, replace its database and start it again."
        raise UserError("inv restore", f"{name} is running.", todo, USAGE)
    saved = secret_files.saved_keys(engine.settings)
    if engine.database.exists() or (saved and saved != keys):
        what = "has a database" if engine.database.exists() else f"has other keys in {engine.settings.secrets_dir}"
        todo = "Take a backup of it, and say --yes to replace it."
        raise UserError("inv restore", f"{name} {what}, which this would replace.", todo, USAGE)


def _new_passphrase() -> str:
    passphrase = _passphrase()
    if not scrubbed_env.original().get(PASSPHRASE) and getpass.getpass("Repeat the passphrase: ") != passphrase:
        raise UserError("passphrase", "the two are not the same.", "Nothing was written. Try again.")
    return passphrase


def _passphrase() -> str:
    if passphrase := scrubbed_env.original().get(PASSPHRASE):
        return passphrase
    if not sys.stdin.isatty():
        what = "it is needed, and there is no terminal to ask on."
        raise UserError("passphrase", what, f"Set {PASSPHRASE} in the environment.", USAGE)
    if not (typed := getpass.getpass("Passphrase: ")):
        raise UserError("passphrase", "it is empty.", "Nothing was changed. Try again.")
    return typed
