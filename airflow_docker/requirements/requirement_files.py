"""Reads requirements files with their includes; each requirement has its file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_docker.errors import UserError, raise_all
from airflow_docker.settings.types import redact

_OPTION = re.compile(r"(--\w[\w-]*)(?:[ =]\s*(.*))?|(-\w)[ =]?\s*(.*)")
_HASH = re.compile(r"\s--hash[= ]([a-z0-9]+:[0-9a-f]+)")
_URL = re.compile(r"(?:[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?([a-z][a-z0-9+.-]*)://", re.I)
_BOUND = r"\s*(?:[=!<>]=|[<>]|~=(?=\s*\d+\.))\s*\d+(?:\.\d+)*(?:(?:a|b|rc)\d*)?\s*"
_USUAL = re.compile(rf"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:{_BOUND}(?:,{_BOUND})*)?", re.A)
"""The form of nearly every line: a name, and perhaps bounds of its version."""
_INCLUDES = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}
_INDEX = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host")


@dataclass(frozen=True)
class Requirement:
    """One requirement: ``text`` without hashes, normalised ``name`` (empty for a bare URL), file and line."""

    text: str
    name: str
    file: Path
    line: int
    constraint: bool = False
    hashes: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and line, as in errors."""
        return f"{self.file} line {self.line}"


def normal(name: str) -> str:
    """A project name, normalised as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(files: list[Path]) -> list[Requirement]:
    """All requirements of ``files`` and of what they include, in order. Raises UserError for every bad line at once.

    Takes UTF-8 with or without a byte-order mark, any line ends, comments, backslash
    continuations, ``-r`` and ``-c`` relative to the including file, and hashes.
    """
    errors: list[UserError] = []
    requirements = [r for file in files for r in _read(file, False, (), errors)]
    raise_all(errors)
    return requirements


def _read(file: Path, constraint: bool, within: tuple[Path, ...], errors: list[UserError]) -> Iterator[Requirement]:
    for number, text in _logical_lines(file, errors):
        where = f"{file} line {number}"
        match = _OPTION.fullmatch(text)
        option, value = (match[1] or match[3], (match[2] or match[4] or "").strip("\"' ")) if match else ("", "")
        if option in _INCLUDES:
            included = Path(os.path.normpath(file.parent / value))
            if "://" in value:
                todo = "Set AIRFLOW_CONSTRAINTS." if _INCLUDES[option] else "Put the file into the repository."
                errors.append(UserError(where, f"{redact(value)} is a URL, and nothing is included from one.", todo))
            elif included in (*within, file):
                errors.append(UserError(where, f"{included.name} includes itself.", "Remove one of the includes."))
            elif not included.is_file():
                errors.append(UserError(where, f"there is no file {included}.", "Paths are relative to this file."))
            else:
                yield from _read(included, constraint or _INCLUDES[option], (*within, file), errors)
        elif text.startswith("-"):
            errors.append(_refused_option(where, option or text))
        else:
            try:
                yield _requirement(text, file, number, constraint)
            except UserError as error:
                errors.append(error)


def _logical_lines(file: Path, errors: list[UserError]) -> Iterator[tuple[int, str]]:
    """Each line that is not empty: continuations joined, comments removed, with the number of its first line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        errors.append(UserError(str(file), "the file is not UTF-8 text.", "Save it as UTF-8."))
        return
    except OSError as problem:
        errors.append(UserError(str(file), f"cannot be read ({problem.strerror}).", "Make it readable for you."))
        return
    logical, first = "", 0
    for number, line in enumerate(lines, 1):
        first = first if logical else number
        bare = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if bare.endswith("\\"):
            logical += bare[:-1] + " "
            continue
        logical = (logical + bare).strip()
        if logical:
            yield first, logical
        logical = ""
    if logical.strip():
        yield first, logical.strip()


def _refused_option(where: str, option: str) -> UserError:
    if option in ("-e", "--editable"):
        what, todo = (
            "an editable install points to a folder that the image does not have.",
            "Name a release, or git+https.",
        )
    elif option in _INDEX:
        what, todo = f"{option} is not taken from requirements.", "Package indexes come from pip's configuration."
    else:
        what, todo = f"{option} is not an option that is supported here.", "Remove it; -r, -c and --hash are."
    return UserError(where, what, todo)


def _requirement(text: str, file: Path, line: int, constraint: bool) -> Requirement:
    where = f"{file} line {line}"
    hashes = tuple(_HASH.findall(text))
    bare = _HASH.sub("", text).strip()
    url = _URL.match(bare)
    if bare.startswith((".", "/", "~")) or (url and url[1].lower() in ("file", "git+file")):
        raise UserError(
            where, f"'{bare}' is a path on this host, which the image does not have.", "Name a release or URL."
        )
    if url and "@" not in bare[: url.start(1)]:
        if hashes:
            raise UserError(where, f"'{bare}' has hashes but no name.", "Write: name @ URL --hash=…")
        return Requirement(bare, "", file, line, constraint, hashes)
    return Requirement(bare, normal(_name(bare, where)), file, line, constraint, hashes)


def _name(bare: str, where: str) -> str:
    """The name in a requirement. packaging, which is slow to import, parses only unusual lines."""
    if usual := _USUAL.fullmatch(bare):
        return usual[1]
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        return Parsed(bare).name
    except InvalidRequirement as problem:
        reason = str(problem).splitlines()[0].rstrip(".")
        raise UserError(where, f"'{bare}' is not a requirement ({reason}).", "Correct the line.") from None
