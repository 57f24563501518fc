"""Base images unlike those of the other tests: one with all providers of the official image, and one with a user base
instead of a virtual environment, like the images of Airflow 2.8 and before."""

import os
import re

import pytest

from airflow_docker import PROJECT
from airflow_docker.engines.choice import choose
from airflow_docker.verbs import demo
from stack.conftest import WITH_TRUST, ComposeProject, docker, run
from stack.test_build import compiled, image
from stack.test_compiled import modules_of_services, too_few_compiled

KINDS = {"full": {}, "user-base": {"AIRFLOW_VERSION": "2.8.3"}}


@pytest.fixture
def project_on(images, tmp_path):
    """``project_on(kind)``: a project on a base image built for this test; the project is removed afterwards."""
    projects = []

    def make(kind, **settings):
        built = run(str(PROJECT / "tests/images/build"), kind, timeout=1800)
        assert built.returncode == 0, built.stderr
        base = re.search(r"IMAGE=(\S+)", built.stdout)[1]
        user = {"AIRFLOW_UID": "1001"} if os.geteuid() == 0 else {}
        projects.append(ComposeProject(tmp_path, **images | {"AIRFLOW_BASE_IMAGE": base} | settings | user))
        return projects[0]

    yield make
    for project in projects:
        project.remove()


@pytest.mark.parametrize("kind", [pytest.param("full", marks=WITH_TRUST), "user-base"])
def test_a_work_is_synced_and_services_are_compiled(project_on, kind, tmp_path_factory):
    project = project_on(kind, **KINDS[kind], AIRFLOW__WEBSERVER__WORKERS="1", MEMORY_LIMIT="3g")
    project.set(**{project.interval: "2"})
    assert "webserver is healthy" in project.inv()
    demo.drop_work(choose(project.settings), "W1KIND")
    assert demo.wait_for_arrival(choose(project.settings), "W1KIND").is_dir()
    assert project.json("status")["state"] == "healthy"
    assert project.sh("triggerer", "airflow version 2>/dev/null").endswith(project.settings.airflow_version)

    assert too_few_compiled(modules_of_services(project, tmp_path_factory.mktemp("probe"))) == {}
    states = compiled(image(project))
    assert [file for file, state in states.items() if state != [True, 0b01, True]] == []
    sizes = [int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in
             (image(project), project.settings.airflow_base_image)]  # fmt: skip
    # The web UI of Airflow 2 imports the hooks of all providers: 160 MB of compiled modules in the fuller image.
    assert sizes[0] - sizes[1] < (200e6 if kind == "full" else 150e6)
