"""Images pinned by digest, from a registry on loopback: they are pulled and reported; an unknown digest is refused."""

import os
import re
import shutil
import subprocess
import urllib.request

import pytest

from airflow_docker.engines import images as images_of_engine
from airflow_docker.engines.compose.engine import Compose
from stack.conftest import docker, free_port, run, until

ON = ("compose",)
NONE = "sha256:" + "0" * 64


def answers(address):
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def registry(docker_engine, tmp_path_factory):
    """The address of an empty registry. Docker accepts plain HTTP only on this machine."""
    if shutil.which("docker-registry") is None:
        message = "there is no docker-registry on PATH; see .ci/registry"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    folder, address = tmp_path_factory.mktemp("registry"), f"127.0.0.1:{free_port()}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{folder}/data'}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            until(lambda: answers(address))
            yield address
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def pushed(registry, images):
    """``pushed(setting, default)``: push an image that exists only in the registry; its name with tag and digest."""
    digests = []

    def push(setting, default):
        name = f"{registry}/{setting.lower()}:here"
        recipe = f"FROM {images.get(setting, default)}\nLABEL test={registry}\n"
        result = run("docker", "build", "--quiet", "--tag", name, "-", input=recipe)
        assert result.returncode == 0, result.stderr
        docker("push", "--quiet", name)
        known = docker("image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", name).split()
        digest = next(one for one in known if one.startswith(f"{registry}/"))
        digests.append(digest)
        docker("image", "rm", name)
        return f"{name}@{digest.partition('@')[2]}"

    yield push
    for digest in digests:
        run("docker", "image", "rm", digest)


def finding(project, check):
    return next(one for one in project.json("doctor")["checks"] if one["name"] == check)


def test_a_pinned_base_image_is_pulled_and_reported_and_a_wrong_digest_is_refused(project, pushed):
    default = project.settings.airflow_base_image
    project.inv("pull")
    pinned = pushed("AIRFLOW_BASE_IMAGE", default)
    name, _, digest = pinned.partition("@")

    project.set(AIRFLOW_BASE_IMAGE=f"{name}@{NONE}")  # the tag exists, and must be ignored
    assert finding(project, "base image")["state"] == "error"
    output = project.inv("build", code=1)
    assert f"AIRFLOW_BASE_IMAGE: {name}@{NONE} is not on this machine and could not be pulled" in output
    assert output.rstrip().endswith("Check the name, its digest and your connection, or log in: docker login")

    project.set(AIRFLOW_BASE_IMAGE=pinned)
    assert f"{pinned} is not here; it can be pulled" in finding(project, "base image")["found"]
    project.inv("build")
    output = project.inv("image")
    assert re.search(rf"base\.name +{re.escape(pinned)}", output)
    assert re.search(rf"org\.opencontainers\.image\.base\.digest +{digest}", output)
    assert re.search(rf"airflow-docker\.base\.digest +{re.escape(name.removesuffix(':here'))}@{digest}", output)
    assert f'"value": "{digest}"' in project.inv("sbom")
    assert f"{pinned} is here" in finding(project, "base image")["found"]

    # The same image by its tag causes another build, so that the labels name the tag.
    before = project.json_of_build()["artifact"]
    docker("tag", pinned, name)
    try:
        project.set(AIRFLOW_BASE_IMAGE=name)
        project.inv("build")
        assert project.json_of_build()["artifact"] != before
    finally:
        docker("image", "rm", name)


def test_a_base_image_without_a_digest_is_said_to_have_none(project, images):
    base = project.settings.airflow_base_image
    if docker("image", "inspect", "--format", "{{len .RepoDigests}}", base) != "0":
        pytest.skip(f"{base} is from a registry")
    project.inv("pull", "build")
    output = project.inv("image")
    assert re.search(r"airflow-docker\.base\.digest +none \(not from a registry: known by its id alone\)", output)
    identity = docker("image", "inspect", "--format", "{{.Id}}", base)
    assert re.search(rf"airflow-docker\.base\.id +{identity}", output)
    assert "org.opencontainers.image.base.digest" not in output


def test_a_pinned_database_runs_and_status_shows_which(project, pushed):
    pinned = pushed("POSTGRES_IMAGE", project.settings.postgres_image)
    project.set(POSTGRES_IMAGE=pinned)
    project.inv("secrets")
    engine = Compose(project.settings)
    images_of_engine.require(pinned, "POSTGRES_IMAGE")
    # Only the database, with the command of `inv up`.
    run(*engine.up_command(["postgres"]), env=os.environ | engine.environment())
    services = until(lambda: [one for one in project.json("status")["services"] if one["health"] == "healthy"], 180)
    assert [(one["name"], one["image"]) for one in services] == [("postgres", pinned)]
    assert services[0]["image_id"] == docker("image", "inspect", "--format", "{{.Id}}", pinned)
    project.inv("down", "--volumes", "--yes")
