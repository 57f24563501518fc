"""Parses every DAG file and prints what came of it, as JSON: dags.py FOLDER

Each file is parsed as the scheduler (in Airflow 3 the DAG processor) does it: in a process of its own,
forked from one that has Airflow loaded, with FOLDER on the path and within the same time. So a file
that ends its process, crashes it or hangs is an import error of that file alone.

The environment has Airflow's own examples off. DAG files may read variables and connections
while they are parsed: from the database that it names, or from an empty one if that is new.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

WHOLE_TRACEBACKS = {
    "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "True",
    "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100",
}
"""By default Airflow keeps two frames, and the line of the DAG file itself is often not among them."""


def schedule(dag: object) -> str | None:
    """The schedule as people write it."""
    for name in ("schedule_interval", "schedule", "timetable_summary"):
        if isinstance(value := getattr(dag, name, None), (str, timedelta)):
            return str(value)
    return getattr(getattr(dag, "timetable", None), "summary", None)


def bag_class() -> type:
    """What Airflow parses with."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2
        from airflow.models.dagbag import DagBag
    return DagBag


def parse(file: str) -> dict:
    """What a file defines, and what went wrong."""
    bag = bag_class()(dag_folder=os.devnull)
    try:
        dags = bag.process_file(file, only_if_updated=False)
    except BaseException:  # what DagBag does not catch, as SystemExit in Airflow 2, is an import error as well
        dags, bag.import_errors = [], {file: traceback.format_exc()}
    errors = [{"file": name, "traceback": text} for name, text in bag.import_errors.items()]
    return {"dags": [described(dag, file) for dag in dags if not getattr(dag, "is_subdag", False)], "errors": errors}


def described(dag: object, file: str) -> dict:
    """A DAG in the form of the answer."""
    tasks, tags = len(dag.tasks), sorted(dag.tags)
    return {"dag": dag.dag_id, "file": file, "tasks": tasks, "schedule": schedule(dag), "tags": tags}


def parse_isolated(file: str, seconds: float, option: str) -> dict:
    """:func:`parse` in a process of its own, which has so many seconds; ``option`` is the name of that limit."""
    end = time.monotonic() + seconds
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # with all that the file starts
        answer_and_end(file, writing)
    os.close(writing)
    answer = read_line(reading, end)
    os.close(reading)
    has_answered = answer.endswith(b"\n")
    ended, status = (0, 0) if has_answered else wait(child, end)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    if has_answered:
        return json.loads(answer)
    timeout_error = f"the import does not end within {seconds:g} s. Raise {option}, or move work into tasks."
    return {"dags": [], "errors": [{"file": file, "traceback": end_of(status) if ended else timeout_error}]}


def answer_and_end(file: str, writing: int) -> None:
    """The whole life of the child."""
    let_crashes_end_the_process()
    try:
        with os.fdopen(writing, "wb") as answer:
            answer.write(json.dumps(parse(file)).encode() + b"\n")
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # whatever threads the file has left


def let_crashes_end_the_process() -> None:
    """Airflow 3 handles SIGSEGV in Python, which comes to no handler after a crash: the process runs in a circle."""
    handle = signal.signal
    signal.signal = lambda number, handler: None if number == signal.SIGSEGV else handle(number, handler)


def read_line(reading: int, end: float) -> bytes:
    """All up to the end of the line; what is there at that time, or when nobody writes any more."""
    text = b""
    while not text.endswith(b"\n") and select.select([reading], [], [], max(end - time.monotonic(), 0))[0]:
        if not (part := os.read(reading, 1 << 16)):
            break
        text += part
    return text


def wait(child: int, end: float) -> tuple[int, int]:
    """Its id and how it ended; zeros if it has not by then."""
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.05)
    return ended


def end_of(status: int) -> str:
    """How a process ended that has not answered."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"the import crashed: its process was killed by {signal.Signals(-code).name}."
    return f"the import ended its process with exit code {code}."


def time_limit() -> tuple[float, str]:
    """How long the scheduler lets a file take, and the option that says so."""
    from airflow.configuration import conf

    for section in ("dag_processor", "core"):
        if (seconds := conf.get(section, "dag_file_processor_timeout", fallback=None)) is not None:
            return float(seconds), f"AIRFLOW__{section.upper()}__DAG_FILE_PROCESSOR_TIMEOUT"
    return 50.0, "AIRFLOW__CORE__DAG_FILE_PROCESSOR_TIMEOUT"


def load_what_it_imports(file: str) -> None:
    """Modules of Airflow itself are loaded once, for this file and all that follow."""
    from airflow.utils.file import iter_airflow_imports

    for module in iter_airflow_imports(file):
        with contextlib.suppress(Exception):  # the file itself may say what is wrong
            importlib.import_module(module)


def main(folder: str) -> dict:
    """What all files define, what went wrong, and how long each of them took."""
    os.environ.update(WHOLE_TRACEBACKS)
    own = str(Path(__file__).resolve().parent)  # where modules of ours lie, which no DAG file is to find
    sys.path[:] = [path for path in sys.path if path != own]
    from airflow import DAG, models, settings
    from airflow.utils.file import list_py_file_paths

    if folder not in sys.path:  # in Airflow 3 only who parses puts it there
        sys.path.append(folder)
    needed = [models.Variable.__table__, models.Connection.__table__]
    models.Variable.metadata.create_all(settings.engine, tables=needed)
    _ = (DAG, bag_class())  # loaded once, for all children
    settings.engine.dispose()  # no child is to talk on a connection of this process
    result = {"folder": folder, "dags": [], "errors": [], "files": []}
    for file in sorted(list_py_file_paths(folder)):
        load_what_it_imports(file)
        began = time.monotonic()
        parsed = parse_isolated(file, *time_limit())
        result["files"].append({"file": file, "seconds": round(time.monotonic() - began, 2)})
        result["dags"] += parsed["dags"]
        result["errors"] += parsed["errors"]
    return result


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever the DAG files print is no answer
    result = json.dumps(main(sys.argv[1]))
    with os.fdopen(answer, "w") as output:
        output.write(result)
