"""Properties of containers: mounts, users, labels, layers."""

import json
import os
import re
import shutil

import pytest

from airflow_docker import secret_files
from airflow_docker.engines.choice import choose
from stack.conftest import docker

APPLICATION = ("aws", "db_apps", "drs_cnf")
AWS_KEY = "SECRET_AWS__default__aws_secret_access_key"


ON = ("compose",)
EACH = ("compose", "compose-3", "compose-celery")


def services(stack):
    return choose(stack.settings, notify=False).services()


@pytest.mark.on(*EACH)
def test_the_application_secrets_are_where_the_tasks_run_and_nowhere_else(stack):
    mounted = {
        service: {
            m["Destination"] for m in stack.inspect(service)["Mounts"] if m["Destination"].startswith("/run/secrets")
        }
        for service in services(stack)
    }
    for name in APPLICATION:
        path = f"/run/secrets/{name}"
        assert {service for service in mounted if path in mounted[service]} == {stack.task_service}
    assert stack.values[AWS_KEY] in stack.sees("aws")
    assert "marker-drs" in stack.sees("drs_cnf")
    for service in set(mounted) - {"init", stack.task_service}:
        listed = stack.sh(service, "ls /run/secrets").split()
        assert listed and not set(listed) & set(APPLICATION), service


def test_what_is_typed_beside_the_env_file_reads_nothing_of_it_but_settings(stack):
    """Compose would read the .env of the current folder as its own."""
    before = stack.values["SECRET_DRS_CNF__qa__password"]
    stack.set(SECRET_DRS_CNF__qa__password="hunter2${x")
    try:
        for verb in (["logs", "--tail", "1"], ["status"], ["airflow", "version"]):
            assert "hunter2" not in stack.inv(*verb, cwd=stack.folder, shows_services=True)
    finally:
        stack.set(SECRET_DRS_CNF__qa__password=before)


def test_a_container_for_one_command_is_not_the_service(stack):
    project = stack.settings.compose_project_name
    labels = {"project": project, "service": "scheduler", "oneoff": "True", "container-number": "1"}
    options = [option for name, value in labels.items() for option in ("--label", f"com.docker.compose.{name}={value}")]
    once = docker("run", "--detach", *options, "--entrypoint", "sleep", stack.settings.postgres_image, "300")
    try:
        assert stack.json("status")["state"] == "healthy"
        assert stack.settings.airflow_version in stack.inv("airflow", "version").split()
        entry = next(one for one in stack.json("status", "--all") if one["project"] == project)
        assert entry["services"] == len(services(stack)) - 1
    finally:
        docker("rm", "--force", "--volumes", once)


@pytest.mark.on(*EACH)
def test_no_key_is_in_an_environment_a_command_a_label_or_the_image(stack):
    settings = stack.settings
    values = [
        (settings.secrets_dir / name).read_text() for name in [*secret_files.GENERATED, *secret_files.DERIVED[:2]]
    ]
    values += [stack.values[AWS_KEY], "marker-drs"]
    image = stack.inspect("scheduler")["Image"]
    seen = [json.dumps(stack.inspect(service)) for service in services(stack)]
    seen += [docker("image", "inspect", image), docker("history", "--no-trunc", image)]
    assert not [value for value in values for text in seen if value in text]


@pytest.mark.on(*EACH)
def test_containers_are_not_root_and_only_the_web_ui_is_published_on_loopback(stack):
    uid = stack.settings.airflow_uid
    for service in services(stack):
        assert stack.inspect(service)["Config"]["User"] == f"{uid}:0"
        ports = stack.inspect(service)["NetworkSettings"]["Ports"] or {}
        published = [binding["HostIp"] for bindings in ports.values() for binding in bindings or []]
        assert published == (["127.0.0.1"] if service == stack.release.page else []), service
    assert stack.sh(stack.task_service, "id -u; id -g; echo $HOME").split() == [str(uid), "0", "/home/airflow"]


def test_the_image_has_the_scripts_and_the_requirements_and_no_open_directory(stack):
    assert stack.sh("scheduler", "command -v syncOneWork.sh") == "/home/airflow/bin/syncOneWork.sh"
    assert stack.sh("scheduler", "find /home/airflow/bin -type l") == ""
    stack.sh("scheduler", "python -c 'import humanize, xxhash'")
    image = stack.inspect("scheduler")["Config"]["Image"]
    writable = docker(
        "run",
        "--rm",
        "--network=none",
        "--entrypoint=find",
        image,
        "/home",
        "/opt",
        "/mnt",
        "-perm",
        "-0002",
        "!",
        "-type",
        "l",
    )
    assert writable == ""
    left = docker("run", "--rm", "--network=none", "--entrypoint=find", image, "/tmp", "/run")
    assert not re.search(r"requirements|package|\bca_|bundle", left)


def test_a_port_taken_by_a_container_names_the_container(stack, project):
    project.set(AIRFLOW_PORT=stack.settings.airflow_port)
    output = project.inv("up", code=1)
    assert f"is taken by the container {stack.settings.compose_project_name}-webserver-1" in output


def test_an_image_that_cannot_be_had_names_the_setting(project):
    project.inv("pull")
    project.set(AIRFLOW_BASE_IMAGE="localhost:1/nothing:here")
    output = project.inv("build", code=1)
    assert "AIRFLOW_BASE_IMAGE: localhost:1/nothing:here is not on this machine and could not be pulled" in output


def test_an_image_of_another_airflow_is_refused(project):
    project.inv("pull")
    project.set(AIRFLOW_VERSION="2.10.5")
    if "AIRFLOW_BASE_IMAGE" in project.values:
        assert "holds Airflow 2.11.2, but AIRFLOW_VERSION is 2.10.5" in project.inv("build", code=1)


def test_no_build_and_no_engine(project, tmp_path):
    assert "--no-build: nothing has been built for this project yet." in project.inv("up", "--no-build", code=2)
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    os.environ["PATH"], path = f"{tmp_path}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        assert "docker: no Docker engine answers." in project.inv("up", code=1)
    finally:
        os.environ["PATH"] = path


def test_a_check_of_the_bind_mounts_leaves_nothing_and_is_skipped_when_all_is_up(stack, tmp_path, monkeypatch):
    """A wrapper around docker logs each command."""
    calls, real = tmp_path / "calls", shutil.which("docker")
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$1" >>{calls}\nexec {real} "$@"\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "Already up and healthy" in stack.inv("up")
    assert not {"create", "run", "cp", "rm"} & set(calls.read_text().split())
    calls.unlink()
    assert "sample_sync" in stack.inv("dags")
    assert {"create", "cp", "rm"} <= set(commands := calls.read_text().split()) and "run" not in commands
    left = docker("ps", "--all", "--quiet", "--filter", f"name={stack.settings.compose_project_name}-bind-mounts")
    assert left == "" and not list(stack.settings.state_dir.glob(".seen-*"))


def test_a_dag_is_read_only_for_the_containers(stack):
    written = stack.sh("scheduler", "touch /opt/airflow/dags/x 2>&1 || true")
    assert "Read-only" in written
