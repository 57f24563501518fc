"""What an Airflow is put upon: a base image, or the Python of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Platform:
    """A Python with packages, on a machine of some kind.

    ``architecture`` is Docker's name for it, or nothing for the machine this runs on;
    ``packages`` maps installed distributions to their versions, ``requires`` to what they
    declare to need (Requires-Dist); ``created`` is in RFC 3339. ``tested`` maps packages
    to the versions that this Airflow was tested with: preferred, not installed. ``digest`` is by
    what a registry knows an image; empty if that is not known, or if this is no image.
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
        """What decides what is built upon it: its id, and the digest that its name asks for, if it does."""
        return self.id + self.name.partition("@")[2]
