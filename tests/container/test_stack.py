"""The main job on a real engine: from two repositories and a .env to a work in the archive."""

import http.cookiejar
import json
import os
import re
import socket
import time
import urllib.parse
import urllib.request
from datetime import UTC

import pytest

from airflow_docker import demo, secrets
from container.conftest import docker

SERVICES = ("postgres", "init", "webserver", "scheduler", "triggerer")
APPLICATION = ("aws", "db_apps", "drs_cnf")


def until(condition, seconds=60):
    """Wait for a condition, and give what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.5)
    return found


def test_up_alone_does_all_that_is_missing_and_says_where_it_is(stack):
    said = stack.said
    for words in ("cloned at", "Building airflow-docker-test/stack:", "wrote db_apps.config", "webserver is healthy"):
        assert words in said
    assert f"http://localhost:{stack.settings.airflow_port}" in said
    assert str(stack.settings.secrets_dir / "admin_password") in said
    assert (stack.settings.secrets_dir / "admin_password").read_text() not in said


def test_a_work_goes_through_the_dag_and_the_script_into_the_archive(stack):
    demo.drop_work(stack.settings, "W1TEST")
    arrived = demo.wait_for_arrival(stack.settings, "W1TEST")
    pages = sorted(str(file.relative_to(arrived)) for file in arrived.rglob("*.txt"))
    assert pages == ["dips.txt", *(f"images/W1TEST-I1/I1000{n}.txt" for n in (1, 2, 3)), "manifest-xxh64.txt"]
    assert {file.stat().st_uid for file in arrived.rglob("*")} == {stack.settings.airflow_uid}
    record = json.loads((stack.settings.app_log_dir / "synced.jsonl").read_text().splitlines()[-1])
    assert (record["work"], record["credentials"]) == ("W1TEST", ["default"])


def test_the_application_secrets_are_in_the_scheduler_and_nowhere_else(stack):
    mounted = {
        service: {
            m["Destination"] for m in stack.inspect(service)["Mounts"] if m["Destination"].startswith("/run/secrets")
        }
        for service in SERVICES
    }
    for name in APPLICATION:
        path = f"/run/secrets/{name}"
        assert {service for service in SERVICES if path in mounted[service]} == {"scheduler"}
    assert "marker-aws" in stack.sh("scheduler", "cat /run/secrets/aws")
    assert "marker-drs" in stack.sh("scheduler", "cat /run/secrets/drs_cnf")
    for service in ("postgres", "webserver", "triggerer"):
        listed = stack.sh(service, "ls /run/secrets").split()
        assert listed and not set(listed) & set(APPLICATION), service


def test_no_key_stands_in_an_environment_a_command_a_label_or_the_image(stack):
    settings = stack.settings
    values = [(settings.secrets_dir / name).read_text() for name in [*secrets.GENERATED, "sql_alchemy_conn"]]
    values += ["marker-aws", "marker-drs"]
    image = stack.inspect("scheduler")["Image"]
    seen = [json.dumps(stack.inspect(service)) for service in SERVICES]
    seen += [docker("image", "inspect", image), docker("history", "--no-trunc", image)]
    assert not [value for value in values for text in seen if value in text]


def test_containers_are_not_root_and_only_the_web_page_is_published_on_loopback(stack):
    uid = stack.settings.airflow_uid
    for service in SERVICES:
        assert stack.inspect(service)["Config"]["User"] == f"{uid}:0"
        ports = stack.inspect(service)["NetworkSettings"]["Ports"] or {}
        published = [binding["HostIp"] for bindings in ports.values() for binding in bindings or []]
        assert published == (["127.0.0.1"] if service == "webserver" else []), service
    assert stack.sh("scheduler", "id -u; id -g; echo $HOME").split() == [str(uid), "0", "/home/airflow"]


def test_the_image_has_the_scripts_and_the_requirements_and_no_open_directory(stack):
    assert stack.sh("scheduler", "command -v syncOneWork.sh") == "/home/airflow/bin/syncOneWork.sh"
    assert stack.sh("scheduler", "find /home/airflow/bin -type l") == ""
    stack.sh("scheduler", "python -c 'import humanize, xxhash'")
    image = stack.inspect("scheduler")["Config"]["Image"]
    found = docker(
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
    assert found == ""
    left = docker("run", "--rm", "--network=none", "--entrypoint=find", image, "/tmp", "/run")
    assert not re.search(r"requirements|package|\bca_|bundle", left)


class Browser:
    """Cookies and forms, no more."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def get(self, path):
        with self.opener.open(self.base + path, timeout=20) as answer:
            return answer.geturl(), answer.read().decode()

    def log_in(self, user, password):
        """True if the page that asks for a login lets us pass."""
        _, page = self.get("/login/")
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
        form = urllib.parse.urlencode({"csrf_token": token, "username": user, "password": password}).encode()
        self.opener.open(self.base + "/login/", form, timeout=20).close()
        return "/login" not in self.get("/home")[0]


def test_the_admin_logs_in_with_the_generated_password_and_with_no_other(stack):
    password = (stack.settings.secrets_dir / "admin_password").read_text()
    port = stack.settings.airflow_port
    for wrong in ("admin", password[:-1], password.swapcase()):  # Airflow lets nobody try often
        assert not Browser(port).log_in("admin", wrong), wrong
    assert Browser(port).log_in("admin", password)
    assert stack.sql("select username from ab_user") == "admin"


def test_a_dag_edited_on_the_host_is_seen_without_a_build(stack):
    dags = stack.settings.workflow_dev_dir / stack.settings.dags_dir
    created = stack.inspect("scheduler")["Created"]
    text = (dags / "sample_sync.py").read_text()
    (dags / "another.py").write_text(text.replace("sample_sync", "another_dag").replace("@continuous", "@once"))
    try:
        until(lambda: stack.sql("select dag_id from dag where is_active and dag_id = 'another_dag'"))
    finally:
        (dags / "another.py").unlink()
    assert stack.inspect("scheduler")["Created"] == created
    written = stack.sh("scheduler", "touch /opt/airflow/dags/x 2>&1 || true")
    assert "Read-only" in written


def test_options_of_airflow_in_env_reach_the_services(stack):
    assert stack.sh("scheduler", "echo $AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL") == "2"


def test_up_again_changes_nothing_and_a_changed_secret_arrives(stack):
    before = stack.inspect("scheduler")["Id"]
    assert "Already up and healthy" in stack.inv("up")
    assert "nothing to build" in stack.inv("build")
    assert stack.inspect("scheduler")["Id"] == before
    stack.set(SECRET_AWS__default__aws_secret_access_key="marker-new")
    stack.inv("up")
    assert "marker-new" in stack.sh("scheduler", "cat /run/secrets/aws")


def test_an_archive_more_is_mounted_without_editing_compose_yaml(stack):
    (stack.folder / "Archive 4").mkdir(mode=0o755)
    (stack.folder / "Archive 4" / "here.txt").write_text("x")
    before = (stack.folder / "Archive 4").stat()
    stack.set(EXTRA_MOUNTS="Archive 4:/home/airflow/extern/Archive4")
    stack.inv("up")
    assert stack.sh("scheduler", "ls /home/airflow/extern").split() == [f"Archive{n}" for n in range(5)]
    assert stack.sh("scheduler", "ls /home/airflow/extern/Archive4") == "here.txt"
    after = (stack.folder / "Archive 4").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_volumes_go_only_when_confirmed(stack):
    said = stack.inv("down", "--volumes", code=2)
    assert "there is no terminal to ask on. Say --yes if you mean it." in said
    assert stack.inspect("postgres")["State"]["Running"]


def runs(stack):
    return set(stack.sql("select run_id from dag_run where state = 'success'").split("\n"))


def test_after_down_and_up_the_runs_are_still_there_and_after_volumes_they_are_not(stack):
    before = runs(stack)
    assert before
    password = (stack.settings.secrets_dir / "admin_password").read_text()
    stack.inv("down")
    assert (
        docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={stack.settings.compose_project_name}") == ""
    )
    assert "is not running" in stack.inv("down")
    stack.inv("up")
    assert before <= runs(stack)
    assert Browser(stack.settings.airflow_port).log_in("admin", password)
    stack.inv("down", "--volumes", "--yes")
    stack.inv("up")
    assert not before & runs(stack)
    assert Browser(stack.settings.airflow_port).log_in("admin", password)


def seconds_since(stamp):
    from datetime import datetime

    return time.time() - datetime.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("setting", "service", "says"),
    [
        (
            # Airflow itself waits for its web workers first, two minutes unless told otherwise.
            {"AIRFLOW__WEBSERVER__WORKER_CLASS": "nonsense", "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "3"},
            "webserver",
            "nonsense",
        ),
        ({"AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA": "nonsense"}, "init", "nonsense"),
        ({"AIRFLOW__CORE__EXECUTOR": "nonsense"}, "(init|webserver|scheduler|triggerer)", "nonsense"),
    ],
)
def test_a_crashing_service_is_reported_at_once_with_its_last_lines(project, setting, service, says):
    project.set(**setting)
    said = project.inv("up", code=1)
    failing = re.search(rf"^({service}): the service (has ended|crashes)", said, re.M)
    assert failing, said
    state = project.inspect(failing[1])["State"]
    finished = state["FinishedAt"] if not state["FinishedAt"].startswith("0001") else state["StartedAt"]
    assert seconds_since(finished) < 10
    lines = said.partition(f"--- the last lines of {failing[1]} ---")[2].partition("\n---\n")[0]
    assert says in lines
    command = re.search(r"Read on: (docker compose .*)$", said, re.M)[1]
    assert docker(*command.split()[1:])


def test_a_taken_port_names_the_setting(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        project.set(AIRFLOW_PORT=str(taken.getsockname()[1]))
        said = project.inv("up", code=1)
    assert re.search(r"AIRFLOW_PORT: port \d+ of 127.0.0.1 is taken by another program. Set AIRFLOW_PORT in .env", said)


def test_a_port_taken_by_a_container_names_the_container(stack, project):
    project.set(AIRFLOW_PORT=stack.settings.airflow_port)
    said = project.inv("up", code=1)
    assert f"is taken by the container {stack.settings.compose_project_name}-webserver-1" in said


def test_an_image_that_cannot_be_had_names_the_setting(project):
    project.inv("pull")
    project.set(AIRFLOW_BASE_IMAGE="localhost:1/nothing:here")
    said = project.inv("build", code=1)
    assert "AIRFLOW_BASE_IMAGE: localhost:1/nothing:here is not on this machine and could not be pulled" in said


def test_an_image_of_another_airflow_is_refused(project):
    project.inv("pull")
    project.set(AIRFLOW_VERSION="2.10.5")
    if "AIRFLOW_BASE_IMAGE" in project.values:
        assert "holds Airflow 2.11.2, but AIRFLOW_VERSION is 2.10.5" in project.inv("build", code=1)


def test_no_build_and_no_engine(project, tmp_path):
    assert "--no-build: there is no image of this project yet." in project.inv("up", "--no-build", code=2)
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    os.environ["PATH"], path = f"{tmp_path}:{os.environ['PATH']}", os.environ["PATH"]
    try:
        assert "docker: no Docker engine answers." in project.inv("up", code=1)
    finally:
        os.environ["PATH"] = path
