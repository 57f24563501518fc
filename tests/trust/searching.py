"""Search for marker values in bytes, files, nested archives and git objects."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import secrets as random
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote, quote_plus

_LEAD = 9
"""Length of the common prefix of all markers: large files are searched for it first. Divisible by three."""
_DEEPEST = 6
"""Levels of nested archives; an image has three: the file of `docker save`, a layer, a compressed file in it."""


def forms(value: str) -> dict[str, bytes]:
    """Form -> bytes of a value: as it is, in a URL, in hexadecimal, and in base64 at any offset."""
    raw = value.encode()
    patterns = {"as it is": raw, "quoted": quote(value, safe="").encode(), "quoted+": quote_plus(value).encode()}
    patterns |= {"hexadecimal": raw.hex().encode()}
    for shift in range(3):
        # The first and the last base64 character also depend on other bytes: leave them out.
        first, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            patterns[f"{name}, shift {shift}"] = encode(bytes(shift) + raw)[first:end]
    return patterns


class Markers:
    """Name -> value of the secrets that must not be found."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._lead = random.token_hex(_LEAD)[:_LEAD]
        self._patterns: dict[bytes, str] = {}
        self._hints: set[bytes] = set()

    def make(self, name: str) -> str:
        """A new value to search for, with characters that URLs, shells and ini files treat specially."""
        return self.add(name, f"{self._lead}{random.token_hex(8)}+/&x")

    def add(self, name: str, value: str) -> str:
        """Search for this value from now on."""
        assert len(value) > _LEAD, "it would be found by chance"
        self.values[name] = value
        for form, pattern in forms(value).items():
            self._patterns.setdefault(pattern, f"{name} ({form})")
        self._hints |= set(forms(value[:_LEAD]).values())
        return value

    def within(self, data: bytes) -> list[str]:
        """The markers in ``data``, each with its form; archives are not opened."""
        if not any(hint in data for hint in self._hints):
            return []
        return [name for pattern, name in self._patterns.items() if pattern in data]


class Search:
    """Counts the ``locations`` that were searched; ``hits`` are lines ``location: marker (form)``."""

    def __init__(self, markers: Markers) -> None:
        self.markers = markers
        self.locations = 0
        self.hits: list[str] = []
        self._looked_at: set[tuple[int, int, int]] = set()

    def text(self, location: str, content: str | bytes) -> None:
        """Search an output or a listing."""
        self._look(location, content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))

    def stream(self, location: str, opened: IO[bytes]) -> None:
        """Search a seekable file; if it is an archive, each member is a location."""
        for name, data in opened_up(location, opened):
            self._look(name, data)

    def file(self, file: Path) -> None:
        """Search one file; a missing one is skipped."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), file.open("rb") as opened:
            info = os.fstat(opened.fileno())
            identity = (info.st_dev, info.st_ino, info.st_mtime_ns)  # uv links its cache's files instead of copying
            if identity not in self._looked_at:
                self._looked_at.add(identity)
                self.stream(str(file), opened)

    def folder(self, folder: Path, without: Iterable[Path] = ()) -> None:
        """Search every file below ``folder``, its name and its link target, except ``without``."""
        left_out = {str(entry) for entry in without}
        for entry in entries(folder, left_out):
            self.text(f"{entry} (its name)", str(entry))
            if entry.is_symlink():
                self.text(f"{entry} (its target)", str(entry.readlink()))
            elif entry.is_file():
                self.file(entry)

    def git_objects(self, checkout: Path) -> None:
        """Search all objects of a repository, loose and packed, reachable or not."""
        command = ["git", "-C", str(checkout), "cat-file", "--batch-all-objects", "--batch"]
        self.text(f"{checkout} (git's objects)", subprocess.run(command, capture_output=True, check=True).stdout)

    def _look(self, location: str, data: bytes) -> None:
        self.locations += 1
        self.hits += [f"{location}: {marker}" for marker in self.markers.within(data)]


def entries(folder: Path, left_out: set[str]) -> Iterator[Path]:
    """All entries below a folder, except ``left_out``; links are not followed."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for entry in sorted(folder.iterdir()):
            if str(entry) not in left_out:
                yield entry
                if entry.is_dir() and not entry.is_symlink():
                    yield from entries(entry, left_out)


def opened_up(location: str, opened: IO[bytes], depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Name and content of a file, or of its members if it is an archive, compressed or not."""
    head = opened.read(512)
    opened.seek(0)
    if head[257:262] == b"ustar" and depth < _DEEPEST:
        yield from _members(location, opened, depth)
        return
    data = opened.read()
    yield location, data
    if depth == _DEEPEST:
        return
    if head.startswith(b"PK\x03\x04"):
        with (
            contextlib.suppress(zipfile.BadZipFile, NotImplementedError, RuntimeError),
            zipfile.ZipFile(opened) as zipped,
        ):
            for name in zipped.namelist():
                yield from opened_up(f"{location}!{name}", io.BytesIO(zipped.read(name)), depth + 1)
    elif (unpacked := _unpacked(head, data)) is not None:
        yield from opened_up(f"{location}!", io.BytesIO(unpacked), depth + 1)


def _members(location: str, opened: IO[bytes], depth: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=opened, mode="r:") as tar:
        for entry in tar:
            name = f"{location}!{entry.name}"
            yield f"{name} (its entry)", repr([entry.name, entry.linkname, entry.pax_headers, entry.uname]).encode()
            if entry.isreg() and (member := tar.extractfile(entry)):
                yield from opened_up(name, member, depth + 1)


def _unpacked(head: bytes, data: bytes) -> bytes | None:
    """The content of gzip or zstd data; None for anything else."""
    if head.startswith(b"\x1f\x8b"):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            return gzip.decompress(data)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout
    return None
