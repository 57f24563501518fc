"""Images of the Docker engine: their names, labels and contents."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from airflow_docker import console, files, shell
from airflow_docker.engines import endpoint, inventory
from airflow_docker.errors import UserError
from airflow_docker.requirements.platforms import Platform

ASK_SECONDS = 10.0
"""A daemon that hangs must not hang us."""
REGISTRY_SECONDS = 4.0
"""How long a check waits for a registry."""
INSTALLED = "/opt/airflow-docker/installed.lock"
"""In our images: the part of the lock that was installed, without what the base image had."""
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3})(:\d+)?/")
LABELS = ("airflow-docker.", "org.opencontainers.image.", "org.apache.airflow.")
"""The prefixes of the labels that describe our images."""


def inspect_command(name: str) -> list[str]:
    return ["docker", "image", "inspect", name]


def pull_command(name: str) -> list[str]:
    return ["docker", "pull", name]


def manifest_command(name: str) -> list[str]:
    """Asks the registry whether it has the image, and pulls nothing.

    For a name with tag and digest Docker would ask for the tag here, though it pulls by the digest: so the
    tag is left out. Plain http is allowed for registries on this machine, as in the engine.
    """
    pinned = f"{repository_of(name)}@{digest}" if (digest := pin_of(name)) else name
    return ["docker", "manifest", "inspect", *(["--insecure"] if _LOOPBACK.match(name) else []), pinned]


def pin_of(name: str) -> str:
    """The digest in a name; empty if there is none."""
    return name.partition("@")[2]


def repository_of(name: str) -> str:
    """An image's name without tag and digest."""
    return re.sub(r":[^:/]*$", "", name.partition("@")[0])


def digest_of(inspected: dict[str, Any], name: str) -> str:
    """An image's name with digest in a registry, like ``apache/airflow@sha256:…``; empty if the engine knows none.

    An image that was only built or loaded here has none. Of several it is the one with the digest of
    ``name``, else one of its own repository, else the first.
    """
    known = sorted(inspected.get("RepoDigests") or [])
    pinned = [digest for digest in known if pin_of(name) and pin_of(digest) == pin_of(name)]
    own = [digest for digest in known if repository_of(digest) == repository_of(name)]
    return next(iter([*pinned, *own, *known]), "")


def inventory_command(name: str, lock: str = "") -> list[str]:
    """Lists Python and its packages, without the image's own entry point and without a network."""
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python", name, "-c", inventory.SOURCE]
    return [*command, *([lock] if lock else [])]


def inspect(name: str) -> dict[str, Any] | None:
    """What ``docker image inspect`` prints, or None if the image is not here. Raises UserError without an engine."""
    result = shell.capture(inspect_command(name))
    if result.returncode:
        require_engine()  # without one nothing is known of the image
        return None
    return listed(result.stdout)[0]


def listed(output: str) -> list[dict[str, Any]]:
    """The objects that docker has listed as JSON. Raises UserError if the output is not Docker's."""
    try:
        values = json.loads(output)
    except ValueError:
        values = None
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        what = f"its answer is not that of Docker ({output.strip()[:60]!r})."
        raise UserError("docker", what, "See which program that is: type -a docker")
    return values


def require_engine() -> None:
    """Raise UserError unless a Docker engine answers."""
    todo = "Start Docker Desktop, or on Linux: sudo systemctl start docker. Without Docker: ENGINE=standalone"
    try:
        result = shell.capture(["docker", "version", "--format", "{{.Server.Version}}"], timeout=ASK_SECONDS)
    except shell.TimedOut as late:
        raise UserError("docker", f"the Docker engine has not answered in {late.seconds:g} s.", todo) from None
    except shell.NotFound:
        raise UserError("docker", "there is no docker on PATH.", todo) from None
    if result.returncode and (closed := _closed_socket()):
        what = f"no Docker engine answers, as you may not use its socket {closed}."
        raise UserError(
            "docker", what, "Type: sudo usermod -aG docker $USER, and log in again. " + todo.rpartition(". ")[2]
        )
    if result.returncode:
        raise UserError("docker", "no Docker engine answers.", todo)


def _closed_socket() -> Path | None:
    """The engine's socket, if it exists and this user may not use it."""
    host = endpoint.current().address
    file = Path(host.removeprefix("unix://"))
    return file if host.startswith("unix://") and file.is_socket() and not os.access(file, os.R_OK | os.W_OK) else None


def engine_info(wanted: str) -> str:
    """What `docker info` prints for the template ``wanted``. Raises UserError if it prints nothing."""
    result = shell.capture(["docker", "info", "--format", wanted], timeout=ASK_SECONDS)
    if result.returncode or not result.stdout.strip():
        require_engine()
        last_line = (result.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError("docker info", f"does not answer as expected ({last_line}).", "Try it by hand: docker info")
    return result.stdout.strip()


def require(name: str, where: str) -> dict[str, Any]:
    """The image, pulled if it is not here. Raises UserError naming the setting ``where``."""
    inspected = inspect(name)
    if inspected is None:
        console.say(f"· {name} is not on this machine, pulling it …")
        if shell.stream(pull_command(name)):
            what = f"{name} is not on this machine and could not be pulled (see above)."
            named = "the name, its digest" if pin_of(name) else "the name"
            raise UserError(where, what, f"Check {named} and your connection, or log in: docker login")
        inspected = inspect(name)
    if inspected is None:
        raise UserError(where, f"{name} was pulled and is still not there.", "Try again.")
    return inspected


def base(name: str, version: str, cache: Path) -> Platform:
    """The base image, checked against AIRFLOW_VERSION ``version``; its contents are cached in the file ``cache``.

    Raises UserError if it cannot be pulled, or has no Airflow of this version.
    """
    inspected = require(name, "AIRFLOW_BASE_IMAGE")
    labels = inspected["Config"].get("Labels") or {}
    cached = _cached(cache)
    if cached is None or cached.id != inspected["Id"]:
        result = shell.capture(inventory_command(name))
        if result.returncode:
            what = (
                f"{name} holds no Python that starts ({(result.stderr.strip() or 'no reason given').splitlines()[-1]})."
            )
            raise UserError("AIRFLOW_BASE_IMAGE", what, "Name an image built like apache/airflow.")
        holds = json.loads(result.stdout)
        packages = {one["name"]: one["version"] for one in holds["distributions"]}
        requires = {one["name"]: one["requires"] for one in holds["distributions"]}
        has = labels.get("org.apache.airflow.version") or packages.get("apache-airflow", "none")
        cached = Platform(
            name,
            inspected["Id"],
            inspected["Architecture"],
            has,
            holds["python"],
            packages,
            requires,
            inspected["Created"],
        )
        files.write(cache, json.dumps(asdict(cached), indent=1).encode())
    if cached.airflow_version != version:
        what = f"{name} holds Airflow {cached.airflow_version}, but AIRFLOW_VERSION is {version}."
        todo = f"Name an image that holds {version}, or none for the official one."
        raise UserError("AIRFLOW_BASE_IMAGE", what, todo)
    return replace(cached, name=name, digest=digest_of(inspected, name))  # one image may have several names and digests


def _cached(cache: Path) -> Platform | None:
    try:
        return Platform(**json.loads(cache.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def pulls_through_proxy() -> bool:
    """True if the engine pulls through a proxy or mirror; the question for a manifest goes past them."""
    return engine_info("{{.HTTPProxy}}{{.HTTPSProxy}}{{.RegistryConfig.Mirrors}}") != "[]"
