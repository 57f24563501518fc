"""What `inv dags --run` prints: how a run ends, what it waits for, and why none was triggered."""

import re
import signal
import subprocess

import pytest
from conftest import INV

from stack.conftest import until

ON = ("standalone", "compose-3")
RUNS = """
import time
from datetime import datetime, timedelta, timezone

from airflow.decorators import dag, task
from airflow.exceptions import AirflowSkipException
from airflow.models.param import Param

NOW = dict(schedule=None, start_date=datetime(2024, 1, 1, tzinfo=timezone.utc), is_paused_upon_creation=False)

@dag(**NOW, end_date=datetime(2025, 3, 31, tzinfo=timezone.utc))
def past():
    @task
    def work(): pass
    work()
past()

@dag(**NOW)
def empty(): pass
empty()

@dag(**NOW | {"is_paused_upon_creation": True})
def skips():
    @task
    def work(): raise AirflowSkipException("as asked")
    work()
skips()

@dag(**NOW, params={"work": Param(type="string", minLength=2), "count": Param(1, type="integer")})
def params():
    @task
    def work(): pass
    work()
params()

@dag(**NOW)
def retries():
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky(**context):
        if context["ti"].try_number < 2:
            raise ValueError("not yet")
    flaky()
retries()

@dag(**NOW, max_active_runs=1)
def busy():
    @task
    def work(**context): time.sleep(context["dag_run"].conf.get("seconds", 0))
    work()
busy()
"""


@pytest.fixture(scope="module", autouse=True)
def runs(stack):
    """Deploy the DAGs for all tests of this module."""
    file = stack.settings.workflow_dev_dir / stack.settings.dags_dir / "runs.py"
    file.write_text(RUNS)
    until(lambda: stack.sql(f"select 1 from dag where dag_id = 'busy' and {stack.release.is_known}"), 120)
    yield
    file.unlink()


def count(stack, dag):
    return int(stack.sql(f"select count(*) from dag_run where dag_id = '{dag}'"))


def test_the_end_of_a_run_is_what_it_says(stack):
    output = stack.inv("dags", "--run", "empty", code=1)
    assert "empty: the run counts as a success, but no task has run: the DAG has no tasks. Change that" in output
    if stack.release.number == 2:  # in Airflow 3 a manual run has no logical date to compare
        output = stack.inv("dags", "--run", "past", code=1)
        assert "no task has run: its end_date, 2025-03-31T00:00:00+00:00, is before the run's date, 20" in output
    output = stack.inv("dags", "--run", "skips", code=1)
    assert output.endswith("skips: the DAG is paused, so a run would wait. Type: inv dags --run skips --unpause\n")
    assert count(stack, "skips") == 0
    output = stack.inv("dags", "--run", "skips", "--unpause")
    assert "✓ skips: all tasks were skipped, none has run" in output and "✗" not in output


def test_params_that_do_not_fit_are_one_sentence_and_trigger_nothing(stack):
    output = stack.inv("dags", "--run", "params", code=1)
    assert re.search(r"^params: param work: No value passed[^.]*\. Give it one that fits: --conf ", output, re.M)
    output = stack.inv("dags", "--run", "params", "--conf", '{"work": "x", "count": "two"}', code=1)
    expected = (
        "params: param work: 'x' is too short; param count: 'two' is not of type 'integer'. Give it one that fits: "
    )
    assert output.endswith(expected + """--conf '{"work": …, "count": …}'\n""")
    assert count(stack, "params") == 0


def test_each_attempt_is_shown_with_the_log_of_the_first_and_a_run_is_followed_again(stack):
    output = stack.inv("dags", "--run", "retries", shows_services=True)
    order = [
        output.find(part) for part in ("✗ flaky: failed (try 1)", "ValueError: not yet", "✓ flaky: success (try 2)")
    ]
    assert order[0] > 0 and order == sorted(order), output
    assert output.count("--- the last lines of ") == 1
    run_id = re.search(r"✓ retries has succeeded \((inv__\S+)\)", output)[1]
    output = stack.inv("dags", "--run", "retries", "--follow", run_id, shows_services=True)
    assert "✓ flaky: success (try 2)" in output and f"✓ retries has succeeded ({run_id})" in output
    output = stack.inv("dags", "--run", "retries", "--follow", "nope", code=1)
    assert output.endswith(f"nope: retries has no such run. The newest are: {run_id} (success).\n")
    assert count(stack, "retries") == 1


class Watching:
    """`inv dags --run` in the background; its output is read as it appears."""

    def __init__(self, stack, *args):
        command = [*INV, "dags", "--run", *args]
        self.process = subprocess.Popen(command, env=stack.environ, stderr=subprocess.PIPE, text=True)

    def says(self, text):
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError(f"it has ended without {text}")

    def interrupted(self):
        self.process.send_signal(signal.SIGINT)
        rest = self.process.stderr.read()
        assert self.process.wait(10) == 130
        self.process.stderr.close()
        return rest


def test_a_run_that_waits_says_for_what_and_goes_on_after_ctrl_c(stack):
    first = Watching(stack, "busy", "--conf", '{"seconds": 25}')
    active = first.says("Triggering").split()[-1]
    first.says("work: running")
    second = Watching(stack, "busy")
    waiting = second.says("Triggering").split()[-1]
    second.says(f"· the run waits: max_active_runs=1 is reached by {active}")
    follow = f"inv dags --run busy --follow {waiting}"
    assert f"inv dags: interrupted. The run goes on. Follow it: {follow}  End it: mark it" in second.interrupted()
    first.says(f"✓ busy has succeeded ({active})")
    assert first.process.wait(10) == 0
    first.process.stderr.close()
    assert f"✓ busy has succeeded ({waiting})" in stack.inv(*follow.split()[1:])
