"""Upgrade from Airflow 2 to 3: a refusal changes nothing, a failed start is rolled back, success keeps all data."""

import subprocess
from pathlib import Path

import pytest
from conftest import INV

from airflow_docker.database import backup_file
from airflow_docker.engines.choice import choose
from airflow_docker.verbs import builds, demo
from stack.conftest import AIRFLOW_3, run, until
from stack.test_stack import Browser

OLD = "2.11.2"
GONE = """
from airflow import DAG
from airflow.utils.dates import days_ago

with DAG("gone", schedule=None, start_date=days_ago(1)):
    pass
"""
BESIDE = {
    ".airflowignore": "old/.*\n",
    "old/hidden.py": "from airflow import DAG\n\ndag = DAG('hidden', schedule=None)\n",
    "names.py": "NAME = 'helped'\n",
    "helped.py": "from airflow import DAG\nfrom names import NAME\n\ndag = DAG(NAME, schedule=None)\n",
}
"""Files: one that only Airflow 2 ignores, and one that imports a module beside it."""
STOPS_3 = {"AIRFLOW__API__WORKERS": "none"}
"""An option that Airflow 2 ignores, and with which the web UI of Airflow 3 does not start."""


@pytest.fixture
def new_image(request, project):
    """Settings of the Airflow 3 image for one run; empty on standalone."""
    return request.getfixturevalue("images_of_3") if project.engine == "compose" else {}


class Upgrade:
    """`inv upgrade` on a project, and the check that an error changed nothing."""

    def __init__(self, project, new_image):
        self.project = project
        self.environ = {name: value for name, value in new_image.items() if name == "AIRFLOW_BASE_IMAGE"}

    def __call__(self, code=0):
        command = [*INV, "upgrade", AIRFLOW_3]
        environ = self.project.environ | self.environ
        result = run(*command, env=environ, stdin=subprocess.DEVNULL)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def is_refused(self):
        """Check that the upgrade is refused and nothing changed; returns the output."""
        project, before = self.project, (self.project.running(), self.project.json_of_build(), history(self.project))
        output = self(code=1)
        assert f"Nothing was changed: Airflow {OLD} runs on" in output
        assert (project.running(), project.json_of_build()) == before[:2] and history(project) >= before[2]
        assert project.json("status")["state"] == "healthy"
        assert not (project.settings.state_dir / "backups").exists()
        return output


def history(project):
    """Runs and tasks that have succeeded."""
    runs = "select dag_id, run_id from dag_run where state = 'success'"
    tasks = "select dag_id, run_id, task_id, start_date from task_instance where state = 'success'"
    return {*project.sql(runs).splitlines(), *project.sql(tasks).splitlines()}


def arrives(project, work):
    """Send a work through the sample DAG and wait for it."""
    before = len(history(project))
    demo.drop_work(choose(project.settings), work)
    demo.wait_for_arrival(choose(project.settings), work)
    until(lambda: len(history(project)) >= before + 5)  # four tasks and the run


def test_from_2_to_3(project, new_image):
    project.set(**STOPS_3)
    project.inv("up")
    arrives(project, "W1OLD")
    upgrade = Upgrade(project, new_image)
    stops_at_the_lock(upgrade)
    stops_at_a_dag_that_does_not_fit(upgrade)
    comes_back_when_the_new_one_does_not_start(upgrade)
    for option in STOPS_3:
        del project.values[option]
    project.set()
    keeps_history_and_logins(upgrade)


def stops_at_the_lock(upgrade):
    settings = upgrade.project.settings
    requirements = settings.workflow_dev_dir / settings.dag_requirements
    before = requirements.read_text()
    requirements.write_text(f"sqlalchemy<1.5\n{before}")
    output = upgrade.is_refused()
    assert f"{requirements} line 1: these exclude each other:" in output
    assert f"apache-airflow=={AIRFLOW_3}    (AIRFLOW_VERSION)" in output
    requirements.write_text(before)


def stops_at_a_dag_that_does_not_fit(upgrade):
    settings = upgrade.project.settings
    file = settings.workflow_dev_dir / settings.dags_dir / "gone.py"
    file.write_text(GONE)
    output = upgrade.is_refused()
    assert "gone.py:3 " in output and f"1 file cannot be imported with Airflow {AIRFLOW_3}" in output
    assert "AIR301" in output and "airflow.utils.dates.days_ago" in output
    assert "sample_sync.py:" in output and "AIR311" in output
    file.unlink()


def comes_back_when_the_new_one_does_not_start(upgrade):
    project, before = upgrade.project, history(upgrade.project)
    output = upgrade(code=1)
    assert f"Airflow {AIRFLOW_3} does not start, and {OLD} runs again, with its data. The reason: api-server:" in output
    assert project.json("status")["state"] == "healthy"
    assert history(project) >= before
    assert "Already up and healthy" in project.inv("up")
    assert Browser(project).log_in("admin", password(project))


def keeps_history_and_logins(upgrade):
    project, before = upgrade.project, history(upgrade.project)
    for name, text in BESIDE.items():
        (project.settings.workflow_dev_dir / project.settings.dags_dir / name).parent.mkdir(exist_ok=True)
        (project.settings.workflow_dev_dir / project.settings.dags_dir / name).write_text(text)
    output = upgrade()
    assert f"! With Airflow {AIRFLOW_3} these DAGs appear: hidden (old/hidden.py)" in output
    assert "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=regexp in .env" in output
    (file,) = [line for line in output.splitlines() if line.endswith(".backup")]
    lines = " ".join(f"{name}={value}" for name, value in ({"AIRFLOW_VERSION": AIRFLOW_3} | upgrade.environ).items())
    assert f"Now set in .env, as the next inv up wants it: {lines}" in output
    goes_back_only_by_restore(project, file)
    project.set(AIRFLOW_VERSION=AIRFLOW_3, **upgrade.environ)
    assert "Already up and healthy" in project.inv("up")
    assert project.json("status")["state"] == "healthy"
    assert history(project) >= before
    assert Browser(project).log_in("admin", password(project)) and not Browser(project).log_in("admin", "admin")
    assert builds.last_artifact(choose(project.settings)) == project.json_of_build()["artifact"]
    arrives(project, "W2NEW")


def goes_back_only_by_restore(project, file):
    started = project.running()
    for verb in ("up", "build", "restart"):
        output = project.inv(verb, code=1)
        assert f"it is {OLD}, and the database is of Airflow {AIRFLOW_3}" in output
        assert f"Set AIRFLOW_VERSION={AIRFLOW_3} in .env" in output and f"inv restore {file} --yes" in output
    assert project.running() == started
    described = project.folder / "described"
    described.mkdir()
    assert backup_file.read(Path(file), described).airflow_version == OLD


def password(project):
    return (project.settings.secrets_dir / "admin_password").read_text()
