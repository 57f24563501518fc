"""`inv dags --run`: trigger a run of a DAG, or take an existing run, and follow it to its end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from airflow_docker import PROJECT, console, interruption
from airflow_docker.engines import Engine, crashes, release
from airflow_docker.errors import USAGE, UserError
from airflow_docker.verbs import task_logs
from airflow_docker.verbs.operate import ready
from airflow_docker.verbs.run_progress import Attempt, Run, named, quoted

_SCRIPT = PROJECT / "docker" / "runtime" / "runs.py"
_STARTED = ("running", "restarting", "starting", "created", "preparing", "pending", "assigned", "accepted", "ready")
_NEWEST, _QUIET_SECONDS = 5, 4.0
_EXAMPLE = """Say for instance '{"work": "W1"}'."""


def run(engine: Engine, dag: str, conf: str, unpause: bool) -> None:
    """Trigger a DAG of the running stack and follow its tasks to the end. Raises UserError unless it succeeds."""
    _check_conf(conf)
    engine = _running(engine)
    if _is_paused(engine, dag) and not unpause:
        command = ["inv", "dags", "--run", dag, *(["--conf", conf] if conf else []), "--unpause"]
        raise UserError(dag, "the DAG is paused, so a run would wait.", f"Type: {shlex.join(command)}")
    new_run = Run(engine, dag, f"inv__{datetime.now(UTC).isoformat()}")
    console.say(f"· Triggering {dag}: {new_run.run_id}")
    with interruption.advice(f"The run may have begun. Look: {new_run.command}"):
        _raise_refusal(dag, _ask(engine, "trigger", dag, new_run.run_id, conf or "{}", "YES" if unpause else "NO"))
    _follow(new_run)


def follow(engine: Engine, dag: str, run_id: str, unpause: bool) -> None:
    """Follow an existing run to its end. Raises UserError unless it succeeds."""
    engine = _running(engine)
    existing_run = Run(engine, dag, run_id)
    if not engine.database.query(f"SELECT 1 FROM dag_run {existing_run.where}"):  # noqa: S608
        raise UserError(run_id, f"{dag} has no such run.", _newest(engine, dag))
    if unpause and _is_paused(engine, dag):
        _ask(engine, "unpause", dag)
    _follow(existing_run)


def _running(engine: Engine) -> Engine:
    """The engine with the running artifact. Raises UserError at once if no task would run."""
    engine = ready(engine)
    states = engine.states()
    if not states:
        raise UserError(engine.settings.compose_project_name, "is not running.", "Type: inv up")
    for service in ("scheduler", engine.task_service):
        if not any(s.service == service and s.state in _STARTED for s in states):
            raise UserError(service, "the service is not running, so no task would run.", "Type: inv up")
    return engine


def _check_conf(conf: str) -> None:
    try:
        value = json.loads(conf or "{}")
    except (ValueError, RecursionError) as problem:
        raise UserError("--conf", f"is not JSON ({problem}).", _EXAMPLE, USAGE) from None
    if not isinstance(value, dict):
        raise UserError("--conf", "is not an object.", _EXAMPLE, USAGE)


def _is_paused(engine: Engine, dag: str) -> bool:
    is_known = release.of(engine.settings).is_known
    rows = engine.database.query(f"SELECT is_paused FROM dag WHERE dag_id = {quoted(dag)} AND {is_known}")  # noqa: S608
    if not rows:
        todo = "Airflow finds a new file within 30 s: try again; or: inv dags"
        raise UserError(dag, "the running Airflow knows no such DAG.", todo)
    return rows[0][0] in ("1", "t")


def _newest(engine: Engine, dag: str) -> str:
    """The newest runs: one of them may have been meant."""
    order = f"ORDER BY start_date IS NULL DESC, start_date DESC LIMIT {_NEWEST}"
    rows = engine.database.query(f"SELECT run_id, state FROM dag_run WHERE dag_id = {quoted(dag)} {order}")  # noqa: S608
    newest = ", ".join(f"{run_id} ({state})" for run_id, state in rows)
    return f"The newest are: {newest}." if newest else f"It has none yet. Type: inv dags --run {dag}"


def _ask(engine: Engine, *args: str) -> dict[str, Any]:
    """The answer of docker/runtime/runs.py; its source is handed over, so that an older image will do."""
    with console.tidied(), ThreadPoolExecutor(1) as pool:
        asking = pool.submit(engine.ask, "scheduler", ["python", "-c", _SCRIPT.read_text(), *args])
        while not wait([asking], _QUIET_SECONDS).done:
            console.transient("· Airflow takes some seconds to load")
    result = asking.result()
    if result.returncode or not result.stdout:
        console.say(result.stderr.rstrip())
        raise UserError(args[1], f"could not be asked to {args[0]} (see above).", "Type: inv status")
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def _raise_refusal(dag: str, answer: dict[str, Any]) -> None:
    """Raise UserError if Airflow has not triggered it."""
    if refusals := answer.get("params"):
        what = "; ".join(f"param {name}: {complaint.rstrip('.')}" for name, complaint in refusals)
        example = ", ".join(f'"{name}": …' for name, _ in refusals)
        raise UserError(dag, f"{what}.", f"Give it one that fits: --conf '{{{example}}}'")
    if answer.get("error"):
        raise UserError(dag, f"could not be triggered ({answer['error'].rstrip('.')}).", "Type: inv status")


def _follow(run: Run) -> None:
    advice = f"The run goes on. Follow it: {run.command}  End it: mark it as failed at {_address(run)}"
    with interruption.advice(advice), console.tidied():
        state, attempts = run.follow()
    if state == "success":
        _say_success(run, attempts)
    else:
        raise _failure(run, attempts)


def _address(run: Run) -> str:
    """The URL of the run in the web UI."""
    settings, run_id = run.engine.settings, quote(run.run_id, safe="")
    path = f"grid?dag_run_id={run_id}" if release.of(settings).number == 2 else f"runs/{run_id}"
    return f"{release.address(settings)}/dags/{quote(run.dag)}/{path}"


def _say_success(run: Run, attempts: Sequence[Attempt]) -> None:
    """Print the success, with tasks that failed or were skipped. Raises UserError if no task has run."""
    by_state = {state: [a.task for a in attempts if a.state == state] for state in ("success", "failed", "skipped")}
    if by_state["skipped"] and not by_state["success"] and not by_state["failed"]:
        console.done(f"{run.dag}: all tasks were skipped, none has run ({run.run_id})")
        return
    if not by_state["success"] and not by_state["failed"]:
        reason = _ask(run.engine, "explain", run.dag, run.run_id).get("reason") or "Airflow has made no task for it"
        what = f"the run counts as a success, but no task has run: {reason}."
        raise UserError(run.dag, what, "Change that in the DAG file, and run it again.")
    others = [f"{word}: {named(by_state[word])}" for word in ("failed", "skipped") if by_state[word]]
    console.done(f"{run.dag} has succeeded ({'; '.join([run.run_id, *others])})")


def _failure(run: Run, attempts: Sequence[Attempt]) -> UserError:
    failed = sorted((a for a in attempts if a.state == "failed"), key=lambda a: a.task)
    logs_dir = run.engine.settings.logs_dir
    logs = [task_logs.file_of(logs_dir, run.dag, run.run_id, a.task, a.number) for a in failed]
    existing = [log for log in logs if log]
    which = ", ".join(a.task for a in failed) or "no task has: it was marked so, or took longer than dagrun_timeout"
    what = " ".join([f"the run has failed ({which}).", *crashes.sentences(run.engine)])
    services = " ".join(sorted({"scheduler", run.engine.task_service}))
    elsewhere = f"LOGS_DIR has no log of it: read on at {_address(run)}, or type: inv logs {services}"
    return UserError(run.dag, what, f"Read on: {existing[0]}" if existing else elsewhere)
