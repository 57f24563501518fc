"""Workers: who can reach the broker, scaling up and down while tasks run, and refused commands."""

import json
from pathlib import Path

import pytest
from conftest import INV
from trust.many import Many, alone

from stack.conftest import docker, run, until

ON = ("compose-celery",)
KEYS = {"fernet_key", "sql_alchemy_conn", "webserver_secret_key", "jwt_secret"}
APPLICATION = {"aws", "db_apps", "drs_cnf"}


def seen_by(stack, service):
    """The secrets in a service."""
    return set(stack.sh(service, "ls /run/secrets").split())


def test_the_secrets_of_the_tasks_are_in_the_workers_alone_and_their_folders_in_all_that_import_dags(stack):
    assert seen_by(stack, "worker") == KEYS | APPLICATION | {"broker_url"}
    assert seen_by(stack, "scheduler") == KEYS | {"broker_url"}
    assert seen_by(stack, "redis") == {"redis.conf"}
    for service in (stack.release.page, "triggerer"):
        assert seen_by(stack, service) == KEYS
    folders = {
        service: {m["Destination"] for m in stack.inspect(service)["Mounts"] if "/run/secrets" not in m["Destination"]}
        for service in ("scheduler", "triggerer", "worker")
    }
    assert folders["scheduler"] == folders["triggerer"] == folders["worker"] >= {"/mnt", "/home/airflow/bdrc/data"}


def test_the_broker_is_reached_from_its_own_network_alone(stack):
    network = stack.inspect("redis")["NetworkSettings"]
    assert not any((network["Ports"] or {}).values())
    (name,) = network["Networks"]
    assert json.loads(docker("network", "inspect", name))[0]["Internal"] is True
    routes = stack.sh("redis", "cat /proc/net/route").splitlines()[1:]
    assert routes and not [route for route in routes if route.split()[1] == "00000000"]
    other = next(n for n in stack.inspect("worker")["NetworkSettings"]["Networks"] if n != name)
    script = f"import socket; socket.create_connection(('{network['Networks'][name]['IPAddress']}', 6379), 3)"
    image = stack.inspect("worker")["Config"]["Image"]
    asked = run("docker", "run", "--rm", "--network", other, "--entrypoint", "python", image, "-c", script)
    assert asked.returncode != 0 and "Error" in asked.stderr


def test_the_broker_answers_nobody_without_its_password(stack):
    script = """
import redis
for password in (None, "", "redis", "airflow"):
    try:
        print(password, redis.Redis(host="redis", password=password).keys())
    except redis.exceptions.RedisError as problem:
        assert "uthenticat" in str(problem) or "password" in str(problem), problem
"""
    assert stack.python(script) == ""
    password = (stack.settings.secrets_dir / "redis_password").read_text()
    assert stack.python(f"import redis; print(redis.Redis(host='redis', password={password!r}).ping())") == "True"


@pytest.fixture
def undisturbed(stack):
    """Only tasks of the test run; there is one worker before and after it."""
    with alone(stack):
        yield
        stack.inv("scale", "1")


def workers(stack):
    """The workers in status, by number."""
    return {s["number"]: s for s in stack.json("status")["services"] if s["name"] == "worker"}


def test_workers_are_added_and_taken_away_while_tasks_run_and_finish_what_they_have(stack, undisturbed):
    many = Many(stack, tasks=9, seconds=20, retries=0, name="away")
    many.deploy()
    output = stack.inv("scale", "3")
    assert "From 1 to 3 workers" in output and "worker is healthy" in output and "scheduler" not in output
    assert set(workers(stack)) == {1, 2, 3} and stack.json("status")["state"] == "healthy"
    assert "worker-2   running  healthy" in stack.inv("status")
    many.begin("away")
    hosts = "select distinct hostname from task_instance where run_id = 'away' and state = 'running'"
    until(lambda: many.tasks_in("away", "running") == 9, 60)
    at_work = set(stack.sql(hosts).split())
    assert len(at_work) == 3  # each worker has some

    assert "From 3 to 1 workers; those that go may finish their tasks, for 600 s" in stack.inv("scale", "1")
    (left,) = stack.containers("worker")
    gone = at_work - {left}
    assert len(gone) == 2
    assert many.wait_for_end("away", 120) == "success"
    assert sorted(many.lines("away")) == list(range(9))
    tries = "select hostname, max(try_number) from task_instance where run_id = 'away' group by 1"
    assert {line.split("|")[0]: line.split("|")[1] for line in stack.sql(tries).splitlines()} == dict.fromkeys(
        at_work, "1"
    )
    many.remove()


def test_their_number_stays_until_another_is_said(stack, undisturbed):
    assert "From 1 to 2 workers" in stack.inv("up", "--workers", "2")
    assert "Already up and healthy" in stack.inv("up")
    assert len(workers(stack)) == 2
    before = workers(stack)
    assert "worker is healthy" in stack.inv("restart", "worker")
    after = workers(stack)
    assert set(after) == {1, 2} and all(after[n]["since"] > before[n]["since"] for n in after)
    output = stack.inv("logs", "worker", "--tail", "1", shows_services=True)
    assert {line.split()[0] for line in output.splitlines() if " | " in line} == {"worker-1", "worker-2"}
    shown = run(*INV, "shell", "worker", env=stack.environ, input="command -v syncOneWork.sh; echo $ARCH_ROOT")
    assert shown.stdout.split() == ["/home/airflow/bin/syncOneWork.sh", "/mnt"]


def test_what_is_no_number_of_workers_is_refused(stack):
    for number in ("0", "101", "many", "-1", "1.5"):
        output = stack.inv("scale", f"--workers={number}", code=2)
        assert f"inv scale: '{number}' is not a number from 1 to 100." in output
    assert "--workers: '0' is not a number from 1 to 100." in stack.inv("up", "--workers", "0", code=2)


@pytest.mark.on("compose-celery")
def test_where_nothing_runs_there_is_nothing_to_scale(project):
    assert "no worker is running. Type: inv up" in project.inv("scale", "2", code=1)


@pytest.mark.on("compose", "standalone")
def test_where_the_scheduler_runs_the_tasks_there_are_no_workers(project):
    for verb in (["scale", "2"], ["up", "--workers", "2"]):
        output = project.inv(*verb, code=1)
        if project.engine == "compose":
            assert "EXECUTOR: is LocalExecutor: the scheduler runs the tasks, and there are no workers." in output
        else:
            assert "ENGINE: standalone has no workers: its scheduler runs the tasks. Set ENGINE=compose" in output
    assert not Path(project.settings.state_dir / "up.log").exists()
