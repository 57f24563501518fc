"""An installation of an earlier airflow-docker, running with data, is taken over by `inv up` without loss."""

import subprocess
import sys

import pytest
from stack.conftest import run

from airflow_docker import PROJECT
from trust.conftest import count

BEFORE = "1b451ccd09af"
"""The last commit that recorded each fact in a file of its own."""
ON = count(full=("standalone", "compose", "compose-celery"), short=())


@pytest.fixture(scope="session")
def earlier(tmp_path_factory):
    """The command that starts `inv` of the earlier commit."""
    folder = tmp_path_factory.mktemp("earlier")
    archive = subprocess.run(["git", "-C", str(PROJECT), "archive", BEFORE], capture_output=True)
    if archive.returncode:
        pytest.skip(f"this clone does not have the commit {BEFORE}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return [sys.executable, str(folder / "airflow_docker"), "--search-root", str(folder)]


def test_a_running_project_is_taken_over(project, earlier):
    started = run(*earlier, "up", env=project.environ, stdin=subprocess.DEVNULL)
    assert started.returncode == 0, started.stdout + started.stderr
    project.inv("airflow", "variables set kept yes")
    before = sorted(entry.name for entry in project.settings.state_dir.iterdir() if entry.is_file())
    assert f"up.{project.engine}" in before
    assert "healthy" in project.inv("status")
    project.inv("up")
    assert "yes" in project.inv("airflow", "variables get kept", shows_services=True)
    after = {entry.name for entry in project.settings.state_dir.iterdir() if entry.is_file()}
    assert {"project.json", f"{project.engine}.json"} <= after and f"up.{project.engine}" not in after
    project.inv("backup")
    project.inv("restart")
    assert "yes" in project.inv("airflow", "variables get kept", shows_services=True)
    assert "Already up and healthy" in project.inv("up")
