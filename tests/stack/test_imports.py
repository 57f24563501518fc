"""A DAG file sees the same folders when it is imported as its tasks do, in every service that imports it."""

import re

import pytest

from airflow_docker.engines.choice import choose
from stack.conftest import AIRFLOW_3, CELERY, FLAVOURS, until

FOLDERS = {"mnt": "/mnt", "data": "bdrc/data", "extra": "extra"}
"""Prefix of the task ids -> the folder that is listed; a relative one is below the home folder."""
LISTING = """
import os
from datetime import datetime
from pathlib import Path

from airflow.decorators import dag, task

WORK = Path.home() / "bdrc/data/made-at-import/ready"
WORK.mkdir(parents=True, exist_ok=True)
(Path.home() / "elsewhere").mkdir(exist_ok=True)
FOUND = [
    f"{name}-{entry}"
    for name, folder in {folders!r}.items()
    for entry in os.listdir(os.environ["ARCH_ROOT"] if folder == "/mnt" else Path.home() / folder)
]
DEBUG = os.environ["PYDEV_DEBUG"]


@dag(schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def listing():
    for task_id in [*FOUND, f"debug-{DEBUG}", f"secrets-{os.path.isdir('/run/secrets')}"]:

        @task(task_id=task_id)
        def work():
            print("there is", WORK)

        work()


listing()
"""


def write_listing(project):
    """Write the DAG above, and a file into each folder that it lists."""
    settings = project.settings
    for folder in (settings.arch_root, settings.work_data_dir, settings.extra_mounts[0][0]):
        (folder / f"in-{folder.name.replace(' ', '-')}").touch()
    text = LISTING.replace("{folders!r}", repr(FOLDERS))
    (settings.workflow_dev_dir / settings.dags_dir / "listing.py").write_text(text)


def must_run(project):
    write_listing(project)
    known = f"select dag_id from dag where dag_id = 'listing' and {project.release.is_known}"
    until(lambda: project.sql(known), 90)
    output = project.inv("dags", "--run", "listing")
    wanted = {"mnt-in-mnt", "data-in-data", "extra-in-extra-mount", "data-made-at-import", "debug-NO"}
    wanted.add(f"secrets-{project.engine != 'standalone'}")
    assert wanted <= set(re.findall(r"✓ ([\w-]+): success", output))
    assert f"{'listing':11}" in project.inv("dags")
    assert project.json("status")["dags"]["import_errors"] == []


@pytest.mark.on(*FLAVOURS)
def test_task_ids_made_of_what_an_import_finds_are_those_of_the_tasks(stack):
    try:
        must_run(stack)
    finally:
        (stack.settings.workflow_dev_dir / stack.settings.dags_dir / "listing.py").unlink(missing_ok=True)


@pytest.mark.on("compose")
def test_with_workers_and_airflow_3_too_and_up_names_what_cannot_be_imported(images_of_3, project):
    project.set(**images_of_3, **CELERY, AIRFLOW_VERSION=AIRFLOW_3, EXTRA_MOUNTS="extra mount:/home/airflow/extra")
    project.set(AIRFLOW_UID="1001")
    (project.folder / "extra mount").mkdir()
    project.inv("pull")
    broken = project.settings.workflow_dev_dir / project.settings.dags_dir / "broken.py"
    broken.write_text("from airflow import DAG\n\nimport no_such_module\n")
    output = project.inv("up")
    assert (
        "broken.py:3: this DAG file cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"
        in output
    )
    broken.unlink()
    must_run(project)
    for service in set(choose(project.settings, notify=False).dag_services) - {"worker"}:
        assert not {"aws", "db_apps", "drs_cnf"} & set(project.sh(service, "ls /run/secrets").split()), service


@pytest.mark.on(*FLAVOURS)
def test_status_and_up_name_the_files_that_cannot_be_imported(stack):
    folder = stack.settings.workflow_dev_dir / stack.settings.dags_dir
    broken = folder / "broken at import.py"
    broken.write_text(
        "from airflow import DAG\n\n\ndef load():\n    from pathlib import Path\n\n    Path('/no/such/folder/x').mkdir()\n\n\nload()\n"
    )
    try:
        errors = until(lambda: stack.json("status")["dags"]["import_errors"], 90)
        error = "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/folder/x'"
        assert errors == [{"file": broken.name, "line": 7, "error": error}]
        assert stack.json("status")["state"] == "healthy"
        output = stack.inv("status", code=1)
        assert "healthy, 1 DAG file cannot be imported, http" in output and f"{broken.name}:7: {error}" in output
        assert "healthy, 1 DAG file cannot be imported. Fix what is named above, then look again: inv dags" in output
        assert f"! {broken.name}:7: this DAG file cannot be imported ({error}). Fix it" in stack.inv("up")
    finally:
        broken.unlink()
    until(lambda: not stack.json("status")["dags"]["import_errors"], 90)
    stack.inv("status")
