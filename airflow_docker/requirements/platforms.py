"""What an Airflow is installed on: a base image, or the Python of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Platform:
    """A Python with packages and its machine.

    ``architecture`` is Docker's name for it; empty for this machine;
    ``packages`` maps installed distributions to their versions, ``requires`` to what they
    declare to need (Requires-Dist); ``created`` is in RFC 3339. ``tested`` maps packages
    to the versions that this Airflow was tested with: preferred, not installed. ``digest`` is the
    image's digest in a registry; empty if it is not known, or if this is not an image.
    """

    name: str
    id: str
    architecture: str
    airflow_version: str
    python: str
    packages: dict[str, str]
    requires: dict[str, list[str]]
    created: str
    tested: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    @property
    def identity(self) -> str:
        """Its part of a build's fingerprint: the id, and the digest if the name has one."""
        return self.id + self.name.partition("@")[2]
