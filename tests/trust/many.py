"""A DAG of many short tasks: trigger it, follow its runs, count its results."""

import contextlib
import time
from dataclasses import dataclass

from stack.conftest import until

from airflow_docker.engines.choice import choose
from airflow_docker.verbs.demo import drop_work

DAG = """
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.decorators import dag, task


@dag(
    schedule=None,
    start_date=datetime(2024, 1, 1),
    is_paused_upon_creation=False,
    max_active_tasks={at_once},
    default_args={{"retries": {retries}, "retry_delay": timedelta(seconds=1)}},
)
def {name}():
    @task
    def work(number, **context):
        time.sleep({seconds})
        print("there is something for the log", number)
        with (Path.home() / "bdrc" / "data" / context["run_id"]).open("a") as lines:
            lines.write(f"{{number}}\\n")

    work.expand(number=list(range({tasks})))


{name}()
"""


@dataclass
class Many:
    """A DAG of ``tasks`` tasks of ``seconds`` each; each task writes one line at its end."""

    stack: object
    tasks: int
    seconds: float = 0.2
    at_once: int = 16
    retries: int = 5
    name: str = "many"

    def write(self):
        """Write the DAG file into the checkout."""
        folder = self.stack.settings.workflow_dev_dir / self.stack.settings.dags_dir
        values = {name: getattr(self, name) for name in ("name", "tasks", "seconds", "at_once", "retries")}
        (folder / f"{self.name}.py").write_text(DAG.format(**values))

    def remove(self):
        """Remove the DAG file."""
        (self.stack.settings.workflow_dev_dir / self.stack.settings.dags_dir / f"{self.name}.py").unlink()

    def deploy(self):
        """Write the DAG file, and wait until Airflow knows the DAG."""
        self.write()
        known = self.stack.release.is_known
        until(lambda: self.stack.sql(f"select dag_id from dag where dag_id = '{self.name}' and {known}"), 120)

    def begin(self, run):
        self.stack.inv("airflow", f"dags trigger {self.name} --run-id {run}")

    def tasks_in(self, run, state):
        """The number of tasks of a run in a state."""
        query = f"select count(*) from task_instance where run_id = '{run}' and state = '{state}'"
        return int(self.stack.sql(query))

    def wait_for(self, run, tasks, seconds=300):
        """Wait until this number of tasks of a run has succeeded."""
        until(lambda: self.tasks_in(run, "success") >= tasks, seconds)

    def wait_for_end(self, run, seconds):
        """Wait until a run has ended; its state, success or failed."""
        query = f"select state from dag_run where run_id = '{run}' and state in ('success', 'failed')"
        return until(lambda: self.stack.sql(query), seconds)

    def states(self, run):
        """Lines state|tasks|distinct tasks."""
        query = (
            f"select state, count(*), count(distinct map_index) from task_instance where run_id = '{run}' group by 1"
        )
        return self.stack.sql(query)

    def lines(self, run):
        """The numbers that the tasks of a run have written, one each time that a task reached its end."""
        return [int(line) for line in (self.stack.settings.work_data_dir / run).read_text().split()]


@contextlib.contextmanager
def alone(stack):
    """Let only tasks of a test run: pause the sample, whose sensor would keep a worker from stopping."""
    stack.inv("airflow", "dags pause sample_sync")
    drop_work(choose(stack.settings, notify=False), "W1ALONE")
    running = "select count(*) from task_instance where state in ('queued', 'running')"
    until(lambda: stack.sql(running) == "0", 120)
    try:
        yield
    finally:
        stack.inv("airflow", "dags unpause sample_sync")


def timed():
    """A function that returns the seconds since this call."""
    began = time.monotonic()
    return lambda: time.monotonic() - began
