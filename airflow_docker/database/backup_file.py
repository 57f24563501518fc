"""The backup file: a gzipped tar with known members. The first describes them; a seal ends the file.

The seal is a second gzip member with the SHA-256 of every byte before it. `tar` ignores it. We read nothing
from a file whose seal does not fit.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import struct
import tarfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from airflow_docker import secret_files
from airflow_docker.database.encryption import damaged
from airflow_docker.errors import UserError

FORMAT = 1
DESCRIPTION, DATABASE, SETTINGS, MANIFEST = "backup.json", "database", "settings.json", "manifest.json"
KEYS = {name: f"keys/{name}" for name in secret_files.OF_DATABASE}
"""Key of the database -> member."""
MEMBERS = (DATABASE, *KEYS.values(), SETTINGS, MANIFEST)
"""What follows the description, in this order."""
_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: no time, no name, no system
_LARGEST_DESCRIPTION = 1 << 20
_PIECE = 1 << 20
_TAR = tarfile.GNU_FORMAT
"""Which any tar reads, and which has room for a member of more than 8 GiB."""


@dataclass(frozen=True)
class Description:
    """The description of a backup; ``members`` maps each name to its size and SHA-256."""

    project: str
    engine: str
    database: str
    airflow_version: str
    made_by: str
    created: str
    format: int = FORMAT
    members: dict[str, dict[str, int | str]] = field(default_factory=dict)


def write(target: IO[bytes], description: Description, folder: Path) -> None:
    """Write the members, files of ``folder`` with the same names, as one backup."""
    members = {name: _size_and_digest(folder / name) for name in MEMBERS}
    text = json.dumps({**asdict(description), "members": members}, indent=1).encode()
    hashing_target = _HashingWriter(target)
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=hashing_target, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=_TAR) as tar,
    ):
        tar.addfile(_entry(DESCRIPTION, len(text)), io.BytesIO(text))
        for name in MEMBERS:
            with (folder / name).open("rb") as member:
                tar.addfile(_entry(name, int(members[name]["size"])), member)
    target.write(_seal(hashing_target.digest.hexdigest()))


def read(file: Path, folder: Path) -> Description:
    """Extract the members into ``folder``, after checking all of them against the seal.

    Raises UserError for a file that is not a backup, is damaged, or has another format.
    """
    _require_seal(file)
    try:
        with gzip.open(file) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            return _unpack(tar, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError):
        raise _not_a_backup() from None


def parse_description(text: bytes) -> Description:
    """The parsed description. Raises UserError if it is not ours, or has an unknown format."""
    try:
        values = json.loads(text)
        version = values["format"]
    except (ValueError, TypeError, KeyError):
        raise _not_a_backup() from None
    if version != FORMAT:
        what = f"it is of format {version}, and this airflow-docker knows format {FORMAT}."
        raise UserError("backup", what, "Use the airflow-docker that wrote it, or a newer one.")
    if not _is_well_formed(values):
        raise _not_a_backup()
    return Description(**values)


def _is_well_formed(values: dict[str, Any]) -> bool:
    text_fields = ("project", "engine", "database", "airflow_version", "made_by", "created")
    members = values.get("members")
    return (
        set(values) == {*text_fields, "format", "members"}
        and all(isinstance(values[name], str) for name in text_fields)
        and isinstance(members, dict)
        and set(members) == set(MEMBERS)
        and all(
            isinstance(m, dict)
            and isinstance(m.get("size"), int)
            and re.fullmatch(r"[0-9a-f]{64}", str(m.get("sha256")))
            for m in members.values()
        )
    )


def _unpack(tar: tarfile.TarFile, folder: Path) -> Description:
    description = parse_description(_content(tar, _next(tar, DESCRIPTION)).read(_LARGEST_DESCRIPTION))
    for name in MEMBERS:
        entry, expected = _next(tar, name), description.members[name]
        if entry.size != expected["size"]:
            raise damaged(f"{name} is not of its size")
        (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
        with (folder / name).open("xb") as target:  # the name is one of MEMBERS, never one of the tar's own choice
            shutil.copyfileobj(_content(tar, entry), target, _PIECE)
        if _size_and_digest(folder / name) != expected:
            raise damaged(f"{name} is not what was written")
    if tar.next() is not None:
        raise _not_a_backup()
    return description


def _next(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    entry = tar.next()
    if entry is None or entry.name != name or not entry.isreg():
        raise _not_a_backup()
    return entry


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(entry)
    if content is None:
        raise _not_a_backup()
    return content


def _not_a_backup() -> UserError:
    return UserError("backup", "the file is no backup of airflow-docker.", "Name one that inv backup wrote.")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


def _size_and_digest(file: Path) -> dict[str, int | str]:
    with file.open("rb") as opened:
        return {"size": file.stat().st_size, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}


class _HashingWriter(io.RawIOBase):
    """Passes on what is written, and computes its digest."""

    def __init__(self, target: IO[bytes]) -> None:
        self.target, self.digest = target, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.target.write(data)


def _seal(digest: str) -> bytes:
    """A gzip member with the digest, not compressed, so that its bytes are always the same (RFC 1951, 1952)."""
    text = digest.encode()
    stored = b"\x01" + struct.pack("<HH", len(text), len(text) ^ 0xFFFF) + text
    return _GZIP + stored + struct.pack("<II", zlib.crc32(text), len(text))


def _require_seal(file: Path) -> None:
    size = file.stat().st_size
    length = len(_seal("0" * 64))
    with file.open("rb") as opened:
        if opened.read(len(_GZIP)) != _GZIP:
            raise _not_a_backup()
        opened.seek(0)
        digest, left = hashlib.sha256(), size - length
        while left > 0 and (piece := opened.read(min(_PIECE, left))):
            digest.update(piece)
            left -= len(piece)
        if size < length or opened.read() != _seal(digest.hexdigest()):
            raise damaged("its checksum does not fit")
