"""The bill of materials from a Python's inventory, and that inventory."""

import json
import random
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from airflow_docker.engines import inventory
from airflow_docker.verbs import sbom

FINGERPRINT = "0123456789abcdef" * 4
LABELS = {
    "id": "sha256:aa",
    "airflow-docker.fingerprint": FINGERPRINT,
    "airflow-docker.base.id": "sha256:bb",
    "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
}
MARKERS = inventory.markers() | {"python_version": "3.11", "sys_platform": "linux"}
LOCK = f"""b-two==2.0 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
gitted @ git+https://me:hunter2@h/x.git@{"3" * 40}
tokened @ git+https://hunter2@h/x.git@{"3" * 40}
older==1.0 \\
    --hash=sha256:{"4" * 64}
"""


def distribution(name, version="1.0", requires=(), licence="", classifiers=()):
    return {
        "name": name, "version": version, "requires": list(requires), "license": licence,
        "classifiers": list(classifiers),
    }  # fmt: skip


def inventory_with(*distributions, lock=LOCK):
    return {"python": "3.11", "distributions": list(distributions), "markers": MARKERS, "lock": lock}


def sbom_of(*distributions, artifact=f"team/airflow:{FINGERPRINT[:12]}", labels=LABELS):
    text = sbom.bill_of_materials(artifact, labels, inventory_with(*distributions))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def components(*distributions):
    return {component["name"]: component for component in sbom_of(*distributions)["components"]}


def test_the_artifact_is_named_by_what_it_is():
    metadata = sbom_of(distribution("a"))["metadata"]
    assert metadata["timestamp"] == "2026-01-02T03:04:05+00:00"
    component = metadata["component"]
    assert (component["type"], component["name"], component["version"]) == (
        "container",
        "team/airflow",
        FINGERPRINT[:12],
    )
    properties = {p["name"]: p["value"] for p in component["properties"]}
    assert properties == {
        ("airflow-docker.image.id" if name == "id" else name): value for name, value in LABELS.items()
    }
    labels = {name: value for name, value in LABELS.items() if name not in ("id", "airflow-docker.base.id")}
    component = sbom_of(distribution("a"), artifact=f"/some/where/standalone/{FINGERPRINT[:12]}", labels=labels)[
        "metadata"
    ]["component"]
    assert (component["type"], component["name"], component["version"]) == (
        "application",
        "standalone",
        FINGERPRINT[:12],
    )


def test_the_same_artifact_gives_the_same_bytes_and_another_does_not():
    packages = [distribution(f"p{n}", requires=[f"p{n + 1}"], licence="MIT") for n in range(20)]
    first = sbom.bill_of_materials("a:b", LABELS, inventory_with(*packages))
    random.Random(7).shuffle(packages)
    assert sbom.bill_of_materials("a:b", LABELS, inventory_with(*packages)) == first
    other = sbom.bill_of_materials("a:b", LABELS | {"airflow-docker.fingerprint": "f" * 64}, inventory_with(*packages))
    assert json.loads(other)["serialNumber"] != json.loads(first)["serialNumber"]


def test_hashes_are_those_of_the_lock_for_what_came_from_it():
    parts = components(distribution("B_two", "2.0"), distribution("older", "0.9"), distribution("of-the-base"))
    assert [h["content"] for h in parts["B_two"]["hashes"]] == ["1" * 64, "2" * 64]
    assert parts["B_two"]["purl"] == "pkg:pypi/b-two@2.0"
    assert "hashes" not in parts["older"]  # the lock is of another version
    assert "hashes" not in parts["of-the-base"]


def test_what_comes_from_git_says_so_and_shows_no_password():
    for component in components(distribution("gitted"), distribution("tokened")).values():
        assert (
            "vcs_url=git%2Bhttps" in component["purl"]
            and "3" * 40 in component["purl"]
            and "hunter2" not in component["purl"]
        )


@pytest.mark.parametrize(
    ("licence", "classifiers", "licenses"),
    [
        ("MIT", (), [{"license": {"id": "MIT"}}]),
        ("Apache-2.0 AND MIT", (), [{"expression": "Apache-2.0 AND MIT"}]),
        ("BSD, more or less", (), [{"license": {"name": "BSD, more or less"}}]),
        (
            "UNKNOWN",
            ["License :: OSI Approved", "License :: OSI Approved :: BSD License"],
            [{"license": {"name": "BSD License"}}],
        ),
        ("Copyright\nand all the text", ["License :: Freeware"], [{"license": {"name": "Freeware"}}]),
        ("", (), None),
    ],
)
def test_licences_are_what_the_package_says(licence, classifiers, licenses):
    assert components(distribution("a", licence=licence, classifiers=classifiers))["a"].get("licenses") == licenses


def test_a_package_needs_what_applies_there_and_extras_where_they_are_asked_for():
    graph = sbom.dependencies(
        [
            distribution("a", requires=["B[fast] >= 1", "on-windows; sys_platform == 'win32'", "not-here", "a[more]"]),
            distribution("old", requires=["d (>=1.*)", "slow"]),
            distribution(
                "b", requires=["fast; extra == 'fast'", "slow; extra == 'slow'", "d; python_version >= '3.8'"]
            ),
            *map(distribution, ("d", "fast", "slow", "on-windows")),
        ],
        MARKERS,
    )
    assert graph == {
        "a": {"b"},
        "b": {"fast", "d"},
        "d": set(),
        "fast": set(),
        "slow": set(),
        "on-windows": set(),
        "old": {"slow"},
    }


def test_all_packages_are_reached_from_the_artifact_also_those_that_need_each_other():
    graph = {"a": set(), "x": {"y"}, "y": {"x", "a"}, "z": {"a"}, "alone": set()}
    assert sbom.find_roots(graph) == ["x", "z", "alone"]
    root = next(
        d
        for d in sbom_of(distribution("x", requires=["y"]), distribution("y", requires=["x"]))["dependencies"]
        if d["ref"] == FINGERPRINT
    )
    assert root["dependsOn"] == ["x==1.0"]


def test_a_python_lists_what_it_would_import(tmp_path):
    for folder, version in (("first", "2"), ("second", "1")):
        info = tmp_path / folder / "twice-0.dist-info"
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.4\nName: twice\nVersion: {version}\nLicense-Expression: MIT\n"
            "Requires-Dist: other>=1\nClassifier: License :: X\nClassifier: Topic :: Y\n"
        )
    (tmp_path / "first" / "broken-1.dist-info").mkdir()  # left behind by an interrupted removal
    (tmp_path / "lock").write_text("a==1\n")
    command = [sys.executable, "-S", "-c", inventory.SOURCE, str(tmp_path / "lock")]
    paths = {"PYTHONPATH": f"{tmp_path / 'first'}:{tmp_path / 'second'}"}
    listed = json.loads(subprocess.run(command, env=paths, capture_output=True, text=True, check=True).stdout)
    assert listed["distributions"] == [distribution("twice", "2", ["other>=1"], "MIT", ["License :: X"])]
    assert listed["lock"] == "a==1\n" and listed["markers"]["sys_platform"] == sys.platform
    command.pop()
    assert (
        json.loads(subprocess.run(command, env=paths, capture_output=True, text=True, check=True).stdout)["lock"] == ""
    )
