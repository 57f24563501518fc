"""Restrictions on the containers of a running stack, and who can reach them."""

import json

import pytest

from airflow_docker.engines.choice import choose
from stack.conftest import docker, run

ON = ("compose", "compose-3", "compose-celery")


@pytest.fixture
def services(stack):
    """Services that keep running."""
    engine = choose(stack.settings, notify=False)
    return [name for name in engine.services() if name not in engine.one_shot]


def test_their_processes_are_no_root_and_cannot_become_root(stack, services):
    for service in services:
        lines = stack.sh(service, "cat /proc/1/status").splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(status["Uid"].split()) == {str(stack.settings.airflow_uid)}, service
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}, service
        assert status["NoNewPrivs"] == "1", service


def test_each_has_its_share_of_memory_and_processes_and_no_more(stack, services):
    limits = {"memory.max": "memory/memory.limit_in_bytes", "pids.max": "pids/pids.max"}  # cgroup v2, v1
    asked = "; ".join(f"cat {new} 2>/dev/null || cat {old}" for new, old in limits.items())
    for service in services:
        values = stack.sh(service, f"cd /sys/fs/cgroup; {asked}").split()
        assert values == [str(3 << 30), str(stack.settings.pids_limit)], service


def test_no_log_can_fill_the_disk(stack, services):
    for service in services:
        config = stack.inspect(service)["HostConfig"]["LogConfig"]
        assert config == {"Type": "local", "Config": {"max-size": "10m", "max-file": "5"}}, service


def test_none_can_write_its_own_files_unless_it_imports_dags(stack, services):
    tried = [f"touch {folder}/x 2>&1" for folder in ("/home/airflow", "/usr/local/bin", "/opt/airflow-docker", "/etc")]
    for service in services:
        lines = stack.sh(service, f"{'; '.join(tried)}; true").splitlines()
        read_only = [line for line in lines if "Read-only file system" in line]
        imports_dags = service in choose(stack.settings, notify=False).dag_services
        wanted = 0 if imports_dags else sum("No such file" not in line for line in lines)
        assert len(read_only) == wanted, service
        assert imports_dags or read_only, service


def test_tasks_cannot_change_the_dags(stack):
    assert "Read-only file system" in stack.sh(stack.task_service, "touch /opt/airflow/dags/x 2>&1; true")


def test_only_the_web_ui_is_on_the_host_and_there_on_loopback_only(stack, services):
    published = {}
    for name in services:
        ports = stack.inspect(name)["NetworkSettings"]["Ports"] or {}
        published |= {(name, port): bound for port, bound in ports.items() if bound}
    where = {"HostIp": "127.0.0.1", "HostPort": str(stack.settings.airflow_port)}
    assert published == {(stack.release.page, "8080/tcp"): [where]}


def test_the_database_has_no_way_out_and_only_its_own_network(stack):
    networks = stack.inspect("postgres")["NetworkSettings"]["Networks"]
    (name,) = networks
    assert json.loads(docker("network", "inspect", name))[0]["Internal"] is True
    routes = stack.sh("postgres", "cat /proc/net/route").splitlines()[1:]
    assert routes and not [route for route in routes if route.split()[1] == "00000000"]
    other = stack.inspect("scheduler")["NetworkSettings"]["Networks"]
    default = next(name for name in other if name not in networks)
    address = networks[name]["IPAddress"]
    script = f"import socket; socket.create_connection(('{address}', 5432), 3)"
    asked = run("docker", "run", "--rm", "--network", default, "--entrypoint", "python", image(stack), "-c", script)
    assert asked.returncode != 0 and "Error" in asked.stderr


def image(stack):
    return stack.inspect("scheduler")["Config"]["Image"]


def test_the_database_lets_nobody_in_without_its_password(stack):
    script = """
import psycopg2
for password in ("", "airflow", "postgres", "admin"):
    for user in ("airflow", "postgres"):
        try:
            psycopg2.connect(host="postgres", dbname="airflow", user=user, password=password)
        except psycopg2.OperationalError as problem:
            assert "password" in str(problem), problem
        else:
            print(user, password)
"""
    assert stack.python(script) == ""
