"""Warn of DAG files that the running Airflow cannot import, once it has parsed all for the first time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_docker import console
from airflow_docker.engines import Engine, release
from airflow_docker.errors import UserError
from airflow_docker.verbs.import_errors import error_of, line_of

QUERY = "SELECT filename, stacktrace FROM import_error ORDER BY filename"
FIRST_PARSE_SECONDS = 30.0
"""How long `inv up` waits for the first parse."""
_QUIET_SECONDS, _POLL_SECONDS = 5.0, 0.5
_IN_CONTAINERS = ("/opt/airflow/dags/", "/opt/airflow-docker/dags/")


def from_rows(rows: Sequence[Sequence[str]], dags_folder: Path) -> list[dict[str, Any]]:
    """The rows of :data:`QUERY` as ``file`` (relative to the DAG folder), ``line`` (or None) and ``error``."""
    return [
        {
            "file": relative(file, dags_folder),
            "line": line_of(file, traceback),
            "error": error_of(traceback),
        }
        for file, traceback in rows
    ]


def relative(file: str, dags_folder: Path) -> str:
    """A path of Airflow's database, relative to the DAG folder; Airflow 3 has it so already."""
    for folder in (f"{dags_folder}/", *_IN_CONTAINERS):
        file = file.removeprefix(folder)
    return file


def location(error: dict[str, Any]) -> str:
    """``file:line``, or the file if no line is known."""
    return f"{error['file']}:{error['line']}" if error["line"] else str(error["file"])


def summary(errors: Sequence[object]) -> str:
    """How many files cannot be imported, as text; empty for none."""
    files = "1 DAG file" if len(errors) == 1 else f"{len(errors)} DAG files"
    return f"{files} cannot be imported" if errors else ""


def warn(engine: Engine) -> None:
    """Warn of each DAG file that the running Airflow cannot import."""
    try:
        rows = engine.database.query(QUERY)
    except UserError:  # a database that does not answer is shown as unhealthy
        return
    for error in from_rows(rows, _dags_folder(engine)):
        todo = "Fix it: Airflow looks again by itself. If a module is missing, add it to DAG_REQUIREMENTS: inv build up"
        console.warn(f"{location(error)}: this DAG file cannot be imported ({error['error']}). {todo}")


def wait(engine: Engine) -> None:
    """Wait until the running Airflow has parsed every DAG file since its start, or no further one for 5 s.

    Waits at most :data:`FIRST_PARSE_SECONDS`. A file that mentions Airflow and DAGs may still define none, and
    nothing in the database shows that it was parsed.
    """
    since = next((s.started for s in engine.states() if s.service == release.of(engine.settings).parser), "")
    wanted = _dag_files(_dags_folder(engine))
    seen: set[str] = set()
    start = changed = time.monotonic()
    while wanted - seen and time.monotonic() - start < FIRST_PARSE_SECONDS:
        if (now := _parsed_since(engine, since)) != seen:
            seen, changed = now, time.monotonic()
        elif seen and time.monotonic() - changed > _QUIET_SECONDS:
            return
        time.sleep(_POLL_SECONDS)


def _parsed_since(engine: Engine, since: str) -> set[str]:
    """The files that were parsed since a time in ISO 8601 (UTC), with or without an error."""
    since_utc = f"{since[:10]} {since[11:19]}+00:00"
    parsed = f"SELECT fileloc FROM dag WHERE last_parsed_time >= '{since_utc}'"  # noqa: S608  a time, no input
    failed = f"SELECT filename FROM import_error WHERE timestamp >= '{since_utc}'"  # noqa: S608
    try:
        return {relative(row[0], _dags_folder(engine)) for row in engine.database.query(f"{parsed} UNION {failed}")}
    except UserError:
        return set()


def _dag_files(folder: Path) -> set[str]:
    """The files that Airflow parses: by default those that contain "dag" and "airflow", in any case."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if file.is_file() and all(word in file.read_bytes().lower() for word in (b"dag", b"airflow"))
    }


def _dags_folder(engine: Engine) -> Path:
    return engine.settings.workflow_dev_dir / engine.settings.dags_dir
