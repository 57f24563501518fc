"""Logs of several services merged by the time that Docker gives each line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from airflow_docker import console, shell

ERASE = "\x1b[2K"
"""Compose 2.26 begins each line with it, even in a pipe."""
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ?")


def show(commands: Sequence[list[str]], env: Mapping[str, str] | None = None) -> int:
    """Print the merged output of these calls of ``logs --timestamps``; the largest exit code."""
    results = [shell.capture(command, env=env) for command in commands]
    # What services wrote to standard error is among them.
    errors = [line for result in results for line in result.stderr.splitlines()]
    lines = [line for result in results for line in result.stdout.splitlines()]
    for line in by_time([*lines, *filter(_STAMP.search, errors)]):
        console.out(line)
    for line in errors:
        if not _STAMP.search(line):
            console.warn(line)
    return max((result.returncode for result in results), default=0)


def by_time(lines: Iterable[str]) -> list[str]:
    """The lines sorted by their times, and without them."""
    stamped, now = [], ""
    for line in lines:
        match = _STAMP.search(line)
        now = match[1] if match else now
        stamped.append((now, _STAMP.sub("", line.removeprefix(ERASE), count=1)))
    return [line for _, line in sorted(stamped, key=lambda pair: pair[0])]
