"""Show the progress of a DAG run: each attempt of each task, and what the run waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from airflow_docker import console
from airflow_docker.database import db_version
from airflow_docker.engines import Engine, health
from airflow_docker.errors import UserError
from airflow_docker.verbs import task_logs

ENDED = ("success", "failed")
_POLL_SECONDS, _QUIET_SECONDS = 1.0, 3.0
_SHOWN_LINES, _SHOWN_LOGS, _NAMED = 15, 3, 3
_OVER = (*ENDED, "skipped", "upstream_failed", "removed")
_ATTEMPT_ENDED = (*_OVER, "up_for_retry")
_AT_WORK = ("running", "deferred", "up_for_reschedule", "restarting")
_HISTORY_SINCE = "2.10.0"
"""The first Airflow that keeps how each attempt ended."""


@dataclass(frozen=True)
class Attempt:
    """An attempt of a task; ``task`` has its map index in brackets, ``number`` is 0 before the first."""

    task: str
    number: int
    state: str


@dataclass
class Run:
    """A DAG run, and what of it has been shown."""

    engine: Engine
    dag: str
    run_id: str
    shown: dict[str, Attempt] = field(default_factory=dict)
    logs_shown: set[str] = field(default_factory=set)
    last_output: float = 0.0

    @property
    def where(self) -> str:
        """The SQL condition for the rows of this run."""
        return f"WHERE dag_id = {quoted(self.dag)} AND run_id = {quoted(self.run_id)}"

    def follow(self) -> tuple[str, list[Attempt]]:
        """Show the progress until the run ends; returns its state and its tasks. Raises UserError if it cannot end."""
        while True:
            state, attempts = self.poll()
            self.update(attempts)
            if state in ENDED:
                return state, attempts
            if time.monotonic() - self.last_output > _QUIET_SECONDS:
                self.wait_for(self.reason(state, attempts))
            time.sleep(_POLL_SECONDS)

    def poll(self) -> tuple[str, list[Attempt]]:
        """The state of the run, and the newest attempt of each task."""
        try:
            state, rows = self.engine.database.queries(
                f"SELECT state FROM dag_run {self.where}",  # noqa: S608
                f"SELECT task_id, map_index, try_number, state FROM task_instance {self.where}",  # noqa: S608
            )
        except UserError:
            self.require_stack()
            raise
        if not state:
            raise UserError(self.dag, f"the run {self.run_id} is gone: somebody has deleted it.", "Look: inv status")
        return state[0][0], attempts_of(rows)

    def update(self, attempts: Sequence[Attempt]) -> None:
        """Show attempts that are new or have changed."""
        for attempt in attempts:
            before = self.shown.get(attempt.task, Attempt(attempt.task, 0, ""))
            if attempt.state and attempt != before:
                for missed in self._missed(before, attempt):
                    self._show(missed)
                self._show(attempt)
                self.shown[attempt.task] = attempt

    def _missed(self, before: Attempt, now: Attempt) -> list[Attempt]:
        """The attempts that have started and ended between two polls."""
        first = before.number + (before.number == 0 or before.state in _ATTEMPT_ENDED)
        version = self.engine.settings.airflow_version
        if first >= now.number or db_version.is_older(version, _HISTORY_SINCE):
            return []
        table = f"SELECT task_id, map_index, try_number, state FROM task_instance_history {self.where}"  # noqa: S608
        ended = [a for a in attempts_of(self.engine.database.query(table)) if a.task == now.task]
        missed = [_as_tried_again(a) for a in ended if first <= a.number < now.number]
        return sorted(missed, key=lambda attempt: attempt.number)

    def _show(self, attempt: Attempt) -> None:
        is_failure = attempt.state in ("failed", "up_for_retry")
        console_of = console.failed if is_failure else console.done if attempt.state == "success" else console.say
        console_of(describe(attempt) if is_failure or attempt.state == "success" else f"· {describe(attempt)}")
        self.last_output = time.monotonic()
        if is_failure and attempt.task not in self.logs_shown and len(self.logs_shown) < _SHOWN_LOGS:
            self.logs_shown.add(attempt.task)
            self._show_log(attempt)

    def _show_log(self, attempt: Attempt) -> None:
        logs_dir = self.engine.settings.logs_dir
        if log := task_logs.file_of(logs_dir, self.dag, self.run_id, attempt.task, attempt.number):
            lines = task_logs.last_lines(log, _SHOWN_LINES)
            console.say("\n".join([f"--- the last lines of {log} ---", *lines, "---"]))

    def wait_for(self, reason: str) -> None:
        """Print what the run waits for; on a terminal, the next line replaces this one."""
        console.transient(f"· {reason}")
        self.last_output = time.monotonic()

    def reason(self, state: str, attempts: Sequence[Attempt]) -> str:
        """What the run waits for, and why. Raises UserError if the stack has stopped."""
        self.require_stack()
        blocked, describe_problems = self._blocked(state), health.describe_problems(self.engine)
        waits_for = f"the run waits: {blocked}" if blocked else activity(state, attempts)
        return f"{waits_for}. Note: {describe_problems}. Look: inv status" if describe_problems else waits_for

    def _blocked(self, state: str) -> str:
        """Why the DAG keeps the run from continuing; empty if it does not."""
        rows = self.engine.database.query(
            f"SELECT is_paused, max_active_runs FROM dag WHERE dag_id = {quoted(self.dag)}"  # noqa: S608
        )
        if not rows:
            return "the DAG is gone, somebody has deleted it"
        is_paused, limit = rows[0]
        if is_paused in ("1", "t"):
            return f"the DAG is paused. Unpause it: {self.command} --unpause"
        return self._limit(int(limit or 0)) if state == "queued" else ""

    def _limit(self, limit: int) -> str:
        """The active runs, if max_active_runs is reached."""
        others = f"SELECT run_id FROM dag_run WHERE dag_id = {quoted(self.dag)} AND state = 'running'"  # noqa: S608
        active = [row[0] for row in self.engine.database.query(others)]
        if not limit or len(active) < limit:
            return ""
        return f"max_active_runs={limit} is reached by {named(active)}"

    def require_stack(self) -> None:
        """Raise UserError if no service of the stack runs."""
        if not self.engine.states():
            name = self.engine.settings.compose_project_name
            raise UserError(name, "is not running, so the run waits.", f"Type: inv up, then: {self.command}")

    @property
    def command(self) -> str:
        """The command that follows this run from any terminal."""
        return f"inv dags --run {self.dag} --follow {self.run_id}"


def attempts_of(rows: Sequence[Sequence[str]]) -> list[Attempt]:
    """Attempts from rows of the database: task id, map index, number of the attempt, state."""
    return [
        Attempt(task if index == "-1" else f"{task}[{index}]", int(number or 0), state or "")
        for task, index, number, state in rows
    ]


def activity(state: str, attempts: Sequence[Attempt]) -> str:
    """What the tasks of a run are doing, as text."""
    if at_work := [a for a in attempts if a.state in _AT_WORK]:
        return named([f"{a.task} is {a.state}" for a in at_work])
    if waiting := [a for a in attempts if a.state and a.state not in _OVER]:
        return f"{named([f'{a.task} is {a.state}' for a in waiting])}, no task is running"
    return f"the run is {state}, for the scheduler to go on with"


def _as_tried_again(attempt: Attempt) -> Attempt:
    """The same attempt as failed and to be retried."""
    return replace(attempt, state="up_for_retry") if attempt.state == "failed" else attempt


def describe(attempt: Attempt) -> str:
    """One line about an attempt."""
    if attempt.state == "up_for_retry":
        return f"{attempt.task}: failed (try {attempt.number}), to be tried again"
    return f"{attempt.task}: {attempt.state}{f' (try {attempt.number})' if attempt.number > 1 else ''}"


def named(parts: Sequence[str]) -> str:
    """The first few attempts, as text."""
    rest = len(parts) - _NAMED
    return ", ".join(parts[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
