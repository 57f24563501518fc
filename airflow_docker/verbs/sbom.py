"""`inv sbom`: the Python packages of the last build as a bill of materials (CycloneDX, https://cyclonedx.org)."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_docker import console, files
from airflow_docker.engines import Engine
from airflow_docker.errors import UserError
from airflow_docker.requirements import resolver
from airflow_docker.requirements.requirement_files import normal
from airflow_docker.verbs import builds

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packaging.requirements import Requirement

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "airflow-docker")
_IMAGE_ID = "airflow-docker.image.id"
_LONGEST_LICENSE = 100
"""Some packages give the whole text of their licence where its name should stand."""


def write(engine: Engine, file: Path | None) -> None:
    """Write it to ``file``, or to standard output. Raises UserError if nothing is built, or if the file exists."""
    artifact = builds.require_last(engine)
    if file:
        files.require_new(file, "--file")
    labels = engine.builder.labels(artifact)
    if labels is None:  # removed in this very moment
        raise UserError(artifact, "it is not there any more.", "Type: inv build")
    inventory = engine.builder.inventory(artifact)
    if not inventory["lock"]:
        console.warn(f"{artifact} does not say what of it came from the lock: no hashes. Type: inv build")
    text = bill_of_materials(artifact, labels, inventory)
    if file:
        files.write(file, f"{text}\n".encode())
        console.done(f"{len(inventory['distributions'])} packages of {artifact} in {file}")
    else:
        console.out(text)


def bill_of_materials(artifact: str, labels: Mapping[str, str], inventory: Mapping[str, Any]) -> str:
    """The bill of an artifact with these labels, whose Python ``inventory`` this (see inventory.py).

    The same artifact gives the same bytes: the time is that of the commits, the serial number
    made of the fingerprint.
    """
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    fingerprint, is_image = labels["airflow-docker.fingerprint"], "id" in labels
    application = Component(
        name=artifact.rpartition(":")[0] if is_image else Path(artifact).parent.name,
        version=fingerprint[:12],
        type=ComponentType.CONTAINER if is_image else ComponentType.APPLICATION,
        bom_ref=fingerprint,
        properties=[Property(name=_IMAGE_ID if name == "id" else name, value=labels[name]) for name in labels],
    )
    tool = Component(name="airflow-docker", type=ComponentType.APPLICATION)
    created = datetime.fromisoformat(labels["org.opencontainers.image.created"])
    lock = {normal(name): block for block in resolver.blocks(inventory["lock"]) for name in resolver.locked(block)}
    components = {
        normal(distribution["name"]): _component_of(distribution, lock) for distribution in inventory["distributions"]
    }
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, fingerprint),
        metadata=BomMetaData(timestamp=created, component=application, tools=ToolRepository(components=[tool])),
        components=components.values(),
    )
    graph = dependencies(inventory["distributions"], inventory["markers"])
    bom.register_dependency(application, [components[name] for name in find_roots(graph)])
    for name, others in graph.items():
        bom.register_dependency(components[name], [components[other] for other in sorted(others)])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def _component_of(distribution: Mapping[str, Any], lock: Mapping[str, str]) -> Component:
    """A distribution, with its entry in the lock file if it was installed from there."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component
    from packageurl import PackageURL
    from packaging.version import Version

    name, version = normal(distribution["name"]), distribution["version"]
    block = lock.get(name, "")
    source = next(iter(resolver.locked(block).values()), "")
    is_ours = "://" in source or (source and Version(source) == Version(version))
    origin = {"vcs_url" if source.startswith("git+") else "download_url": _public(source)} if "://" in source else {}
    purl = PackageURL("pypi", None, name, version, origin)
    return Component(
        name=distribution["name"], version=version, purl=purl, bom_ref=f"{name}=={version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in _hashes(block)] if is_ours else [],
        licenses=_licenses(distribution["license"], distribution["classifiers"]),
    )  # fmt: skip


def _public(url: str) -> str:
    """A URL without user and password."""
    return re.sub(r"(://)[^/@]*@", r"\1", url)


def _hashes(block: str) -> list[str]:
    """The SHA-256 of each file that the lock file allows for a package; one of them was installed."""
    return re.findall(r"--hash=sha256:([0-9a-f]{64})", block)


def _licenses(expression: str, classifiers: Iterable[str]) -> list[License]:
    """The licence of a package by its metadata: an SPDX expression, a name, its classifiers, or nothing."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    factory = LicenseFactory()
    expression = expression.strip()
    if (
        expression
        and expression.upper() != "UNKNOWN"
        and "\n" not in expression
        and len(expression) <= _LONGEST_LICENSE
    ):
        return [factory.make_from_string(expression)]
    names = sorted({classifier.split(" :: ")[-1] for classifier in classifiers} - {"OSI Approved"})
    return [factory.make_with_name(name) for name in names]


def _requirements(texts: Iterable[str]) -> list[Requirement]:
    """The requirements of a package, without those that PEP 440 no longer allows."""
    from packaging.requirements import InvalidRequirement, Requirement

    parsed = []
    for text in texts:
        with contextlib.suppress(InvalidRequirement):
            parsed.append(Requirement(text))
    return parsed


def dependencies(distributions: Iterable[Mapping[str, Any]], markers: Mapping[str, str]) -> dict[str, set[str]]:
    """Package -> packages that it requires in this environment, by its metadata.

    The requirements of an extra count if another package requires that extra.
    """
    requires = {normal(distribution["name"]): _requirements(distribution["requires"]) for distribution in distributions}
    graph: dict[str, set[str]] = {name: set() for name in requires}
    pending = [(name, "") for name in requires]
    seen = set(pending)
    while pending:
        name, extra = pending.pop()
        for wanted in requires[name]:
            other = normal(wanted.name)
            if other in requires and (not wanted.marker or wanted.marker.evaluate({**markers, "extra": extra})):
                graph[name] |= {other} - {name}
                new = {(other, asked) for asked in wanted.extras} - seen
                seen |= new
                pending += new
    return graph


def find_roots(graph: Mapping[str, set[str]]) -> list[str]:
    """Packages from which all others are reached: those that none requires, and one of each circle."""
    reach = {name: _reachable(name, graph) for name in graph}
    roots: list[str] = []
    left = set(graph)
    for name in sorted(graph, key=lambda name: (-len(reach[name]), name)):  # what leads to another reaches no less
        if name in left:
            roots.append(name)
            left -= reach[name]
    return roots


def _reachable(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    """A package and all that it requires, directly or indirectly."""
    reachable, new = set[str](), {name}
    while new:
        reachable |= new
        new = {other for package in new for other in graph[package]} - reachable
    return reachable
