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
    """The secrets of one project; ``files`` maps their names to files, ``key`` is the HMAC key of their names."""

    project: str
    files: dict[str, Path]
    key: str = field(repr=False)

    def names(self) -> dict[str, str]:
        """The current version of each, by name."""
        return {name: secret_name(self.project, name, self._content(name), self.key) for name in self.files}

    def _content(self, name: str) -> str:
        """Swarm takes no empty secret, so it gets an empty line; readers of these files ignore that."""
        file = self.files[name]
        content = file.read_text() if file.is_file() else ""
        if len(content.encode()) > LARGEST:
            raise UserError(str(file), "Swarm takes secrets of 500 kB at most.", "Name only some of its sections.")
        return content or "\n"

    def create(self, wanted: Iterable[str]) -> None:
        """Create those of ``wanted``, by our names, that Swarm does not have yet."""
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
        """Remove all but these from Swarm; one that is still in use stays until the next time."""
        wanted = set(but)
        for name in [name for name in self.existing() if name not in wanted]:
            shell.capture(["docker", "secret", "rm", name])
