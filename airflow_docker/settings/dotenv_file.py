"""Reads a .env file with python-dotenv's parser, strictly: a line that cannot be parsed is an error."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_docker.errors import USAGE, UserError


def read(file: Path) -> tuple[dict[str, str], list[UserError]]:
    """The names and values of ``file``, and all its errors; a missing file is empty.

    Takes UTF-8 with or without a byte-order mark. A name that is set twice is an
    error, as one of the two values would be ignored silently.
    """
    if not os.path.lexists(file):
        return {}, []
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return {}, [UserError(str(file), "the file is not UTF-8 text.", "Save it as UTF-8.", USAGE)]
    except OSError as problem:
        return {}, [UserError(str(file), f"cannot be read ({problem.strerror}).", "Make it readable for you.", USAGE)]
    if "\0" in content:  # UTF-16 without a byte-order mark reads as UTF-8 full of them; no value may contain one
        return {}, [UserError(str(file), "the file holds NUL characters.", "Save it as UTF-8 text.", USAGE)]
    return _parse(file, content)


def _parse(file: Path, content: str) -> tuple[dict[str, str], list[UserError]]:
    import io

    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    errors = []
    for binding in parse_stream(io.StringIO(content)):
        lead = len(binding.original.string) - len(binding.original.string.lstrip())
        line = binding.original.line + binding.original.string[:lead].count("\n")
        where = f"{file.name} line {line}"
        if binding.error or (binding.key is not None and binding.value is None):
            errors.append(UserError(where, "this is not of the form NAME=value.", "Fix it or comment it out.", USAGE))
        elif binding.key in values:
            what = f"{binding.key} is already set in line {lines[binding.key]}."
            errors.append(UserError(where, what, "Keep one of the two.", USAGE))
        elif binding.key is not None:
            values[binding.key], lines[binding.key] = str(binding.value), line
    return values, errors
