"""`inv doctor` on both engines: its report on a project, and that it changes nothing."""

import os
import re
import socket

import pytest
from conftest import snapshot

from airflow_docker import PROJECT

STATES = {"ok", "warning", "error", "skipped"}


def examined(project, code=0):
    """Name -> check, after tests of the exit code, the text and the shape of the JSON."""
    output = project.inv("doctor", code=code, timeout=60)
    report = project.json("doctor")
    assert set(report) == {"ok", "checks"} and report["ok"] is (code == 0)
    assert report["ok"] is not any(check["state"] == "error" for check in report["checks"])
    for check in report["checks"]:
        assert set(check) == {"name", "state", "found", "remedy"} and check["state"] in STATES and check["found"]
        assert (check["remedy"] is None) is (check["state"] == "ok"), check
        assert check["state"] not in ("warning", "error") or f"{check['name']}: {check['remedy']}" in output
    checks = {check["name"]: check for check in report["checks"]}
    assert len(checks) == len(report["checks"])
    return checks


def errors(checks):
    return {name: check["remedy"] for name, check in checks.items() if check["state"] == "error"}


def test_a_project_that_nothing_stops_is_well_and_stays_as_it_is(project):
    before = snapshot(project.folder)
    checks = examined(project)
    assert checks["engine"]["found"] == f"{project.engine} (as ENGINE says)"
    assert ("docker" in checks) is (project.engine == "compose")
    assert checks["secrets"]["remedy"] == "inv up writes them."
    assert checks["ao-workflows"]["state"] == checks["archive-ops"]["state"] == "ok"
    assert checks["clock"]["state"] == ("ok" if project.engine == "compose" else "skipped")
    assert snapshot(project.folder) == before


def test_the_fields_are_in_the_docs(project):
    section = (
        (PROJECT / "docs/troubleshooting.md").read_text().partition("## inv doctor --json")[2].partition("\n## ")[0]
    )
    fields = set(re.findall(r"^\| `([a-z.\[\]]+)`", section, re.M))
    report = project.json("doctor")
    assert fields == {*report, *(f"checks[].{name}" for name in report["checks"][0])}
    assert {state for state in STATES if f"`{state}`" in section} == STATES


def test_the_port_of_a_running_stack_is_its_own(stack):
    checks = examined(stack)
    assert "is ours: the stack is up" in checks["port"]["found"]
    assert {checks[name]["state"] for name in ("secrets", "DAGS_DIR", "BUILD_DIR")} == {"ok"}


def test_each_thing_that_would_stop_up_is_reported_with_its_remedy(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        project.set(AIRFLOW_PORT=str(taken.getsockname()[1]))
        assert errors(examined(project, code=1)).keys() == {"port"}
        assert "Set AIRFLOW_PORT in .env" in errors(examined(project, code=1))["port"]
    project.set(ARCHIVE_OPS_URL="remotes/none")
    assert errors(examined(project, code=1)) == {"archive-ops": "Correct the path."}
    project.set(ARCHIVE_OPS_URL="remotes/archive-ops", AO_WORKFLOWS_REF="nope")
    remedies = errors(examined(project, code=1))
    assert remedies.keys() == {"ao-workflows"} and "git ls-remote" in remedies["ao-workflows"]
    project.set(AO_WORKFLOWS_REF="main", BUILD_DIR="remotes")
    remedies = errors(examined(project, code=1))
    assert remedies.keys() == {"BUILD_DIR"} and "Name another folder" in remedies["BUILD_DIR"]


def test_secrets_that_others_may_read_are_an_error_until_they_are_closed(project):
    project.inv("secrets")
    assert examined(project)["secrets"]["state"] == "ok"
    (project.settings.secrets_dir / "fernet_key").chmod(0o444)
    assert errors(examined(project, code=1)) == {"secrets": "Type: inv secrets"}
    project.inv("secrets")
    project.settings.secrets_dir.chmod(0o755)
    assert errors(examined(project, code=1)) == {"secrets": f"Type: chmod 700 {project.settings.secrets_dir}"}
    project.settings.secrets_dir.chmod(0o700)
    assert examined(project)["secrets"]["state"] == "ok"


@pytest.fixture
def hanging_docker(project, tmp_path, monkeypatch):
    """A docker that never answers during the test; the real one removes the project afterwards."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text("#!/bin/sh\nexec sleep 600\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_docker_that_hangs_is_reported_in_bounded_time(project, hanging_docker):
    wanted = project.engine
    project.set(ENGINE=wanted if wanted == "compose" else "auto")
    checks = examined(project, code=1 if wanted == "compose" else 0)
    if wanted == "standalone":
        assert checks["engine"]["found"].startswith("standalone (the Docker engine has not answered in ")
        return
    assert errors(checks).keys() >= {"docker"}
    assert "has not answered in " in checks["docker"]["found"] and "ENGINE=standalone" in checks["docker"]["remedy"]
    assert {checks[name]["state"] for name in ("base image", "clock", "disk, docker")} == {"skipped"}
    assert checks["git"]["state"] == "ok"
