"""The line and the error of a DAG file that cannot be imported, from Airflow's traceback."""

from __future__ import annotations

import re
from typing import Any

_BEGIN = "Traceback (most recent call last):"
_TIMED_OUT = re.compile(r"DagBag import timeout for .+ after ([\d.]+)s\.")
_TIMEOUT_OPTION = "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"


def line_of(file: str, traceback: str) -> int | None:
    """The last line of the DAG file itself that led to the error; None if the traceback does not name the file.

    ``file`` is its path in the container, or below the DAG folder, as Airflow 3 keeps it.
    """
    lines = re.findall(rf'File "(?![^"]*/site-packages/)(?:[^"]*/)?{re.escape(file)}", line (\d+)', traceback)
    return int(lines[-1]) if lines else None


def error_of(traceback: str) -> str:
    """The error without its traceback: its type, and the first line of its message."""
    if timed_out := _TIMED_OUT.search(traceback):
        seconds = f"{float(timed_out[1]):g} s"
        return f"the import takes longer than {seconds}. Raise {_TIMEOUT_OPTION}, or move work into tasks."
    lines = [line.rstrip() for line in traceback.rpartition(_BEGIN)[2].splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no reason given"
    is_frame = str.isspace if _BEGIN in traceback else bool
    return next((line for line in lines if not is_frame(line[0])), last)


def described(file: str, traceback: str) -> dict[str, Any]:
    """File, line, error and traceback, as in `inv dags --json`."""
    return {"file": file, "line": line_of(file, traceback), "error": error_of(traceback), "traceback": traceback}
