"""Projects on real engines, driven only by the command line."""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from conftest import INV, git

from airflow_docker import PROJECT, project_state
from airflow_docker.engines import release
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.standalone import processes
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.settings import load

ENGINES = ("standalone", "compose")
AIRFLOW_3 = "3.3.2"
CELERY = {
    "EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",  # two minutes otherwise: for the tests' sake
}
FLAVOURS = {
    **{engine: {} for engine in ENGINES},
    **{f"{engine}-3": {"AIRFLOW_VERSION": AIRFLOW_3} for engine in ENGINES},
    "compose-celery": CELERY,
}
"""Flavours of a stack: an engine, with additional settings."""
RELEASES = (*ENGINES, *(f"{engine}-3" for engine in ENGINES))
"""Each engine with each release of Airflow, for tests that depend on the release."""
WITH_TRUST = pytest.mark.skipif(os.environ.get("TRUST") != "full", reason="takes minutes: inv test --trust runs it")
TEST_IMAGES = "airflow-docker-standin"
SHARED_STEP_IS_GONE = "failed to solve: no active sessions"
"""BuildKit's error if a build is killed, as some tests do, while another build waits for the same step."""


def pytest_generate_tests(metafunc):
    """Run each test on each engine, or only on the flavours in its module's ON or in its own mark ``on``."""
    mark = metafunc.definition.get_closest_marker("on")
    for fixture, scope in (("stack", "session"), ("project", "function")):
        if fixture in metafunc.fixturenames:
            engines = mark.args if mark else getattr(metafunc.module, "ON", ENGINES)
            metafunc.parametrize(fixture, engines, indirect=True, scope=scope)


def run(*args, timeout=600, **kwargs):
    return subprocess.run(args, capture_output=True, text=True, timeout=timeout, **kwargs)


def docker(*args):
    """Output of a docker command that must succeed."""
    result = run("docker", *args)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Project:
    """A folder with a .env and two repositories, by default the samples."""

    engine = ""
    task_service = "scheduler"
    flavour = ""
    """One of FLAVOURS."""
    inside: tuple[str, ...] = ()
    """The command that starts `inv` in another network namespace; empty: this machine's own."""

    def __init__(self, folder: Path, repositories: Path = PROJECT / "examples", **settings):
        self.folder = folder
        for name in ("ao-workflows", "archive-ops"):
            shutil.copytree(repositories / name, folder / "remotes" / name)
            git(folder / "remotes" / name, "init", "--quiet", "--initial-branch=main")
            git(folder / "remotes" / name, "add", "--all")
            git(folder / "remotes" / name, "commit", "--quiet", "--message", "x")
        self.values = {
            "AO_WORKFLOWS_URL": "remotes/ao-workflows",
            "ARCHIVE_OPS_URL": "remotes/archive-ops",
            "BUILD_DIR": "build dir",
            "AIRFLOW_PORT": str(free_port()),
            "SECRET_DB_APPS__mysql__mySqlCnfPath": "/run/secrets/drs_cnf",
            "SECRET_DRS_CNF__qa__password": "marker-drs",
            "SECRET_AWS__default__aws_secret_access_key": "marker-aws",
            "ENGINE": self.engine,
            **settings,
        }
        self.set()

    def set(self, **values):
        """Change settings in .env."""
        self.values |= values
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in self.values.items()))

    @property
    def env_file(self):
        return self.folder / ".env"

    @property
    def settings(self):
        return load(self.env_file, self.environ)

    @property
    def release(self):
        """The names that differ between releases of Airflow."""
        return release.of(self.settings)

    @property
    def interval(self):
        """The option that sets how often its Airflow looks for new DAG files."""
        two = self.release.number == 2
        return "AIRFLOW__" + ("SCHEDULER__DAG_DIR_LIST_INTERVAL" if two else "DAG_PROCESSOR__REFRESH_INTERVAL")

    @property
    def environ(self):
        """This machine's environment without any setting of ours."""
        ours = re.compile(r"AIRFLOW_|POSTGRES_IMAGE|REDIS_IMAGE|SECRET_|ENV_FILE|ENGINE|EXECUTOR|WORKER")
        return {k: v for k, v in os.environ.items() if not ours.match(k)} | {"ENV_FILE": str(self.env_file)}

    def inv(self, *args, code=0, shows_services=False, **kwargs):
        """Run a verb and return its stdout and stderr together. Logs of services may hold tracebacks."""
        result = run(*self.inside, *INV, *args, env=self.environ, stdin=subprocess.DEVNULL, **kwargs)
        output = result.stdout + result.stderr
        if result.returncode != code and SHARED_STEP_IS_GONE in output:
            return self.inv(*args, code=code, shows_services=shows_services, **kwargs)
        assert result.returncode == code, output
        assert shows_services or "Traceback" not in output
        return output

    def json(self, *args):
        """The JSON that a verb prints with --json; stdout must hold nothing else."""
        return json.loads(run(*self.inside, *INV, *args, "--json", env=self.environ, stdin=subprocess.DEVNULL).stdout)

    def json_of_build(self):
        """The record of the last build."""
        return dict(project_state.read(self.settings, self.engine).build)

    def remove(self):
        """Remove everything that the project has created."""
        run(*self.inside, *INV, "down", "--volumes", "--yes", env=self.environ)


class ComposeProject(Project):
    """A project with its own image name, so that no image of an earlier run is used."""

    engine = "compose"
    docker_host = ""
    """The socket of its Docker engine; empty: this machine's."""

    def __init__(self, folder: Path, **settings):
        super().__init__(folder, **{"AIRFLOW_IMAGE": f"airflow-docker-test/{secrets.token_hex(4)}"} | settings)

    @property
    def environ(self):
        return super().environ | ({"DOCKER_HOST": self.docker_host} if self.docker_host else {})

    def docker(self, *args):
        """Output of a docker command on its engine."""
        return docker(*(["--host", self.docker_host] if self.docker_host else []), *args)

    @property
    def task_service(self):
        """The service that runs the tasks."""
        return "worker" if self.settings.executor == "CeleryExecutor" else "scheduler"

    def compose(self):
        """The engine with the image that was built last."""
        return Compose(self.settings, self.json_of_build()["artifact"])

    def container(self, service):
        """The id of a service's container, the newest if there are several."""
        return self.containers(service)[0]

    def containers(self, service):
        label = "label=com.docker.compose"
        name = self.settings.compose_project_name
        ids = self.docker("ps", "-aq", "--filter", f"{label}.project={name}", "--filter", f"{label}.service={service}")
        assert ids, f"no container of {service}"
        return ids.split()

    def inspect(self, service):
        return json.loads(self.docker("inspect", self.container(service)))[0]

    def sh(self, service, command):
        """Output of a shell command in a running service."""
        return self.docker("exec", self.container(service), "bash", "-c", command)

    def sql(self, query):
        """The result of a query, a line for each row."""
        command = ["psql", "-h", "127.0.0.1", "-U", "airflow", "-d", "airflow", "-Atc", query]
        password = (self.settings.secrets_dir / "postgres_password").read_text()
        return self.docker("exec", "-e", f"PGPASSWORD={password}", self.container("postgres"), *command)

    def python(self, script):
        """Output of a script that runs where Airflow does."""
        return self.docker("exec", self.container(self.task_service), "python", "-c", script)

    def sees(self, name):
        """A secret as the tasks see it."""
        return self.sh(self.task_service, f"cat /run/secrets/{name}")

    def option(self, name):
        """An environment variable where the tasks run."""
        return self.sh(self.task_service, f"echo ${name}")

    def running(self):
        """An id that differs for each start of the scheduler; empty if it does not run."""
        label = f"label=com.docker.compose.project={self.settings.compose_project_name}"
        return self.docker("ps", "-q", "--filter", label, "--filter", "label=com.docker.compose.service=scheduler")

    def archives(self):
        """What the tasks find in ~/extern."""
        return self.sh(self.task_service, "cd /home/airflow/extern; ls; ls *").split()

    def remove(self):
        super().remove()
        image = self.settings.airflow_image
        for tag in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", image).split():
            run("docker", "image", "rm", tag)


class StandaloneProject(Project):
    engine = "standalone"

    @property
    def stack(self):
        return Standalone(self.settings)

    def sql(self, query):
        """The result of a query, a line for each row."""
        with contextlib.closing(sqlite3.connect(self.stack.database_file, timeout=30)) as opened:
            return "\n".join("|".join(map(str, row)) for row in opened.execute(query))

    def processes(self, service=None):
        return [p for p in processes.tagged(self.stack.mark, service) if p.status() != psutil.STATUS_ZOMBIE]

    def environment(self):
        return self.processes("scheduler")[0].environ()

    def python(self, script):
        """Output of a script that runs where Airflow does."""
        scheduler = self.processes("scheduler")[0]
        environ = {k: v for k, v in scheduler.environ().items() if k not in (processes.MARK, processes.SERVICE)}
        interpreter = json.loads((self.stack.folder / "services.json").read_text())["services"]["scheduler"][0]
        result = run(interpreter, "-c", script, env=environ)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def sees(self, name):
        """A secret as the tasks see it."""
        environ, home = self.environment(), self.stack.folder / "home"
        if name == "aws":
            assert (home / ".aws/credentials").read_text() == Path(environ["AWS_SHARED_CREDENTIALS_FILE"]).read_text()
            return Path(environ["AWS_SHARED_CREDENTIALS_FILE"]).read_text()
        config = (home / ".config/bdrc/db_apps.config").read_text()
        if name == "db_apps":
            return config
        return Path(re.search(r"mySqlCnfPath = (.*)", config)[1]).read_text()

    def option(self, name):
        """An environment variable of the scheduler."""
        return self.environment()[name]

    def running(self):
        """An id that differs for each start of the scheduler; empty if it does not run."""
        return json.loads((self.stack.folder / "state.json").read_text())["supervisor"] if self.processes() else ""

    def archives(self):
        """What the tasks find in ~/extern."""
        command = f"cd {shlex.quote(str(self.stack.folder / 'home/extern'))}; ls; ls *"
        return run("sh", "-c", command).stdout.split()


def until(condition, seconds=60):
    """Wait until ``condition()`` is true, and return its result."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "it has not happened in time"
        time.sleep(0.5)
    return result
