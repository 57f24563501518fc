"""The DAGs: do they parse in what was built, and how does a run of one end."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_docker import console, secrets
from airflow_docker.database import schema
from airflow_docker.engines import Engine, crashes, folders, release
from airflow_docker.errors import FAILED, USAGE, UserError
from airflow_docker.verbs import builds
from airflow_docker.verbs.operate import ready

SLOW_SECONDS = 3.0
"""A DAG file that takes longer is parsed again and again at that cost: worth a word."""
_POLL_SECONDS, _SHOWN_LINES = 1.0, 15
_ENDED = ("success", "failed")


def check(engine: Engine, as_json: bool) -> None:
    """Parse every DAG file as the scheduler would; show DAGs and import errors.

    Raises UserError if there is an import error, or no DAG at all.
    """
    engine = _prepared(engine)
    found = parse(engine, apart=schema.of(engine) != engine.settings.airflow_version)
    if as_json:
        console.out(json.dumps(found, indent=2))
    else:
        _show(found)
    if found["errors"]:
        count = len(found["errors"])
        raise UserError(
            "inv dags", f"{count} file{'s' * (count > 1)} cannot be imported.", "Mend what stands above.", FAILED
        )
    if not found["dags"]:
        raise UserError("DAGS_DIR", f"there is no DAG in {engine.settings.dags_dir}.", "Name the folder of the DAGs.")


def parse(engine: Engine, *, apart: bool) -> dict[str, Any]:
    """What came of each DAG file; ``apart`` from the database of the stack. Raises UserError if there is no answer."""
    parsed = engine.parse_dags(apart=apart)
    if parsed.returncode or not parsed.stdout:
        console.say(parsed.stderr.rstrip())
        read = re.findall(r"^reading (.+)$", parsed.stderr, re.M)
        where = f", in {read[-1]}" if read else ""
        what = f"the DAGs could not be parsed (it ended with exit code {parsed.returncode}{where})."
        raise UserError("DAGS_DIR", what, "See above.")
    found: dict[str, Any] = json.loads(parsed.stdout)
    return found


def _prepared(engine: Engine) -> Engine:
    """The engine with what was built, and what a parse needs besides."""
    engine.require()
    engine.require_fit()
    schema.require(engine)
    artifact = builds.require_last(engine)
    folders.require_own_state(engine.settings)
    secrets.write(engine.settings, engine.reader)
    folders.prepare(engine.settings, engine.reader.owner)
    if builds.built(engine) != artifact:
        console.warn("the settings have changed since the last build. Type: inv build")
    return engine.using(artifact)


def _show(found: dict[str, Any]) -> None:
    folder = found["folder"]
    rows = [[d["dag"], _short(d["file"], folder), str(d["tasks"]), d["schedule"] or ""] for d in found["dags"]]
    if rows:
        console.table(["dag", "file", "tasks", "schedule"], rows)
    if found["errors"]:
        console.out("")
        show_errors(found)
    for file in [f for f in found["files"] if f["seconds"] > SLOW_SECONDS]:
        console.warn(
            f"{_short(file['file'], folder)} takes {file['seconds']:.1f} s to parse: move work into its tasks."
        )


def show_errors(found: dict[str, Any], *, on_stderr: bool = False) -> None:
    """The import errors, each with the line of the DAG file that led to it."""
    folder = found["folder"]
    places = [f"{_short(e['file'], folder)}{':' + str(e['line']) if e['line'] else ''}" for e in found["errors"]]
    rows = [[place, e["error"]] for place, e in zip(places, found["errors"], strict=True)]
    console.table(["import error", ""], rows, on_stderr=on_stderr)


def _short(file: str, folder: str) -> str:
    return os.path.relpath(file, folder) if Path(file).is_relative_to(folder) else file


def run(engine: Engine, dag: str, conf: str) -> None:
    """Trigger a DAG of the running stack and follow its tasks to the end. Raises UserError unless it succeeds."""
    if conf:
        _check_conf(conf)
    schema.require_same(engine)
    engine = ready(engine)
    name = _quoted(dag)
    is_known = release.of(engine.settings).is_known
    paused = engine.store.query(f"SELECT is_paused FROM dag WHERE dag_id = {name} AND {is_known}")  # noqa: S608
    if not paused:
        raise UserError(
            dag,
            "the running Airflow knows no such DAG.",
            "A new file is seen within half a minute: try again; or: inv dags",
        )
    if paused[0][0] in ("1", "t"):
        raise UserError(dag, "the DAG is paused, so a run would wait.", f'Type: inv airflow "dags unpause {dag}"')
    run_id = f"inv__{datetime.now(UTC).isoformat()}"
    words = [
        "airflow",
        "dags",
        "trigger",
        "--run-id",
        run_id,
        *(["--conf", conf] if conf else []),
        dag,
    ]
    triggered = engine.ask("scheduler", words)
    if triggered.returncode:
        console.say(triggered.stderr.rstrip())
        raise UserError(dag, "could not be triggered (see above).", "Type: inv status")
    _follow(engine, dag, run_id)


def _check_conf(conf: str) -> None:
    try:
        given = json.loads(conf)
    except (ValueError, RecursionError) as problem:
        raise UserError(
            "--conf", f"is not JSON ({problem}).", """Say for instance '{"work": "W1"}'.""", USAGE
        ) from None
    if not isinstance(given, dict):
        raise UserError("--conf", "is not an object.", """Say for instance '{"work": "W1"}'.""", USAGE)


def _follow(engine: Engine, dag: str, run_id: str) -> None:
    where = f"WHERE dag_id = {_quoted(dag)} AND run_id = {_quoted(run_id)}"
    told: dict[str, str] = {}
    while True:
        state = engine.store.query(f"SELECT state FROM dag_run {where}")  # noqa: S608
        tasks = engine.store.query(f"SELECT task_id, map_index, state, try_number FROM task_instance {where}")  # noqa: S608
        for task, index, now, attempt in tasks:
            name = task if index == "-1" else f"{task}[{index}]"
            if now and told.get(name) != now:
                told[name] = now
                _tell(name, now, attempt)
        if not state:
            raise UserError(dag, "the run is gone: somebody has deleted it.", "Look: inv status")
        if state[0][0] in _ENDED:
            break
        time.sleep(_POLL_SECONDS)
    if state[0][0] != "success":
        failed = sorted(name for name, now in told.items() if now == "failed")
        logs = [log for name in failed if (log := _log(engine, dag, run_id, name))]
        for log in logs:
            lines = [told for line in log.read_text(errors="replace").splitlines() for told in _readable(line)]
            console.say("\n".join([f"--- the last lines of {log} ---", *lines[-_SHOWN_LINES:], "---"]))
        todo = f"Read on: {logs[0]}" if logs else "Read on in the page."
        what = " ".join([f"the run has failed ({', '.join(failed) or 'no task'}).", *crashes.sentences(engine)])
        raise UserError(dag, what, todo)
    console.done(f"{dag} has succeeded ({run_id})")


def _log(engine: Engine, dag: str, run_id: str, task: str) -> Path | None:
    """The newest log of a task, where Airflow's own pattern has it."""
    task, _, index = task.partition("[")
    place = engine.settings.logs_dir / f"dag_id={dag}" / f"run_id={run_id}" / f"task_id={task}"
    place = place / f"map_index={index.rstrip(']')}" if index else place
    return max(place.glob("attempt=*.log"), key=lambda log: log.stat().st_mtime, default=None)


def _readable(line: str) -> list[str]:
    """A line of a log as a person reads it: in Airflow 3 each is JSON, what went wrong with it in fields of its own."""
    try:
        said = json.loads(line)
        causes = [f"{cause['exc_type']}: {cause['exc_value']}" for cause in said.get("error_detail") or []]
        return [*str(said["event"]).splitlines(), *causes]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [line]


def _tell(name: str, state: str, attempt: str) -> None:
    words = f"{name}: {state}{f' (try {attempt})' if attempt not in ('', '0', '1') else ''}"
    (console.done if state == "success" else console.failed if state == "failed" else console.say)(
        words if state in _ENDED else f"· {words}"
    )


def _quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
