"""Real engines, images and running stacks, shared by all test folders: see ``pytest_plugins`` in conftest.py."""

import os
import shutil
import subprocess

import pytest

from stack.conftest import AIRFLOW_3, FLAVOURS, TEST_IMAGES, ComposeProject, StandaloneProject, docker, run

HASH = "?" * 12
"""The end of a test image's tag."""


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
    """Requires a Docker engine: without one, tests fail in CI and are skipped elsewhere."""
    reason = _missing_engine()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"container tests must run in CI, but {reason}; see .ci/run")
    if reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture(scope="session")
def images(docker_engine):
    """Settings of the images: from the environment, else the test images if they are built, else the defaults."""
    names = {"AIRFLOW_BASE_IMAGE": f"airflow:2.11.2-{HASH}", "POSTGRES_IMAGE": "postgres", "REDIS_IMAGE": "redis"}
    return {
        setting: named
        for setting, name in names.items()
        if (named := os.environ.get(setting) or newest_test_image(name))
    }


def newest_test_image(name):
    """The newest test image on this machine; empty if there is none."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"{TEST_IMAGES}/{name}").split()
    return listed[0] if listed else ""


@pytest.fixture(scope="session")
def images_of_3(images):
    """The same for Airflow 3; AIRFLOW_3_BASE_IMAGE can name its base image."""
    named = os.environ.get("AIRFLOW_3_BASE_IMAGE") or newest_test_image(f"airflow:{AIRFLOW_3}-{HASH}")
    return {k: v for k, v in images.items() if k != "AIRFLOW_BASE_IMAGE"} | (
        {"AIRFLOW_BASE_IMAGE": named} if named else {}
    )


@pytest.fixture(scope="session")
def make_project(request):
    """``make_project(flavour, folder, **settings)`` makes a project in a folder."""

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
"""The one stack that is up, by its flavour."""


def end():
    """Remove the stack that is up."""
    while _up:
        _up.popitem()[1].remove()


@pytest.hookimpl(trylast=True)  # after the item's own fixtures
def pytest_runtest_teardown(item, nextitem):
    """With xdist all tests of a stack run together: remove it afterwards, as an idle stack slows the other tests."""
    group = [some and some.get_closest_marker("xdist_group") for some in (item, nextitem)]
    if "PYTEST_XDIST_WORKER" in os.environ and group[0] != group[1]:
        end()


@pytest.fixture(scope="session")
def stacks(make_project, tmp_path_factory):
    """``stacks(flavour)``: a project that plain `inv` has started; only one exists at a time."""

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
                # the uid of production
                **({"AIRFLOW_UID": "1001"} if os.geteuid() == 0 and flavour.startswith("compose") else {}),
            )
            # By default Airflow 2 starts four web workers, which slow the other tests.
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
    """A running stack of each flavour in turn."""
    return stacks(request.param)


@pytest.fixture
def dags(stack):
    """The DAG folder; files that a test adds are removed afterwards."""
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
    """A new project of each flavour in turn: no verb has run yet."""
    project = make_project(request.param, tmp_path)
    try:
        yield project
    finally:
        project.remove()
