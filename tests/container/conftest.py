"""A real engine, real images, and projects that are driven by the command line alone."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import git

from airflow_docker.settings import PROJECT, load

STANDIN = "airflow-docker-standin"


def run(*args, timeout=600, **kwargs):
    return subprocess.run(args, capture_output=True, text=True, timeout=timeout, **kwargs)


def docker(*args):
    """Output of a docker command that must succeed."""
    result = run("docker", *args)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def _missing_engine():
    if shutil.which("docker") is None:
        return "there is no docker on PATH"
    for question in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            if run(*question, timeout=20).returncode:
                return f"`{' '.join(question)}` fails"
        except subprocess.TimeoutExpired:
            return f"`{' '.join(question)}` does not answer"
    return ""


@pytest.fixture(scope="session", autouse=True)
def engine():
    """The engine: in CI it must be there, elsewhere its absence is told in the summary."""
    reason = _missing_engine()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"container tests must run in CI, but {reason}; see .ci/run")
    if reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture(scope="session")
def images(engine):
    """The images' settings: from the environment, else the stand-ins if they are here, else the defaults."""
    found = {}
    for setting, name in [("AIRFLOW_BASE_IMAGE", "airflow"), ("POSTGRES_IMAGE", "postgres")]:
        listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{STANDIN}/{name}").split()
        if os.environ.get(setting) or listed:
            found[setting] = os.environ.get(setting) or listed[0]
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Project:
    """A .env in a folder of its own with the two sample repositories beside it."""

    def __init__(self, folder: Path, images: dict, **settings):
        self.folder = folder
        for name in ("ao-workflows", "archive-ops"):
            shutil.copytree(PROJECT / "examples" / name, folder / "remotes" / name)
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
            **images,
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
    def environ(self):
        """This machine's environment without any setting of ours."""
        ours = re.compile(r"AIRFLOW_|POSTGRES_IMAGE|SECRET_|ENV_FILE")
        return {k: v for k, v in os.environ.items() if not ours.match(k)} | {"ENV_FILE": str(self.env_file)}

    def inv(self, *args, code=0, **kwargs):
        """Run a verb; its two outputs together."""
        command = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), *args]
        result = run(*command, env=self.environ, stdin=subprocess.DEVNULL, **kwargs)
        said = result.stdout + result.stderr
        assert result.returncode == code, said
        assert "Traceback" not in said
        return said

    def container(self, service):
        label = "label=com.docker.compose"
        name = self.settings.compose_project_name
        found = docker("ps", "-aq", "--filter", f"{label}.project={name}", "--filter", f"{label}.service={service}")
        assert found, f"no container of {service}"
        return found

    def inspect(self, service):
        return json.loads(docker("inspect", self.container(service)))[0]

    def sh(self, service, command):
        """Output of a shell command in a running service."""
        return docker("exec", self.container(service), "bash", "-c", command)

    def sql(self, query):
        command = ["psql", "-h", "127.0.0.1", "-U", "airflow", "-d", "airflow", "-Atc", query]
        password = (self.settings.secrets_dir / "postgres_password").read_text()
        return docker("exec", "-e", f"PGPASSWORD={password}", self.container("postgres"), *command)

    def remove(self):
        """Take away all that the project has made in the engine."""
        image = self.settings.airflow_image
        run(
            sys.executable,
            "-m",
            "invoke",
            "--search-root",
            str(PROJECT),
            "down",
            "--volumes",
            "--yes",
            env=self.environ,
        )
        for tag in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", image).split():
            run("docker", "image", "rm", tag)


@pytest.fixture(scope="session")
def stack(images, tmp_path_factory):
    """A project that `inv` alone has brought up, as the uid that production uses."""
    project = Project(
        tmp_path_factory.mktemp("stack with blanks"),
        images,
        AIRFLOW_IMAGE="airflow-docker-test/stack",
        AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL="2",
        **({"AIRFLOW_UID": "1001"} if os.geteuid() == 0 else {}),
    )
    try:
        project.said = project.inv()  # the default task, on a fresh .env
        yield project
    finally:
        project.remove()


@pytest.fixture
def project(images, tmp_path):
    """A project that nothing has been done with yet."""
    made = Project(tmp_path, images, AIRFLOW_IMAGE="airflow-docker-test/other")
    try:
        yield made
    finally:
        made.remove()
