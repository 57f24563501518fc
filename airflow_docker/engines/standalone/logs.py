"""The services' log files, read as `docker compose logs` reads those of containers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from airflow_docker import console

# Airflow: [2026-11-23T10:50:32.034-0500], gunicorn: [2026-11-23 11:04:31 -0500]
_STAMP = re.compile(r"^\[(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)? ?([+-]\d{4})\]")
_LOOK_SECONDS = 0.3


def show(folder: Path, services: list[str], follow: bool, tail: int | None, since: datetime | None) -> None:
    """Print the lines of the services in the order of their times, and go on with what comes if ``follow``."""
    width = max(map(len, services))
    files = {service: folder / f"{service}.log" for service in services}
    ends = {service: file.stat().st_size if file.is_file() else 0 for service, file in files.items()}
    kept = [line for service in services for line in _past(service, files[service], ends[service], tail, since)]
    for _, service, line in sorted(kept, key=lambda found: found[0]):
        console.out(f"{service:{width}} | {line}")
    while follow:
        time.sleep(_LOOK_SECONDS)
        for service, file in files.items():
            new, ends[service] = _news(file, ends[service])
            for line in new:
                console.out(f"{service:{width}} | {line}")


def _past(
    service: str, file: Path, end: int, tail: int | None, since: datetime | None
) -> Iterator[tuple[datetime, str, str]]:
    """The lines up to ``end`` with their times; a line without one has that of the line before it."""
    lines, moment = [], datetime.min.replace(tzinfo=UTC)
    if file.is_file():
        with file.open("rb") as log:
            text = log.read(end).decode(errors="replace")
        for line in text.splitlines():
            if found := _STAMP.match(line):
                moment = datetime.strptime("{}T{}{}".format(*found.groups()), "%Y-%m-%dT%H:%M:%S%z")
            if since is None or moment >= since:
                lines.append((moment, service, line))
    yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]


def _news(file: Path, end: int) -> tuple[list[str], int]:
    """The whole lines behind ``end``, and where they end; a file that has become shorter is read anew."""
    if not file.is_file():
        return [], 0
    if file.stat().st_size < end:
        end = 0
    with file.open("rb") as log:
        log.seek(end)
        text = log.read()
    whole = text.rpartition(b"\n")[0]
    return whole.decode(errors="replace").splitlines(), end + len(whole) + bool(whole)
