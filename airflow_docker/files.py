"""Atomic writes, and folders that are purged only if they are ours."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from airflow_docker.errors import UserError

_UNFINISHED = ".airflow-docker"
"""Suffix of files that are being written; they are renamed when they are complete."""
MARKER = ".made-by-airflow-docker"
"""A directory with this file was created by us, and we may purge it."""


def write(file: Path, content: bytes, mode: int = 0o644, owner: int | None = None) -> bool:
    """Write ``content`` to ``file`` atomically; True if anything changed.

    The new file has ``mode`` and the uid ``owner`` (if set; needs root unless it is the caller's)
    before it appears under its name. A kill leaves the old file or the new one.
    """
    if _is_unchanged(file, content, mode, owner):
        return False
    with replacing(file, mode, owner) as output:
        output.write(content)
    return True


@contextmanager
def replacing(file: Path, mode: int, owner: int | None = None) -> Iterator[IO[bytes]]:
    """A stream whose content becomes ``file``, as in :func:`write`; after an exception ``file`` is unchanged."""
    _remove_abandoned(file.parent)
    descriptor, name = _temporary(file)
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            if owner is not None and owner != os.geteuid():
                os.fchown(output.fileno(), owner, -1)
            os.fchmod(output.fileno(), mode)
            os.fsync(output.fileno())
            Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _temporary(file: Path) -> tuple[int, str]:
    """A new file beside ``file``. It is locked while it is open; an abandoned one is not."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=_UNFINISHED, dir=file.parent)
        with suppress(OSError):  # no locks on this file system: then no file is taken for abandoned either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_same_file(descriptor, Path(name)):
            return descriptor, name
        os.close(descriptor)  # another run has removed it in between


def _remove_abandoned(directory: Path) -> None:
    """Remove files that killed runs were writing in ``directory``; they may hold secrets."""
    for abandoned in directory.glob(f".*{_UNFINISHED}"):
        with suppress(OSError), abandoned.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            abandoned.unlink(missing_ok=True)


def _is_unchanged(file: Path, content: bytes, mode: int, owner: int | None) -> bool:
    try:
        status = file.stat()
        return (
            not file.is_symlink()
            and status.st_mode & 0o7777 == mode
            and owner in (None, status.st_uid)
            and file.read_bytes() == content
        )
    except OSError:
        return False


def read_object(file: Path, *required: str) -> dict[str, Any]:
    """The JSON object in a file of ours; empty if there is none, or if a ``required`` name is missing."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and all(name in value for name in required) else {}


def make_directory(directory: Path, where: str, owner: int | None = None) -> None:
    """Create ``directory`` if it is missing, for the uid ``owner``; an existing one is not changed.

    Raises UserError naming the setting ``where`` if it cannot be created.
    """
    try:
        missing = [p for p in (directory, *directory.parents) if not p.exists()]
        directory.mkdir(mode=0o755 if owner is None else 0o750, parents=True, exist_ok=True)
        if owner is not None and missing and owner != os.geteuid():
            os.chown(directory, owner, -1)
    except (FileExistsError, NotADirectoryError):
        raise UserError(where, f"{directory} is not a folder.", "Name another one, or move that file away.") from None
    except OSError as problem:
        todo = "Create it yourself, or name a folder where you may write."
        raise UserError(where, f"{directory} cannot be created ({problem.strerror}).", todo) from None


def require_new(file: Path, flag: str) -> None:
    """Raise UserError if the file, which ``flag`` names, exists, or if its folder does not."""
    if file.exists():
        raise UserError(str(file), "this file is there already.", "Name another, or move it away.")
    if not file.parent.is_dir():
        raise UserError(flag, f"there is no folder {file.parent}.", "Create it, or name another folder.")


def require_makeable(directory: Path, where: str) -> None:
    """Raise UserError, as :func:`make_directory` would, if ``directory`` is missing and cannot be created."""
    nearest = next(p for p in (directory, *directory.parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise UserError(where, f"{nearest} is not a folder.", "Name another one, or move that file away.")
    if nearest != directory and not os.access(nearest, os.W_OK | os.X_OK):
        todo = "Create it yourself, or name a folder where you may write."
        raise UserError(where, f"{directory} cannot be created, as you may not write {nearest}.", todo)


def require_ours(directory: Path, where: str) -> None:
    """Raise UserError unless ``directory`` is new, empty or already marked."""
    reason = refusal(directory)
    if reason:
        raise UserError(where, f"{directory} {reason}.", "Name another folder; it is created if it is missing.")


def claim(directory: Path, where: str) -> None:
    """Mark ``directory``, which is new, empty or already marked, as ours. Raises UserError for any other."""
    require_ours(directory, where)
    make_directory(directory, where)
    try:
        write(directory / MARKER, b"This folder was made by airflow-docker, which may empty it.\n")
    except OSError as problem:
        todo = "Name a folder where you may write, with room in it."
        raise UserError(where, f"{directory} cannot be written ({problem.strerror}).", todo) from None


def refusal(directory: Path) -> str | None:
    """Why we may not fill and purge ``directory``; None if we may."""
    if directory.is_symlink():
        return "is a symbolic link"
    if not directory.exists():
        return None
    if not directory.is_dir():
        return "is not a folder"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return "cannot be read and written by you"
    resolved = directory.resolve()
    if resolved == Path(resolved.anchor):
        return "is the root of the file system"
    if resolved == Path.home().resolve() or resolved in Path.home().resolve().parents:
        return "is your home directory or holds it"
    if (directory / ".git").exists():
        return "is a git repository"
    others = (entry for entry in directory.iterdir() if not entry.name.startswith(f".{MARKER}."))  # being written
    if any(others) and not (directory / MARKER).is_file():
        return f"holds files and was not made by airflow-docker (there is no {MARKER} in it)"
    return None


def purge(directory: Path, where: str) -> bool:
    """Remove a directory of ours with its content; True if there was one. Raises UserError if it is not ours."""
    if not directory.exists() and not directory.is_symlink():
        return False
    reason = refusal(directory)
    if reason:
        raise UserError(where, f"{directory} {reason}.", "Nothing was removed. Remove it yourself if you mean it.")
    shutil.rmtree(directory)
    return True


def empty(directory: Path, where: str, names: Iterable[str]) -> None:
    """Remove the entries ``names`` from a directory of ours. Raises UserError if it is not ours."""
    claim(directory, where)
    for entry in (directory / name for name in names):
        if not os.path.lexists(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def size_of(folder: Path, end: float = math.inf) -> int | None:
    """Bytes of all files below a folder; None if counting takes longer than to ``end`` (monotonic clock)."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if time.monotonic() > end:
                return None
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  faster, for many files
            except OSError:
                continue
    return total


def is_same_file(descriptor: int, file: Path) -> bool:
    """True if the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
