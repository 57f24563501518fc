"""A run of a DAG: what is shown of it, what it waits for, and which end counts as which."""

import itertools
import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from airflow_docker import console, interruption
from airflow_docker.engines import ServiceState
from airflow_docker.errors import UserError
from airflow_docker.verbs import dag_run, run_progress, task_logs
from airflow_docker.verbs.run_progress import Attempt, Run

UP = [ServiceState("scheduler", "s", "running", "healthy")]


class Engine:
    """A stack whose database answers by the table that is asked for, and whose Airflow by what it is asked to do."""

    name = "compose"
    task_service = "scheduler"
    one_shot = ()

    def __init__(self, settings):
        self.settings, self.up = settings, list(UP)
        self.tables = {"dag": [["f", "16"]], "dag_run": [["success"]], "task_instance": [], "task_instance_history": []}
        self.answers, self.asked = {}, []
        self.database = SimpleNamespace(query=self.query, queries=lambda *sql: list(map(self.query, sql)))

    def query(self, sql):
        assert sql.count("'") % 2 == 0
        if "state = 'running'" in sql:
            return self.tables["active"]
        return self.tables[re.search(r"FROM (\w+)", sql)[1]]

    def states(self):
        return self.up

    def services(self):
        return ["scheduler"]

    def report_killed(self):
        self.asked.append("report")

    def ask(self, service, args):
        assert (service, args[:2]) == ("scheduler", ["python", "-c"])
        self.asked.append(args[3:])
        return CompletedProcess(args, 0, json.dumps(self.answers.get(args[3], {})), "")


@pytest.fixture
def engine(make_settings, monkeypatch):
    engine = Engine(make_settings(""))
    monkeypatch.setattr(dag_run, "ready", lambda engine: engine)
    monkeypatch.setattr(run_progress.time, "sleep", lambda seconds: None)
    return engine


@pytest.fixture
def followed(engine):
    return Run(engine, "quick", "r1")


def shown(capsys):
    return capsys.readouterr().err.splitlines()


# --- attempts ---


def test_each_attempt_is_shown_once_also_those_between_two_looks(followed, engine, capsys):
    engine.tables["task_instance_history"] = [["work", "-1", str(n), "failed"] for n in (1, 2)]
    for number, state in [(0, ""), (1, "running"), (1, "running"), (3, "running"), (3, "success")]:
        followed.update([Attempt("work", number, state)])
    assert shown(capsys) == [
        "· work: running", "✗ work: failed (try 1), to be tried again", "✗ work: failed (try 2), to be tried again",
        "· work: running (try 3)", "✓ work: success (try 3)",
    ]  # fmt: skip


def test_no_history_is_asked_for_where_nothing_was_missed_or_airflow_keeps_none(followed, engine, capsys):
    del engine.tables["task_instance_history"]
    for number, state in [(1, "running"), (1, "up_for_retry"), (2, "running")]:
        followed.update([Attempt("work", number, state)])
    engine.settings = replace(engine.settings, airflow_version="2.8.3")
    followed.update([Attempt("work", 4, "running")])
    assert shown(capsys) == [
        "· work: running", "✗ work: failed (try 1), to be tried again", "· work: running (try 2)",
        "· work: running (try 4)",
    ]  # fmt: skip


def test_the_log_of_the_first_failed_attempt_is_shown_and_of_three_tasks_at_most(followed, engine, capsys):
    for task in ("a", "b", "c", "d"):
        log = engine.settings.logs_dir / f"dag_id=quick/run_id=r1/task_id={task}/attempt=1.log"
        log.parent.mkdir(parents=True)
        log.write_text(f"last of {task}\n")
    followed.update([Attempt("a", 1, "up_for_retry")])
    assert f"last of a in {log.parent.parent}" not in (lines := shown(capsys)) and lines[-2:] == ["last of a", "---"]
    followed.update([Attempt("a", 2, "failed")])
    assert shown(capsys) == ["✗ a: failed (try 2)"]
    followed.update([Attempt(task, 1, "failed") for task in ("b", "c", "d")])
    lines = shown(capsys)
    assert "last of b" in lines and "last of c" in lines and "last of d" not in lines


def test_the_log_of_an_attempt_is_that_one_or_else_the_newest(tmp_path):
    folder = tmp_path / "dag_id=d/run_id=r/task_id=t/map_index=3"
    folder.mkdir(parents=True)
    (folder / "attempt=1.log").write_text(
        '{"event": "Task failed", "error_detail": [{"exc_type": "E", "exc_value": "x"}]}\n'
    )
    (folder / "attempt=2.log").write_text("a\nb\nc\n")
    assert task_logs.file_of(tmp_path, "d", "r", "t[3]", 1) == folder / "attempt=1.log"
    assert task_logs.file_of(tmp_path, "d", "r", "t[3]", 9) == folder / "attempt=2.log"
    assert task_logs.file_of(tmp_path, "d", "r", "t", 1) is None
    assert task_logs.last_lines(folder / "attempt=1.log", 9) == ["Task failed", "E: x"]
    assert task_logs.last_lines(folder / "attempt=2.log", 2) == ["b", "c"]
    assert task_logs.last_lines(folder, 2) == ["(it cannot be read: Is a directory)"]


# --- waiting ---


@pytest.mark.parametrize(
    ("dag", "active", "up", "run", "attempts", "reason"),
    [
        (["f", "1"], [["r0"]], UP, "queued", [], "the run waits: max_active_runs=1 is reached by r0"),
        (["0", "2"], [["r0"]], UP, "queued", [], "the run is queued, for the scheduler to go on with"),
        (["t", "1"], [], UP, "running", [], "the run waits: the DAG is paused. Unpause it: inv dags --run quick"
         " --follow r1 --unpause"),
        (["f", "1"], [], [replace(UP[0], health="unhealthy", probe="no heartbeat")], "running",
         [Attempt("a", 1, "queued")], "a is queued, no task is running. Note: scheduler is unhealthy (no heartbeat)."
         " Look: inv status"),
        ([], [], UP, "running", [], "the run waits: the DAG is gone, somebody has deleted it"),
        (["f", "1"], [], UP, "running", [Attempt("a", 1, "running"), Attempt("b", 0, "")], "a is running"),
        (["f", "1"], [], UP, "running", [Attempt("a", 1, "up_for_retry"), Attempt("c", 1, "success")],
         "a is up_for_retry, no task is running"),
        (["f", "1"], [], UP, "running", [Attempt(f"a[{n}]", 1, "running") for n in range(5)],
         "a[0] is running, a[1] is running, a[2] is running and 2 more"),
    ],
)  # fmt: skip
def test_what_is_waited_for(followed, engine, dag, active, up, run, attempts, reason):
    engine.tables |= {"dag": [dag] if dag else [], "active": active}
    engine.up = up
    assert followed.reason(run, attempts) == reason


def test_it_is_said_at_once_and_then_every_five_seconds(followed, engine, monkeypatch):
    now, lines = [1000.0], []
    monkeypatch.setattr(run_progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(run_progress.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(console, "transient", lambda text: lines.append((now[0] - 1000, text)))
    states = iter(["queued"] * 21 + ["success"])
    engine.tables |= {"dag": [["f", "1"]], "active": [["r0"]]}
    monkeypatch.setattr(Run, "poll", lambda self: (next(states), []))
    assert followed.follow() == ("success", [])
    assert {text for _, text in lines} == {"· the run waits: max_active_runs=1 is reached by r0"}
    times = [time for time, _ in lines]
    assert times[0] == 0 and times[-1] >= 16
    assert max(later - time for time, later in itertools.pairwise(times)) <= 5


def test_a_stack_that_was_stopped_is_not_waited_for(followed, engine):
    engine.up, engine.tables["dag_run"] = [], [["running"]]
    with pytest.raises(UserError, match=r"is not running, so the run waits\. Type: inv up, then: inv dags --run quick"):
        followed.follow()


@pytest.mark.parametrize(
    ("up", "message"),
    [
        ([], "is not running. Type: inv up"),
        ([ServiceState("webserver", "w", "running")], "scheduler: the service is not running, so no task would run."),
        ([ServiceState("scheduler", "s", "exited")], "scheduler: the service is not running, so no task would run."),
    ],
)
def test_nothing_is_triggered_where_nothing_would_run(engine, up, message):
    engine.up = up
    for start in (lambda: dag_run.run(engine, "quick", "", False), lambda: dag_run.follow(engine, "quick", "r", False)):
        with pytest.raises(UserError, match=re.escape(message)):
            start()
    assert engine.asked == []


def test_a_line_that_is_replaced_on_a_terminal_is_one_of_many_elsewhere(monkeypatch, capsys):
    console.transient("a")
    console.say("b")
    assert capsys.readouterr().err == "a\nb\n"
    monkeypatch.setattr(console, "is_terminal", lambda: True)
    console.transient("a")
    console.transient("b")
    console.say("c")
    assert capsys.readouterr().err == "a\r\x1b[2Kb\r\x1b[2Kc\n"
    with pytest.raises(interruption.Interrupted), console.tidied():
        console.transient("a")
        raise interruption.Interrupted
    assert capsys.readouterr().err == "a\r\x1b[2K"


# --- triggering ---


def test_it_is_not_silent_while_airflow_loads(engine, monkeypatch, capsys):
    asked = threading.Event()
    monkeypatch.setattr(dag_run, "_QUIET_SECONDS", 0.01)
    monkeypatch.setattr(console, "transient", lambda text: (lines.append(text), asked.set()))
    lines = []

    def ask(service, args):
        assert asked.wait(20)
        return CompletedProcess(args, 0, "{}", "")

    engine.ask = ask
    with pytest.raises(UserError, match="no task has run"):
        end(engine)
    assert lines[0] == "· Airflow takes some seconds to load"


def test_a_paused_dag_is_named_with_what_runs_it(engine):
    engine.tables["dag"] = [["t"]]
    with pytest.raises(UserError) as refused:
        dag_run.run(engine, "quick", '{"a": 1}', False)
    assert refused.value.text == (
        """quick: the DAG is paused, so a run would wait. Type: inv dags --run quick --conf '{"a": 1}' --unpause"""
    )
    engine.tables |= {"task_instance": [["work", "-1", "1", "success"]]}
    dag_run.run(engine, "quick", '{"a": 1}', True)
    assert [(args[0], args[3:]) for args in engine.asked] == [("trigger", ['{"a": 1}', "YES"])]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            {"params": [["work", "None is not of type 'string'"], ["count", "'a' is not of type 'integer'"]]},
            "quick: param work: None is not of type 'string'; param count: 'a' is not of type 'integer'."
            """ Give it one that fits: --conf '{"work": …, "count": …}'""",
        ),
        ({"error": "ValueError: no"}, "quick: could not be triggered (ValueError: no). Type: inv status"),
    ],
)
def test_what_airflow_refuses_is_one_sentence(engine, answer, message):
    engine.answers["trigger"] = answer
    with pytest.raises(UserError) as refused:
        dag_run.run(engine, "quick", "", False)
    assert refused.value.text == message


def test_an_unknown_run_is_an_error_with_the_newest_ones(engine):
    engine.tables["dag_run"] = []
    with pytest.raises(UserError, match=r"nope: quick has no such run\. It has none yet\. Type: inv dags --run quick"):
        dag_run.follow(engine, "quick", "nope", False)
    answers = iter([[], [["r2", "running"], ["r1", "success"]]])
    engine.database.query = lambda sql: next(answers) if "FROM dag_run" in sql else [["f"]]
    with pytest.raises(UserError, match=r"The newest are: r2 \(running\), r1 \(success\)\."):
        dag_run.follow(engine, "quick", "nope", False)
    assert engine.asked == []


# --- how it ends ---


def end(engine, *states, run="success"):
    engine.tables["dag_run"] = [[run]]
    engine.tables["task_instance"] = [[f"t{n}", "-1", "1", state] for n, state in enumerate(states)]
    dag_run.follow(engine, "quick", "r1", False)


@pytest.mark.parametrize("states", [(), ("removed",)])
def test_a_run_in_which_nothing_ran_is_an_error_with_the_reason(engine, states):
    engine.answers["explain"] = {"reason": "the DAG has no tasks"}
    with pytest.raises(
        UserError, match=r"quick: the run counts as a success, but no task has run: the DAG has no tasks"
    ):
        end(engine, *states)
    engine.answers["explain"] = {"reason": ""}
    with pytest.raises(UserError, match="no task has run: Airflow has made no task for it"):
        end(engine, *states)


def test_other_successes_say_what_they_are(engine, capsys):
    end(engine, "skipped", "skipped")
    assert shown(capsys)[-1] == "✓ quick: all tasks were skipped, none has run (r1)"
    end(engine, "success", "skipped", "failed")
    assert shown(capsys)[-1] == "✓ quick has succeeded (r1; failed: t2; skipped: t1)"
    end(engine, "success")
    assert shown(capsys)[-1] == "✓ quick has succeeded (r1)"


def test_a_failure_names_the_tasks_and_where_to_read_on(engine):
    log = engine.settings.logs_dir / "dag_id=quick/run_id=r1/task_id=t1/attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("x")
    with pytest.raises(UserError, match=rf"the run has failed \(t1\)\. Read on: {re.escape(str(log))}"):
        end(engine, "success", "failed", "upstream_failed", run="failed")
    with pytest.raises(
        UserError, match=r"the run has failed \(no task has: .* dagrun_timeout\)\. LOGS_DIR has no log of it"
    ):
        end(engine, "success", run="failed")
    crash = datetime.now(UTC).isoformat()
    engine.up = [replace(UP[0], crashed=crash, crash_code=137)]
    with pytest.raises(UserError, match=r"\(t0\)\. scheduler: it ended by itself with exit code 137"):
        end(engine, "failed", run="failed")
    assert engine.asked[-1] == "report"


def test_what_an_interruption_leaves_to_do_is_said_after_one_alone(monkeypatch):
    monkeypatch.setattr(interruption, "_advice", ["again"])
    with interruption.advice("follow it"):
        assert interruption._advice[-1] == "follow it"
    assert interruption._advice == ["again"]
    with pytest.raises(interruption.Interrupted), interruption.advice("follow it"):
        raise interruption.Interrupted
    assert interruption._advice[-1] == "follow it"
