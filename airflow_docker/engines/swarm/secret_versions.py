"""The files of SECRETS_DIR as secrets of Swarm, each version by a name of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_docker import shell
from airflow_docker.engines.swarm import commands
from airflow_docker.engines.swarm.stack import secret_name
from airflow_docker.errors import UserError

LARGEST = 500 * 1000
"""Bytes of one secret, as Swarm has it."""


@dataclass(frozen=True)
class SecretVersions:
    """The secrets of one project; ``files`` maps their names to files, ``key`` is what names are made with."""

    project: str
    files: dict[str, Path]
    key: str = field(repr=False)

    def names(self) -> dict[str, str]:
        """By name the version that is wanted now."""
        return {name: secret_name(self.project, name, self._content(name), self.key) for name in self.files}

    def _content(self, name: str) -> str:
        """Swarm takes none that is empty; a reader of these files does not mind a line that is."""
        file = self.files[name]
        content = file.read_text() if file.is_file() else ""
        if len(content.encode()) > LARGEST:
            raise UserError(str(file), "Swarm takes secrets of 500 kB at most.", "Name some sections of it alone.")
        return content or "\n"

    def create(self, wanted: Iterable[str]) -> None:
        """Hand over those of ``wanted``, names of ours, that Swarm does not have yet."""
        existing, names = self.existing(), self.names()
        for name in wanted:
            if names[name] not in existing:
                result = shell.capture(commands.create_secret(self.project, names[name]), stdin=self._content(name))
                if result.returncode:
                    raise UserError(name, f"Swarm refuses it ({result.stderr.strip()}).", "Fix that and type: inv up")

    def existing(self) -> list[str]:
        """All that Swarm has of this project."""
        return shell.capture(commands.secrets(self.project)).stdout.split()

    def remove(self, but: Iterable[str] = ()) -> None:
        """Have none in Swarm but these; one that something still uses stays until the next time."""
        wanted = set(but)
        for name in [name for name in self.existing() if name not in wanted]:
            shell.capture(["docker", "secret", "rm", name])
