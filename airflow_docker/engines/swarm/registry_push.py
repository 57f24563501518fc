"""Images for all hosts: each is pulled from a registry, by its digest."""

from __future__ import annotations

from typing import Any

from airflow_docker import console, shell
from airflow_docker.engines import images
from airflow_docker.errors import UserError


def copy_name(inspected: dict[str, Any], name: str, registry: str) -> str:
    """The name of an image in ``registry``."""
    if name.startswith(f"{registry}/"):
        return name
    base = images.repository_of(name).rpartition("/")[2]
    return f"{registry}/{base}:{inspected['Id'].removeprefix('sha256:')[:12]}"


def is_public(inspected: dict[str, Any], name: str, registry: str) -> bool:
    """True if it was pulled, by its own name, from elsewhere than ``registry``: others can pull it too."""
    digest = images.digest_of(inspected, name)
    own = images.repository_of(digest) == images.repository_of(name) or images.pin_of(digest) == images.pin_of(name)
    return bool(digest) and own and not name.startswith(f"{registry}/")


def reference(name: str, registry: str) -> str:
    """The name by which all hosts pull it; without a digest if no registry has it yet."""
    inspected = images.inspect(name)
    if inspected is None:
        return name
    known = inspected if is_public(inspected, name, registry) else _of(registry, inspected)
    return images.digest_of(known, name) or name


def _of(registry: str, inspected: dict[str, Any]) -> dict[str, Any]:
    """The same, with only the digests of ``registry``."""
    return {"RepoDigests": [d for d in inspected.get("RepoDigests") or [] if d.startswith(f"{registry}/")]}


def push(name: str, where: str, registry: str) -> None:
    """Put an image into ``registry``, unless it is from another one. Raises UserError if that fails."""
    inspected = images.require(name, where)
    if is_public(inspected, name, registry):
        return
    copy = copy_name(inspected, name, registry)
    if copy != name:
        shell.capture(["docker", "tag", name, copy])
    with console.step(f"Pushing {copy}"):
        result = shell.capture(["docker", "push", "--quiet", copy])
        # Pushed before, so all hosts can pull it: a failed push must not prevent a start.
        if result.returncode and _of(registry, inspected)["RepoDigests"]:
            console.warn(f"{registry} does not take {copy}, which it has had before: {result.stderr.strip()}")
        elif result.returncode:
            last_line = (result.stderr.strip() or "no reason given").splitlines()[-1]
            todo = f"Is it there, and are you logged in? Try: docker push {copy}"
            raise UserError("IMAGE_REGISTRY", f"{registry} does not take {copy} ({last_line}).", todo)
