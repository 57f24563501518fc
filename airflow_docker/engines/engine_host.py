"""The machine that the engine runs on, as the engine reports it: this one, a virtual machine, or another."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from airflow_docker.engines import images
from airflow_docker.engines.endpoint import Endpoint

_DESKTOP, _ORBSTACK, _COLIMA, _LIMA = "Docker Desktop", "OrbStack", "Colima", "Lima"
_SHARED_ON_MACOS = tuple(map(Path, ("/Users", "/Volumes", "/private", "/tmp", "/var/folders")))  # noqa: S108  to compare
"""What Docker Desktop for Mac shares by default: https://docs.docker.com/desktop/settings-and-maintenance/settings/#file-sharing"""


@dataclass(frozen=True)
class EngineHost:
    """Its host name, and its operating system as text."""

    name: str
    system: str

    @property
    def is_this(self) -> bool:
        return self.name == socket.gethostname() and not self.product

    @property
    def product(self) -> str:
        """The product that runs the virtual machine; empty if it is none that we know."""
        if self.system in (_DESKTOP, _ORBSTACK):
            return self.system
        known = {"colima": _COLIMA, "lima": _LIMA, "minikube": "minikube"}
        return known.get(self.name.partition("-")[0], "")

    @property
    def shown(self) -> str:
        virtual = f", a virtual machine of {self.product}" if self.product else ""
        return f"{self.name}{virtual}"

    def shares(self, folder: Path) -> bool:
        """True if it is a virtual machine that shares ``folder`` by default."""
        home = Path.home()
        known = {_DESKTOP: (home, *_SHARED_ON_MACOS), _ORBSTACK: (Path("/"),), _COLIMA: (home,), _LIMA: (home,)}
        return any(folder.is_relative_to(shared) for shared in known.get(self.product, ()))


def ask() -> EngineHost:
    """Raises UserError if the engine does not answer."""
    name, _, system = images.engine_info("{{.Name}}\t{{.OperatingSystem}}").partition("\t")
    return EngineHost(name, system)


def remedy(host: EngineHost, at: Endpoint, folders: Iterable[Path]) -> str:
    """What to do to have the engine see ``folders``."""
    if host.product == _DESKTOP:
        return "Share them in Docker Desktop: Settings, Resources, File sharing."
    if host.product == _COLIMA:
        profile = host.name.partition("-")[2]
        mounts = " ".join(f"--mount {shlex.quote(f'{folder}:w')}" for folder in folders)
        start = f'colima start{f" {profile}" if profile else ""} --mount "$HOME:w" {mounts}'
        return f"Type: colima stop{f' {profile}' if profile else ''}; {start}"
    return elsewhere(at)


def elsewhere(at: Endpoint) -> str:
    """What to do where the engine is on another machine."""
    advice = "type inv on the machine where the engine runs."
    return f"To use the engine of this machine: {at.remedy}. Or {advice}" if at.origin else advice.capitalize()
