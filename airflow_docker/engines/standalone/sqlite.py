"""The SQLite database of a standalone stack, copied while it is in use and replaced when it is not."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from airflow_docker import files
from airflow_docker.engines.standalone import health_checks
from airflow_docker.errors import UserError

_PATIENCE = 60.0  # seconds to wait for who writes


@dataclass(frozen=True)
class Sqlite:
    """The database ``file``, in a folder of its own in the stack's ``folder``.

    What replaces it is a folder beside that one: a rename takes along the journals, which
    SQLite would otherwise apply to the wrong file.
    """

    folder: Path
    file: Path
    kind = "sqlite"
    size_query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"

    @property
    def _before(self) -> Path:
        return self.file.parent.with_suffix(".before")

    @property
    def _restored(self) -> Path:
        return self.file.parent.with_suffix(".restored")

    def query(self, sql: str) -> list[list[str]]:
        return self.queries(sql)[0]

    def queries(self, *sql: str) -> list[list[list[str]]]:
        try:
            with contextlib.closing(health_checks.reading(self.file)) as opened:
                return [_as_text(opened.execute(statement)) for statement in sql]
        except sqlite3.Error as problem:
            raise UserError(str(self.file), f"cannot be queried ({problem}).", "Type: inv status") from None

    def exists(self) -> bool:
        return self.file.exists()

    def running_server(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def stop_server(self) -> None:
        """It has no server."""

    def dump(self, file: Path) -> None:
        try:
            with (
                contextlib.closing(sqlite3.connect(_address(self.file), uri=True, timeout=_PATIENCE)) as source,
                contextlib.closing(sqlite3.connect(file)) as target,
            ):
                source.backup(target)
        except sqlite3.Error as problem:
            raise UserError(str(self.file), f"the database cannot be copied ({problem}).", "Type: inv status") from None

    def load_beside(self, file: Path) -> None:
        files.claim(self.folder, "STATE_DIR")
        self.folder.chmod(0o700)
        self.drop_backup()
        shutil.rmtree(self._restored, ignore_errors=True)
        if self.file.parent.is_dir():  # its other files are not the database's
            ignored = shutil.ignore_patterns(f"{self.file.name}*")
            shutil.copytree(self.file.parent, self._restored, symlinks=True, ignore=ignored)
        else:
            self._restored.mkdir()
        loaded = self._restored / self.file.name
        try:
            with file.open("rb") as source, files.replacing(loaded, 0o600) as target:
                shutil.copyfileobj(source, target)
            _require_airflow(loaded)
        except BaseException:
            shutil.rmtree(self._restored)
            raise

    def swap_in(self, password: str) -> None:
        if self.file.parent.is_dir():
            self.file.parent.rename(self._before)
        else:
            self._before.mkdir()
        self._restored.rename(self.file.parent)
        self._clear_config()

    def set_password(self, password: str) -> None:
        """It has no password."""

    def rollback(self, had: bool, password: str) -> None:
        if self._before.is_dir():
            if self.file.parent.is_dir():
                shutil.rmtree(self._restored, ignore_errors=True)
                self.file.parent.rename(self._restored)
            self._before.rename(self.file.parent)
            self._clear_config()
        shutil.rmtree(self._restored, ignore_errors=True)

    def drop_backup(self) -> None:
        shutil.rmtree(self._before, ignore_errors=True)

    def _clear_config(self) -> None:
        """The next start initialises: another Airflow may have written this database."""
        (self.folder / "initialised").unlink(missing_ok=True)


def _as_text(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    return [["" if cell is None else str(cell) for cell in row] for row in rows]


def _address(file: Path) -> str:
    return f"file:{quote(str(file))}?mode=rw"


def _require_airflow(file: Path) -> None:
    """Raise UserError unless this is an undamaged database of Airflow."""
    try:
        with contextlib.closing(sqlite3.connect(_address(file), uri=True)) as opened:
            verdict = opened.execute("PRAGMA integrity_check(1)").fetchone()[0]
            versions = opened.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
    except sqlite3.Error as problem:
        verdict, versions = str(problem), 0
    if verdict != "ok" or not versions:
        what = f"its database is not that of an Airflow ({verdict})."
        raise UserError("backup", what, "Nothing was changed. Take another one.")
