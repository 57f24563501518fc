"""The logs of tasks in LOGS_DIR, in a readable form."""

from __future__ import annotations

import json
from pathlib import Path


def file_of(logs_dir: Path, dag: str, run_id: str, task: str, attempt: int) -> Path | None:
    """The log file of an attempt, or else the newest of its task, by Airflow's default file name pattern."""
    task, _, index = task.partition("[")
    folder = logs_dir / f"dag_id={dag}" / f"run_id={run_id}" / f"task_id={task}"
    folder = folder / f"map_index={index.rstrip(']')}" if index else folder
    if (exact := folder / f"attempt={attempt}.log").is_file():
        return exact
    return max(folder.glob("attempt=*.log"), key=lambda log: log.stat().st_mtime, default=None)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, or the reason why this user cannot read it."""
    try:
        text = log.read_text(errors="replace")
    except OSError as problem:
        return [f"(it cannot be read: {problem.strerror})"]
    return [shown for line in text.splitlines() for shown in readable(line)][-count:]


def readable(line: str) -> list[str]:
    """A line of a log as text: in Airflow 3 each line is JSON, with errors in separate fields."""
    try:
        read = json.loads(line)
        causes = [f"{cause['exc_type']}: {cause['exc_value']}" for cause in read.get("error_detail") or []]
        return [*str(read["event"]).splitlines(), *causes]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [line]
