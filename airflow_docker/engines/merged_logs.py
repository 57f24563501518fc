"""Logs of several services merged by the time that Docker gives each line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from airflow_docker import console, shell

ERASE = "\x1b[2K"
"""Compose 2.26 begins each line with it, even in a pipe."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ?")


def show(commands: Sequence[list[str]], env: Mapping[str, str] | None = None) -> int:
    """Print what these calls of ``logs --timestamps`` say, all of it together; the largest exit code."""
    asked = [shell.capture(command, env=env) for command in commands]
    errors = [line for one in asked for line in one.stderr.splitlines()]  # what services wrote there is among them
    lines = [line for one in asked for line in one.stdout.splitlines()]
    for line in by_time([*lines, *filter(_STAMP.search, errors)]):
        console.out(line)
    for line in errors:
        if not _STAMP.search(line):
            console.warn(line)
    return max((one.returncode for one in asked), default=0)


def by_time(lines: Iterable[str]) -> list[str]:
    """The lines sorted by their times, and without them."""
    stamped, now = [], ""
    for line in lines:
        match = _STAMP.search(line)
        now = match[1] if match else now
        stamped.append((now, _STAMP.sub("", line.removeprefix(ERASE), count=1)))
    return [line for _, line in sorted(stamped, key=lambda pair: pair[0])]
