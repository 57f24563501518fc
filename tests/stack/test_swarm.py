"""Three hosts as a Docker Swarm: the stack runs across them, and survives the loss of a host or a bad image."""

import json
import os
import re
import sys
import urllib.parse

import pytest
from trust.many import Many

from airflow_docker.engines.compose.image_context import DAGS_IN_IMAGE
from airflow_docker.secret_files import GENERATED
from stack.conftest import run, until
from stack.hosts import SwarmProject, swarm_of

UID = 1001
OPTIONS = {
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "2",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
    # Airflow notices tasks of a lost host after minutes; sooner here, to keep the tests short.
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
}
AWAY_SECONDS, RUN_SECONDS = 90, 400
BROKEN = """
FROM {base}
USER root
RUN mv /entrypoint /entrypoint.good && printf '%s\\n' '#!/bin/bash' \
    'if [ "$1" = webserver ]; then echo "broken on purpose" >&2; exit 7; fi' \
    'exec /entrypoint.good "$@"' >/entrypoint && chmod 755 /entrypoint
USER airflow
"""


@pytest.fixture(scope="module")
def hosts(docker_engine, tmp_path_factory):
    with swarm_of(3, tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def swarm(hosts, images, tmp_path_factory):
    """A stack that is up on all hosts, with work data in a shared folder."""
    folder = tmp_path_factory.mktemp("swarm")
    (folder / "data").mkdir()
    os.chown(folder / "data", UID, 0)
    project = SwarmProject(
        folder, hosts, AIRFLOW_UID=str(UID), WORKERS="2", WORKER_STOP_SECONDS="30", WORK_DATA_DIR="data",
        MEMORY_LIMIT="3g", **images, **OPTIONS,
    )  # fmt: skip
    try:
        project.inv("pull")
        (project.settings.workflow_dev_dir / project.settings.dags_dir / "sample_sync.py").unlink()  # runs all the time
        project.build()
        hosts.manager.load(project.settings.postgres_image, project.settings.redis_image)
        project.up_output = project.inv("up", "--timeout", "600")
        yield project
    finally:
        project.remove()


def on(swarm, service):
    """The hosts on which a service runs."""
    return [s["host"] for s in swarm.services(service) if s["state"] == "running"]


def since(swarm, *names):
    return {s["name"]: s["since"] for s in swarm.services() if s["name"] in names}


def test_up_starts_all_across_the_hosts(swarm):
    for text in ("The database is on host0 from now on", "init has done its work", "worker is healthy"):
        assert text in swarm.up_output
    assert swarm.json("status")["state"] == "healthy"
    assert {host for name in ("postgres", "redis", "scheduler", "webserver") for host in on(swarm, name)} == {"host0"}
    assert len(set(on(swarm, "worker"))) == 2
    assert "Already up and healthy" in swarm.inv("up")
    images_there = {s["image"] for s in swarm.services()}
    assert all(re.match(rf"{swarm.hosts.registry}/.+@sha256:[0-9a-f]{{64}}$", image) for image in images_there)
    checks = {check["name"]: check["found"] for check in swarm.json("doctor")["checks"]}
    assert checks["swarm"] == "this is a manager, and all hosts answer: host0, host1, host2"
    assert (checks["database"], checks["registry"]) == ("it is on this host", f"{swarm.hosts.registry} answers")
    listed = json.loads(swarm.inv("status", "--all", "--json"))
    assert {"project": "swarm-test", "engine": "swarm"}.items() <= listed[0].items()


PAGE = """
import http.cookiejar, re, sys, urllib.parse, urllib.request
base, password, path = sys.argv[1:]
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
token = re.search('name="csrf_token"[^>]*value="([^"]+)"', opener.open(base + "/login/").read().decode())[1]
form = {"csrf_token": token, "username": "admin", "password": open(password).read()}
opener.open(base + "/login/", urllib.parse.urlencode(form).encode()).close()
print(opener.open(urllib.request.Request(base + path, headers={"Accept": "text/plain"})).read().decode())
"""


def web_ui_text(swarm, path):
    """A response of the web UI to the admin, requested on the manager."""
    password = swarm.settings.secrets_dir / "admin_password"
    result = run(
        *swarm.inside,
        sys.executable,
        "-c",
        PAGE,
        f"http://127.0.0.1:{swarm.settings.airflow_port}",
        str(password),
        path,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tasks_run_on_several_hosts_and_all_verbs_see_them(swarm):
    many = Many(swarm, 12, seconds=1)
    many.deploy()
    output = swarm.inv("dags", "--run", "many")
    name = re.search(r"many has succeeded \((.*)\)", output)[1]
    assert set(many.lines(name)) == set(range(12))  # DAG and data are on a mount of all hosts
    where = swarm.sql(f"select distinct on (hostname) hostname, map_index from task_instance where run_id = '{name}'")
    assert len(where.splitlines()) == 2
    for row in where.splitlines():  # the worker that has a log serves it
        run_id, index = urllib.parse.quote(name), row.partition("|")[2]
        path = f"/api/v1/dags/many/dagRuns/{run_id}/taskInstances/work/logs/1?map_index={index}&full_content=true"
        assert f"there is something for the log {index}" in web_ui_text(swarm, path)
    logs = swarm.inv("logs", "worker", "--tail", "50", shows_services=True)
    assert {"host1", "host2"} <= set(re.findall(r"@(host\d) ", logs))
    assert "many" in swarm.inv("airflow", "dags list")
    assert swarm.json("dags")["folder"] == "/opt/airflow/dags"
    assert "and commands on this host cannot reach it" in swarm.inv("shell", "worker", code=1)
    backup = swarm.inv("backup", "--file", str(swarm.folder / "there.backup"))
    assert "Backup in" in backup and (swarm.folder / "there.backup").stat().st_size > 1000


def address_of_worker(engine):
    """The address under which Airflow knows the worker of a host."""
    worker = engine.docker("ps", "--quiet", "--filter", "name=swarm-test_worker")
    return engine.docker("exec", worker, "python", "-c", "import socket as s; print(s.gethostbyname(s.getfqdn()))")


def test_tasks_of_a_host_that_is_cut_off_finish_elsewhere_and_it_returns(swarm):
    hosts, many = swarm.hosts, Many(swarm, 24, seconds=6, at_once=8, retries=50)
    many.deploy()
    cut = next(engine for engine in hosts.engines[1:] if engine.name in on(swarm, "worker"))
    there = f"run_id = 'cut-off' and hostname = '{address_of_worker(cut)}'"
    many.begin("cut-off")
    until(lambda: swarm.sql(f"select 1 from task_instance where {there} and state = 'running' limit 1"), RUN_SECONDS)
    hosts.wire.set(cut, "down")
    try:
        until(lambda: hosts.nodes()[hosts.ids[cut.name]] == "Down", AWAY_SECONDS)
        assert swarm.sql(f"select 1 from task_instance where {there} and state = 'running' limit 1")
        assert many.wait_for_end("cut-off", RUN_SECONDS) == "success"
        assert set(many.lines("cut-off")) == set(range(24))
        assert swarm.sql("select 1 from task_instance where run_id = 'cut-off' and try_number > 1 limit 1")
        until(lambda: swarm.json("status")["state"] == "healthy", AWAY_SECONDS)
        assert len(on(swarm, "worker")) == 2 and cut.name not in on(swarm, "worker")
        check = next(check for check in swarm.json("doctor")["checks"] if check["name"] == "swarm")
        assert (check["state"], check["found"]) == ("warning", f"no answer from {cut.name}.")
    finally:
        hosts.wire.set(cut, "up")
    until(lambda: set(hosts.nodes().values()) == {"Ready"}, AWAY_SECONDS)
    until(lambda: not cut.docker("ps", "--quiet"), AWAY_SECONDS)  # its containers were replaced
    swarm.inv("scale", "3")
    assert set(on(swarm, "worker")) == {"host0", "host1", "host2"} or cut.name in on(swarm, "worker")
    swarm.inv("scale", "2")
    assert len(on(swarm, "worker")) == 2


def test_a_new_secret_reaches_the_workers_and_nothing_is_stopped(swarm):
    many = Many(swarm, 24, seconds=1, at_once=8, retries=0)
    many.deploy()
    others = ("postgres", "redis", "scheduler", "webserver", "triggerer")
    before, versions = since(swarm, *others), secrets_there(swarm)
    many.begin("renewed")
    many.wait_for("renewed", 1)
    swarm.set(SECRET_AWS__default__aws_secret_access_key="marker-renewed")
    swarm.inv("up")
    assert since(swarm, *others) == before
    assert many.wait_for_end("renewed", RUN_SECONDS) == "success"  # without any retry
    named = [name for name in secrets_there(swarm) if name not in versions]
    assert len(named) == 1 and named[0].startswith("swarm-test_aws_")
    assert len(secrets_there(swarm)) == len(versions)
    engine = next(e for e in swarm.hosts.engines if e.name == on(swarm, "worker")[0])
    worker = engine.docker("ps", "--quiet", "--filter", "name=swarm-test_worker").split()[0]
    assert "marker-renewed" in engine.docker("exec", worker, "cat", "/run/secrets/aws")
    assert engine.docker("exec", worker, "stat", "--format", "%a %u %g", "/run/secrets/aws") == f"400 {UID} 0"


def secrets_there(swarm):
    """Names of the secrets in Swarm, one for each version."""
    return swarm.docker("secret", "ls", "--format", "{{.Name}}").split()


def test_a_key_is_rotated_while_the_database_and_the_tasks_keep_running(swarm):
    before, old = since(swarm, "postgres", "redis"), (swarm.settings.secrets_dir / "webserver_secret_key").read_text()
    swarm.inv("secrets", "--rotate", "webserver_secret_key")
    assert since(swarm, "postgres", "redis") == before
    new = swarm.sh("webserver", "cat /run/secrets/webserver_secret_key")
    assert new == (swarm.settings.secrets_dir / "webserver_secret_key").read_text() != old
    assert swarm.json("status")["state"] == "healthy"


def test_a_bad_image_is_rolled_back_automatically(swarm):
    base, good = swarm.settings.airflow_base_image, {s["name"]: s["image"] for s in swarm.services()}
    name = f"{swarm.settings.airflow_image}-broken"
    result = run("docker", "build", "--quiet", "--tag", name, "-", input=BROKEN.format(base=base))
    assert result.returncode == 0, result.stderr
    try:
        swarm.set(AIRFLOW_BASE_IMAGE=name)
        swarm.build()
        output = swarm.inv("up", code=1)
        assert "webserver: the new version did not become healthy and was rolled back." in output
        assert "broken on purpose" in output.partition("--- the last lines of the new webserver ---")[2]
        after = {s["name"]: s["image"] for s in swarm.services() if s["name"] != "init"}
        assert after == {name: image for name, image in good.items() if name != "init"}
        assert swarm.json("status")["state"] == "healthy"
        assert "Airflow" in web_ui_text(swarm, "/home")
    finally:
        swarm.set(AIRFLOW_BASE_IMAGE=base)
        run("docker", "image", "rm", name)


def test_dags_in_the_image_reach_all_hosts(swarm):
    many = Many(swarm, 8, seconds=1, name="built")
    many.write()
    swarm.set(DAGS_DELIVERY="image")
    swarm.build()
    swarm.inv("up")
    template = json.loads(swarm.docker("service", "inspect", "swarm-test_worker"))[0]["Spec"]["TaskTemplate"]
    assert [m["Source"] for m in template["ContainerSpec"]["Mounts"] if m["Type"] == "bind"] == [
        str(swarm.settings.work_data_dir)
    ]
    assert swarm.json("dags")["folder"] == DAGS_IN_IMAGE
    until(lambda: swarm.sql(f"select 1 from dag where dag_id = 'built' and {swarm.release.is_known}"), 120)
    assert "built has succeeded" in swarm.inv("dags", "--run", "built")


def test_no_secret_is_on_the_disk_of_any_host(swarm, tmp_path):
    known = [file.read_text() for name in GENERATED if (file := swarm.settings.secrets_dir / name).is_file()]
    markers = tmp_path / "markers"
    markers.write_text("\n".join([*known, "marker-drs", "marker-aws", "marker-renewed"]))
    for engine in swarm.hosts.engines:
        assert files_with(markers, engine.folder) == []
    planted = swarm.hosts.engines[1].folder / "data" / "planted"
    planted.write_bytes(b"\0before" + known[0].encode() + b"after\0")
    assert files_with(markers, swarm.hosts.engines[1].folder) == [str(planted)]


def files_with(markers, folder):
    """Files on disk below ``folder`` that hold a line of the file ``markers``; file systems in memory are elsewhere."""
    command = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--text", "--devices=skip"]
    result = run(*command, f"--file={markers}", str(folder), env=os.environ | {"LC_ALL": "C"})
    assert result.returncode in (0, 1) or not result.stdout, result.stderr
    return result.stdout.splitlines()


def test_down_leaves_nothing_anywhere(swarm):
    swarm.inv("down", "--volumes", "--yes")
    assert "is not running" in swarm.inv("status", code=3)
    for engine in swarm.hosts.engines:
        until(lambda engine=engine: not engine.docker("ps", "--all", "--quiet"), AWAY_SECONDS)
        assert engine.docker("volume", "ls", "--quiet") == ""
        assert "swarm-test" not in engine.docker("network", "ls")
    assert swarm.docker("secret", "ls", "--quiet") == swarm.docker("service", "ls", "--quiet") == ""
