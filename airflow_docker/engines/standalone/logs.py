"""The services' log files, read as `docker compose logs` reads those of containers."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from airflow_docker import console

# Airflow 2: [2026-11-23T10:50:32.034-0500], gunicorn: [2026-11-23 11:04:31 -0500], Airflow 3:
# 2026-11-23T15:50:32.034567Z [info, with json_logs {"timestamp":"2026-11-23T15:50:32.034567Z", at any place of it;
# a time without a zone is in UTC there. Colours may surround it.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_STAMP = re.compile(
    r"""(?:^\[?|^\{.*"timestamp":\s*")(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,6})?"""
    r"""\ ?(Z|[+-]\d\d:?\d\d)?(?=[]" ]|$)"""
)
# The requests that gunicorn has answered: 127.0.0.1 - - [23/Nov/2026:10:50:32 -0500] "GET …
_REQUEST = re.compile(r"^\S+ \S+ \S+ \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] ")
_POLL_SECONDS = 0.3


def show(folder: Path, services: list[str], follow: bool, tail: int | None, since: datetime | None) -> None:
    """Print the lines of the services in the order of their times, and go on with what comes if ``follow``."""
    width = max(map(len, services))
    files = {service: folder / f"{service}.log" for service in services}
    ends = {service: file.stat().st_size if file.is_file() else 0 for service, file in files.items()}
    lines = [line for service in services for line in _past(service, files[service], ends[service], tail, since)]
    for _, service, line in sorted(lines, key=lambda entry: entry[0]):
        console.out(f"{service:{width}} | {line}")
    while follow:
        time.sleep(_POLL_SECONDS)
        for service, file in files.items():
            new, ends[service] = _new_lines(file, ends[service])
            for line in new:
                console.out(f"{service:{width}} | {line}")


def moment_of(line: str) -> datetime | None:
    """When a line was written, in any form that the services of Airflow 2 and 3 use; None if it does not say."""
    plain = _COLOUR.sub("", line) if "\x1b" in line else line
    try:
        if match := _STAMP.match(plain):
            day, time_of_day, fraction, zone = match.groups()
            return datetime.fromisoformat(f"{day}T{time_of_day}{(fraction or '.0').ljust(7, '0')}{zone or 'Z'}")
        if match := _REQUEST.match(plain):
            return datetime.strptime(match[1], "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:  # the 99th of a month
        pass
    return None


def _past(
    service: str, file: Path, end: int, tail: int | None, since: datetime | None
) -> list[tuple[datetime, str, str]]:
    """The lines up to ``end`` with their times.

    A line without one has that of the line before it, or else of the first that has one, or else of the file.
    """
    if not file.is_file():
        return []
    with file.open("rb") as log:
        lines = log.read(end).decode(errors="replace").splitlines()
    moments = [moment_of(line) for line in lines]
    now = next((moment for moment in moments if moment), datetime.fromtimestamp(file.stat().st_mtime, UTC))
    entries = []
    for line, moment in zip(lines, moments, strict=True):
        now = moment or now
        if since is None or now >= since:
            entries.append((now, service, line))
    return entries if tail is None else entries[len(entries) - min(tail, len(entries)) :]


def _new_lines(file: Path, end: int) -> tuple[list[str], int]:
    """The complete lines after ``end``, and where they end; a file that has become shorter is read from its start."""
    if not file.is_file():
        return [], 0
    if file.stat().st_size < end:
        end = 0
    with file.open("rb") as log:
        log.seek(end)
        text = log.read()
    complete = text.rpartition(b"\n")[0]
    return complete.decode(errors="replace").splitlines(), end + len(complete) + bool(complete)
