"""Which engine Docker's client talks to, read from its variables and files: nothing is started.

https://docs.docker.com/engine/manage-resources/contexts/ says which of them counts.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from airflow_docker import files

DEFAULT = "unix:///var/run/docker.sock"
_OWN, _DESKTOP = "default", "desktop-linux"
"""The contexts of this machine's own engine, and of Docker Desktop."""


@dataclass(frozen=True)
class Endpoint:
    """The engine's ``address``, and its ``origin``: a variable, a context, or nothing where it is the usual one."""

    address: str
    origin: str = ""

    @property
    def shown(self) -> str:
        return self.address + (f" ({self.origin})" if self.origin else "")

    @property
    def is_elsewhere(self) -> bool:
        """True if the address is that of another machine. Looks a host name up, which may take time."""
        try:
            parts = urlsplit(self.address if "://" in self.address else f"tcp://{self.address}")
        except ValueError:  # docker refuses it too, and says so
            return False
        return parts.scheme not in ("unix", "npipe", "fd") and not _is_own(parts.hostname or "")

    @property
    def remedy(self) -> str:
        """What to type to have the client talk to an engine of this machine."""
        if os.environ.get("MINIKUBE_ACTIVE_DOCKERD"):
            return "eval $(minikube docker-env --unset)"
        if self.origin in ("DOCKER_HOST", "DOCKER_CONTEXT"):
            return f"unset {self.origin}"
        is_desktop_there = _meta(_DESKTOP).is_file() and self != _of_context(_DESKTOP)
        return f"docker context use {_DESKTOP if is_desktop_there else _OWN}"


def current() -> Endpoint:
    """The engine that the next call of docker is for."""
    if host := os.environ.get("DOCKER_HOST"):
        return Endpoint(host, "DOCKER_HOST")
    if named := os.environ.get("DOCKER_CONTEXT"):
        return Endpoint(_of_context(named).address, "DOCKER_CONTEXT")
    used = files.read_object(_config() / "config.json").get("currentContext")
    return _of_context(used) if isinstance(used, str) and used else Endpoint(DEFAULT)


def _of_context(name: str) -> Endpoint:
    """If there is no such context, docker itself reports it."""
    if name == _OWN:
        return Endpoint(DEFAULT)
    endpoints = files.read_object(_meta(name), "Endpoints").get("Endpoints")
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = endpoint.get("Host") if isinstance(endpoint, dict) else None
    return Endpoint(str(host or DEFAULT), f"context {name}")


def _meta(name: str) -> Path:
    return _config() / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"


def _config() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _is_own(host: str) -> bool:
    """True if ``host`` is an address of this machine: only those can be bound to."""
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind(address)
    except (OSError, UnicodeError):
        return False
    return True
