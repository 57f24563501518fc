"""Files written whole or not at all, one run at a time, and only what is ours removed."""

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

from airflow_docker import console, interruption
from airflow_docker.errors import UserError

LOCK = ".lock"
_UNFINISHED = ".airflow-docker"
"""The end of the names of files that are being written, to be renamed when they are whole."""
_RUN_VARIABLE, _RUN = "AIRFLOW_DOCKER_RUN", f"{os.getpid()}.{time.time_ns()}"
"""What all programs that this run starts carry in their environment, but for those that are to outlive it."""
MARKER = ".made-by-airflow-docker"
"""A directory that holds this file was made by us and may be purged by us."""


def write(file: Path, content: bytes, mode: int = 0o644, owner: int | None = None) -> bool:
    """Put ``content`` into ``file`` atomically; True if anything changed.

    The new file has ``mode`` and, where given, the uid ``owner`` (needs root if it is not
    the caller's own) before it appears under its name. A kill leaves the old or the new.
    """
    if _is_unchanged(file, content, mode, owner):
        return False
    with replacing(file, mode, owner) as output:
        output.write(content)
    return True


@contextmanager
def replacing(file: Path, mode: int, owner: int | None = None) -> Iterator[IO[bytes]]:
    """What is written here becomes ``file``, as in :func:`write`, if all goes well; otherwise nothing changes."""
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
    """A new file beside ``file``, locked while it is open, which distinguishes it from an abandoned one."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=_UNFINISHED, dir=file.parent)
        with suppress(OSError):  # where there are no locks; nothing there is taken for abandoned then either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _same_file(descriptor, Path(name)):
            return descriptor, name
        os.close(descriptor)  # somebody has tidied up in between


def _remove_abandoned(directory: Path) -> None:
    """Remove what runs that were killed were writing in ``directory``; it may hold secrets."""
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
    """The JSON object in a file that we wrote; empty if there is none, or none with the ``required`` names."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and all(name in value for name in required) else {}


def make_directory(directory: Path, where: str, owner: int | None = None) -> None:
    """Make ``directory`` if it is missing, for the uid ``owner``; one that exists is left as it is.

    Raises UserError naming the setting ``where`` if it cannot be made.
    """
    try:
        missing = [p for p in (directory, *directory.parents) if not p.exists()]
        directory.mkdir(mode=0o755 if owner is None else 0o750, parents=True, exist_ok=True)
        if owner is not None and missing and owner != os.geteuid():
            os.chown(directory, owner, -1)
    except (FileExistsError, NotADirectoryError):
        raise UserError(where, f"{directory} is not a folder.", "Name another one, or move that file away.") from None
    except OSError as problem:
        todo = "Make it yourself, or name a place where you may write."
        raise UserError(where, f"{directory} cannot be made ({problem.strerror}).", todo) from None


def require_new(file: Path, flag: str) -> None:
    """Raise UserError unless the file can be made, in a folder that there is; ``flag`` named it."""
    if file.exists():
        raise UserError(str(file), "this file is there already.", "Name another, or move it away.")
    if not file.parent.is_dir():
        raise UserError(flag, f"there is no folder {file.parent}.", "Make it, or name another place.")


def require_makeable(directory: Path, where: str) -> None:
    """Raise UserError, as :func:`make_directory` would, if ``directory`` is missing and cannot be made."""
    nearest = next(p for p in (directory, *directory.parents) if os.path.lexists(p))
    if not nearest.is_dir():
        raise UserError(where, f"{nearest} is not a folder.", "Name another one, or move that file away.")
    if nearest != directory and not os.access(nearest, os.W_OK | os.X_OK):
        todo = "Make it yourself, or name a place where you may write."
        raise UserError(where, f"{directory} cannot be made, as you may not write {nearest}.", todo)


def require_ours(directory: Path, where: str) -> None:
    """Raise UserError unless ``directory`` is new, empty or already marked."""
    reason = refusal(directory)
    if reason:
        raise UserError(where, f"{directory} {reason}.", "Name another folder; it is made when it is missing.")


def claim(directory: Path, where: str) -> None:
    """Make ``directory`` ours: new, empty or already marked. Raises UserError for any other, and changes nothing."""
    require_ours(directory, where)
    make_directory(directory, where)
    try:
        write(directory / MARKER, b"This folder was made by airflow-docker, which may empty it.\n")
    except OSError as problem:
        todo = "Name a folder where you may write, with room in it."
        raise UserError(where, f"{directory} cannot be written ({problem.strerror}).", todo) from None


def refusal(directory: Path) -> str | None:
    """Why ``directory`` may not be ours to fill and purge, or None if it may."""
    if directory.is_symlink():
        return "is a symbolic link"
    if not directory.exists():
        return None
    if not directory.is_dir():
        return "is not a folder"
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return "is not yours to read and write"
    resolved = directory.resolve()
    if resolved == Path(resolved.anchor):
        return "is the root of the file system"
    if resolved == Path.home().resolve() or resolved in Path.home().resolve().parents:
        return "is your home directory or holds it"
    if (directory / ".git").exists():
        return "is a git repository"
    others = (entry for entry in directory.iterdir() if not entry.name.startswith(f".{MARKER}."))  # one just written
    if any(others) and not (directory / MARKER).is_file():
        return f"holds files and was not made by airflow-docker (there is no {MARKER} in it)"
    return None


def purge(directory: Path, where: str) -> bool:
    """Remove a directory of ours with all it holds; True if there was one. Raises UserError if it is not ours."""
    if not directory.exists() and not directory.is_symlink():
        return False
    reason = refusal(directory)
    if reason:
        raise UserError(where, f"{directory} {reason}.", "Nothing was removed. Remove it yourself if you mean it.")
    shutil.rmtree(directory)
    return True


def empty(directory: Path, where: str, names: Iterable[str]) -> None:
    """Remove what we made, ``names``, from a directory of ours. Raises UserError if it is not ours."""
    claim(directory, where)
    for entry in (directory / name for name in names):
        if not os.path.lexists(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def size_of(folder: Path, end: float = math.inf) -> int | None:
    """Bytes of the files below a folder; None if they have not been counted when the clock says ``end``."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if time.monotonic() > end:
                return None
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  as there are many
            except OSError:
                continue
    return total


@contextmanager
def locked(file: Path, where: str) -> Iterator[float]:
    """Hold ``file`` as a lock, waiting for whoever has it; it is gone afterwards, and ends with the process.

    Gives when a run took it that was killed with it, in seconds since 1970, or else 0. What that run had
    started has been ended then.
    """
    lock, began_at = _acquire(file, where)
    try:
        yield began_at
    finally:
        file.unlink(missing_ok=True)
        lock.close()


def _acquire(file: Path, where: str) -> tuple[IO[str], float]:
    os.environ[_RUN_VARIABLE] = _RUN
    while True:
        lock = _opened(file, where)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(f"· {where}: waiting for {_holder(lock)[0] or 'another run'} …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as problem:  # a network file system without locks
            what = f"{file.parent} takes no locks ({problem.strerror})."
            raise UserError(where, what, "Name a folder of a local disk.") from None
        if _same_file(lock.fileno(), file):  # its last holder may have removed it while we waited
            killed_run = _holder(lock)[1]
            began_at = file.stat().st_mtime if killed_run else 0.0
            if killed_run:
                _end_programs_of(killed_run)
            lock.truncate(0)
            with suppress(OSError):  # on a full disk it holds without a name
                os.write(lock.fileno(), f"process {os.getpid()}\n{_RUN}".encode())
            return lock, began_at
        lock.close()


def _opened(file: Path, where: str) -> IO[str]:
    try:
        return file.open("a+")
    except OSError as problem:
        todo = "Name a folder where you may write, with room in it."
        raise UserError(where, f"{file.parent} cannot be written ({problem.strerror}).", todo) from None


def _holder(lock: IO[str]) -> tuple[str, str]:
    """Who has it, in words, and the name of that run; it may not have written that yet."""
    lock.seek(0)
    text, _, run = lock.read().partition("\n")
    return text, run


def _end_programs_of(run: str) -> None:
    """End what a run that was killed has left running: it would go on changing what is ours now."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_RUN_VARIABLE) == run:
                interruption.end(process.pid)


def _same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
