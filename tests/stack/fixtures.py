"""Real engines, real images and running stacks, shared by all folders of tests: see ``pytest_plugins`` in conftest.py."""

import os
import shutil
import subprocess

import pytest

from stack.conftest import AIRFLOW_3, FLAVOURS, TEST_IMAGES, ComposeProject, StandaloneProject, docker, run

HASH = "?" * 12
"""The end of a stand-in's tag."""


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
    """A Docker engine: in CI it must be there, elsewhere its absence is in the summary."""
    reason = _missing_engine()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"container tests must run in CI, but {reason}; see .ci/run")
    if reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture(scope="session")
def images(docker_engine):
    """The images' settings: from the environment, else the stand-ins if they are here, else the defaults."""
    names = {"AIRFLOW_BASE_IMAGE": f"airflow:2.11.2-{HASH}", "POSTGRES_IMAGE": "postgres", "REDIS_IMAGE": "redis"}
    return {
        setting: named
        for setting, name in names.items()
        if (named := os.environ.get(setting) or newest_test_image(name))
    }


def newest_test_image(name):
    """A stand-in that is here, the newest; empty if there is none."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{TEST_IMAGES}/{name}").split()
    return listed[0] if listed else ""


@pytest.fixture(scope="session")
def images_of_3(images):
    """The same for Airflow 3, whose base image AIRFLOW_3_BASE_IMAGE may name."""
    named = os.environ.get("AIRFLOW_3_BASE_IMAGE") or newest_test_image(f"airflow:{AIRFLOW_3}-{HASH}")
    return {k: v for k, v in images.items() if k != "AIRFLOW_BASE_IMAGE"} | (
        {"AIRFLOW_BASE_IMAGE": named} if named else {}
    )


@pytest.fixture(scope="session")
def make_project(request):
    """A project of one of the flavours, in a folder."""

    def make(flavour, folder, **settings):
        settings = FLAVOURS[flavour] | settings
        if flavour.startswith("standalone"):
            project = StandaloneProject(folder, **settings)
        else:
            images = "images_of_3" if settings.get("AIRFLOW_VERSION") == AIRFLOW_3 else "images"
            project = ComposeProject(folder, **request.getfixturevalue(images), **settings)
        project.flavour = flavour
        return project

    return make


_up = {}
"""The stack that is up, by its flavour."""


def end():
    """Take away the stack that is up."""
    while _up:
        _up.popitem()[1].remove()


@pytest.hookimpl(trylast=True)  # when its own fixtures have ended
def pytest_runtest_teardown(item, nextitem):
    """With xdist all tests of a stack come together: one that idles afterwards takes from the others."""
    group = [some and some.get_closest_marker("xdist_group") for some in (item, nextitem)]
    if "PYTEST_XDIST_WORKER" in os.environ and group[0] != group[1]:
        end()


@pytest.fixture(scope="session")
def stacks(make_project, tmp_path_factory):
    """A project that `inv` alone has brought up, of the flavour that is asked for; there is one at a time."""

    def get(flavour):
        if flavour not in _up:
            end()
            folder = tmp_path_factory.mktemp(f"{flavour} with blanks")
            (folder / "extra mount").mkdir()
            _up[flavour] = project = make_project(
                flavour,
                folder,
                MEMORY_LIMIT="3g",
                EXTRA_MOUNTS="extra mount:/home/airflow/extra",
                # the uid that production uses
                **({"AIRFLOW_UID": "1001"} if os.geteuid() == 0 and flavour.startswith("compose") else {}),
            )
            # Airflow 2 loads the page four times otherwise, which takes from the other tests.
            workers = {"AIRFLOW__WEBSERVER__WORKERS": "1"} if project.release.number == 2 else {}
            project.set(**{project.interval: "2"}, **workers)
            project.up_output = project.inv()  # the default task, on a fresh .env
        return _up[flavour]

    try:
        yield get
    finally:
        end()


@pytest.fixture(scope="session")
def stack(request, stacks):
    """A running stack, of each flavour in turn."""
    return stacks(request.param)


@pytest.fixture
def dags(stack):
    """The folder of the DAGs; what a test puts there is gone afterwards."""
    folder = stack.settings.workflow_dev_dir / stack.settings.dags_dir
    before = set(folder.iterdir())
    yield folder
    for entry in set(folder.iterdir()) - before:
        if entry.is_file():
            entry.unlink()
        elif entry.name != "__pycache__":
            shutil.rmtree(entry)


@pytest.fixture
def project(request, make_project, tmp_path):
    """A project that nothing has been done with yet, of each flavour in turn."""
    project = make_project(request.param, tmp_path)
    try:
        yield project
    finally:
        project.remove()
