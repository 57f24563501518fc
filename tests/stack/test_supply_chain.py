"""Only locked packages are installed, and a build lists its contents: on both engines."""

import json
import re
import subprocess

import pytest
from conftest import INV, git
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from airflow_docker.requirements.requirement_files import normal
from stack.conftest import docker, run


def locks(project):
    """The lock, and the copy that restores it."""
    folder = project.settings.build_dir / ("standalone" if project.engine == "standalone" else "")
    return [folder / "requirements.lock", folder / "requirements.own.lock"]


@pytest.mark.parametrize("wrong", ["another hash", "no hash"])
def test_what_does_not_have_the_hash_of_the_lock_is_not_installed(project, wrong):
    project.inv("pull", "build")
    good, text = project.json_of_build()["artifact"], locks(project)[0].read_text()
    package = re.search(r"^xxhash==\S+( \\\n    --hash=\S+)+\n", text, re.M)[0]  # no base image has it
    bad = {
        "another hash": re.sub(r"[0-9a-f]{64}", "0" * 64, package),
        "no hash": package.partition(" ")[0] + "\n",
    }[wrong]
    for lock in locks(project):
        lock.write_text(text.replace(package, bad))
    output = project.inv("build", code=1)
    reason = {"another hash": "[Hh]ash mismatch for `?xxhash", "no hash": "must have a hash.*: xxhash"}[wrong]
    assert re.search(reason, " ".join(output.split())), output  # uv wraps its lines
    assert project.json_of_build()["artifact"] == good
    for lock in locks(project):
        lock.write_text(text)
    assert f"{good} is up to date: nothing to build" in project.inv("build")


def bill(project, *args):
    """The exact standard output of `inv sbom`."""
    result = run(*INV, "sbom", *args, env=project.environ, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_bill_of_materials_names_what_is_installed_and_where_it_comes_from(stack, tmp_path):
    text = bill(stack)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    components = {normal(one["name"]): one for one in document["components"]}
    script = "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()})"
    assert set(components) == {normal(name) for name in stack.python(script).split()}

    built = stack.json_of_build()
    described = document["metadata"]["component"]
    assert built["artifact"].endswith(
        f"{described['name']}{':' if stack.engine == 'compose' else '/'}{described['version']}"
    )
    properties = {one["name"]: one["value"] for one in described["properties"]}
    for name in ("ao-workflows", "archive-ops"):
        assert properties[f"airflow-docker.{name}.revision"] == git(
            stack.folder / "sources" / name, "rev-parse", "HEAD"
        )
    if stack.engine == "compose":
        base = docker("image", "inspect", "--format", "{{.Id}}", stack.settings.airflow_base_image)
        assert properties["airflow-docker.base.id"] == base

    lock = locks(stack)[0].read_text()
    for one in components["xxhash"]["hashes"]:
        assert one["alg"] == "SHA-256" and f"--hash=sha256:{one['content']}" in lock
    # Packages of the base image have no known hash.
    assert ("hashes" in components["apache-airflow"]) == (stack.engine == "standalone")
    needs = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert components["sqlalchemy"]["bom-ref"] in needs[components["apache-airflow"]["bom-ref"]]
    assert components["xxhash"]["bom-ref"] in needs[described["bom-ref"]]

    file = tmp_path / "bill.json"
    output = stack.inv("sbom", str(file))
    assert f"{len(components)} packages of {built['artifact']} in {file}" in output
    assert file.read_text() == bill(stack) == text
    assert "this file is there already" in stack.inv("sbom", str(file), code=1)
    assert "there is no folder" in stack.inv("sbom", "--file", str(tmp_path / "none/x.json"), code=1)


def test_status_shows_by_id_what_runs(stack):
    services = stack.json("status")["services"]
    assert services
    for service in services:
        if stack.engine == "standalone":
            assert service["image"] is None and service["image_id"] is None
        else:
            assert service["image_id"] == docker("image", "inspect", "--format", "{{.Id}}", service["image"])


def test_without_a_build_there_is_no_bill(project):
    assert "nothing has been built yet. Type: inv up" in project.inv("sbom", code=1)
