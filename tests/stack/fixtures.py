"""Real engines, real images and running stacks, shared by all folders of tests: see ``pytest_plugins`` in conftest.py."""

import os
import shutil
import subprocess

import pytest

from stack.conftest import STANDIN, ComposeProject, StandaloneProject, docker, run


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


@pytest.fixture(scope="session")
def docker_engine():
    """A Docker engine: in CI it must be there, elsewhere its absence is told in the summary."""
    reason = _missing_engine()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"container tests must run in CI, but {reason}; see .ci/run")
    if reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture(scope="session")
def images(docker_engine):
    """The images' settings: from the environment, else the stand-ins if they are here, else the defaults."""
    found = {}
    for setting, name in [("AIRFLOW_BASE_IMAGE", "airflow"), ("POSTGRES_IMAGE", "postgres")]:
        listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{STANDIN}/{name}").split()
        if os.environ.get(setting) or listed:
            found[setting] = os.environ.get(setting) or listed[0]
    return found


@pytest.fixture(scope="session")
def make_project(request):
    """A project for one of the engines, in a folder."""

    def make(engine, folder, **settings):
        if engine == "standalone":
            return StandaloneProject(folder, **settings)
        return ComposeProject(folder, **request.getfixturevalue("images"), **settings)

    return make


@pytest.fixture(scope="session")
def stacks(make_project, tmp_path_factory):
    """A project that `inv` alone has brought up, of the engine that is asked for; there is one at a time.

    Tests of one engine come together, and a stack that idles takes from the others.
    """
    made = {}

    def get(engine):
        if engine not in made:
            end()
            folder = tmp_path_factory.mktemp(f"{engine} with blanks")
            made[engine] = project = make_project(
                engine,
                folder,
                AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL="2",
                MEMORY_LIMIT="3g",
                # the uid that production uses
                **({"AIRFLOW_UID": "1001"} if os.geteuid() == 0 and engine == "compose" else {}),
            )
            project.said = project.inv()  # the default task, on a fresh .env
        return made[engine]

    def end():
        while made:
            made.popitem()[1].remove()

    try:
        yield get
    finally:
        end()


@pytest.fixture(scope="session")
def stack(request, stacks):
    """A running stack, of each engine in turn."""
    return stacks(request.param)


@pytest.fixture
def project(request, make_project, tmp_path):
    """A project that nothing has been done with yet, of each engine in turn."""
    made = make_project(request.param, tmp_path)
    try:
        yield made
    finally:
        made.remove()
