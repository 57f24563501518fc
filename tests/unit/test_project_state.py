"""What a project records in STATE_DIR: nothing is lost, and what earlier versions wrote is taken over."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_docker import PROJECT, project_state
from airflow_docker.errors import UserError

OLD = Path(__file__).parent / "recorded_state"
"""STATE_DIR files of a project that ran on compose, and of one on standalone, each with a file for each fact."""


def test_what_is_written_is_read_and_other_fields_stay(make_settings):
    settings = make_settings()
    assert project_state.read(settings, "compose") == project_state.Record()
    project_state.update(settings, "compose", build={"artifact": "a"})
    project_state.update(settings, "compose", started="digest")
    assert project_state.read(settings, "compose") == project_state.Record(started="digest", build={"artifact": "a"})
    assert project_state.read(settings, "swarm") == project_state.Record()
    assert os.listdir(settings.state_dir) == ["compose.json"]


def test_two_runs_at_once_lose_nothing(make_settings, tmp_path):
    settings = make_settings()
    code = (
        "import sys; from pathlib import Path; from airflow_docker import project_state, settings\n"
        "loaded = settings.load(Path(sys.argv[1]), {})\n"
        "for number in range(20):\n"
        "    project_state.update(loaded, 'compose', **{sys.argv[2]: f'{number}'})\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".env")]
    runs = [subprocess.Popen([*command, field], cwd=PROJECT) for field in ("started", "well_since")]
    assert [run.wait() for run in runs] == [0, 0]
    assert project_state.read(settings, "compose") == project_state.Record(started="19", well_since="19")


@pytest.mark.parametrize("name", ["project.json", "compose.json"])
def test_what_a_later_version_wrote_is_refused(make_settings, name):
    settings = make_settings()
    settings.state_dir.mkdir()
    (settings.state_dir / name).write_text('{"format": 2}')
    with pytest.raises(UserError, match=rf"{name}: was written by a later airflow-docker"):
        project_state.owner(settings) if name == "project.json" else project_state.read(settings, "compose")


@pytest.mark.parametrize("engine", ["compose", "standalone"])
def test_files_of_earlier_versions_are_read_and_become_one(make_settings, engine):
    settings = make_settings()
    shutil.copytree(OLD / engine, settings.state_dir)
    old = set(os.listdir(settings.state_dir))
    assert {f"up.{engine}", f"well.{engine}", f"build.{engine}.json", f"database.{engine}.json", "project"} == old
    record = project_state.read(settings, engine)
    assert record.started == (OLD / engine / f"up.{engine}").read_text()
    assert record.well_since == (OLD / engine / f"well.{engine}").read_text()
    assert record.build == json.loads((OLD / engine / f"build.{engine}.json").read_text())
    assert record.database == json.loads((OLD / engine / f"database.{engine}.json").read_text())
    assert project_state.owner(settings) == (OLD / engine / "project").read_text().strip()
    project_state.update(settings, engine, well_since="now")
    project_state.claim(settings)
    assert set(os.listdir(settings.state_dir)) == {f"{engine}.json", "project.json"}
    assert project_state.read(settings, engine).database == record.database


def test_a_new_password_that_was_not_taken_in_is_taken_over(make_settings):
    settings = make_settings()
    settings.state_dir.mkdir()
    (settings.state_dir / "admin-password.compose").touch()
    assert project_state.read(settings, "compose").has_new_admin_password
    project_state.update(settings, "compose", has_new_admin_password=False)
    assert not project_state.read(settings, "compose").has_new_admin_password
