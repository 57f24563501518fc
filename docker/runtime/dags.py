"""Parses every DAG file and prints what came of it, as JSON: dags.py [FOLDER]

The environment has Airflow's own examples off. DAG files may read variables and connections
while they are parsed: from the database that it names, or from an empty one if that is new.
"""

import json
import os
import re
import sys
import time
import traceback
from datetime import timedelta


def problem(file: str, text: str) -> dict:
    """An import error with the last line of the DAG file itself that led to it."""
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', text)
    last = [line for line in text.strip().splitlines() if line.strip()][-1]
    return {"file": file, "line": int(lines[-1]) if lines else None, "error": last, "traceback": text}


def schedule(dag: object) -> str | None:
    """The schedule as people write it."""
    for name in ("schedule_interval", "schedule", "timetable_summary"):
        if isinstance(found := getattr(dag, name, None), (str, timedelta)):
            return str(found)
    return getattr(getattr(dag, "timetable", None), "summary", None)


def main(folder: str) -> dict:
    """One entry per file: what it defines, what went wrong, how long it took."""
    from airflow import models, settings
    from airflow.utils.file import list_py_file_paths

    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2
        from airflow.models.dagbag import DagBag

    needed = [models.Variable.__table__, models.Connection.__table__]
    models.Variable.metadata.create_all(settings.engine, tables=needed)
    found = {"folder": folder, "dags": [], "errors": [], "files": []}
    for file in sorted(list_py_file_paths(folder)):
        print(f"reading {file}", file=sys.stderr, flush=True)  # it may be the last thing that is done here
        bag = DagBag(dag_folder=os.devnull)
        began = time.monotonic()
        try:
            dags = bag.process_file(file, only_if_updated=False)
        except Exception:  # what DagBag does not catch is an import error as well
            dags, bag.import_errors = [], {file: traceback.format_exc()}
        found["files"].append({"file": file, "seconds": round(time.monotonic() - began, 2)})
        found["errors"] += [problem(name, text) for name, text in bag.import_errors.items()]
        found["dags"] += [
            {
                "dag": dag.dag_id,
                "file": file,
                "tasks": len(dag.tasks),
                "schedule": schedule(dag),
                "tags": sorted(dag.tags),
            }
            for dag in dags
            if not getattr(dag, "is_subdag", False)
        ]
    return found


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever the DAG files print is no answer
    result = json.dumps(main(sys.argv[1]))
    with os.fdopen(answer, "w") as output:
        output.write(result)
