"""Builds the environment of a project, and knows those that were built before."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_docker import files
from airflow_docker.building import bundle
from airflow_docker.building.manifest import Bundle
from airflow_docker.engines import ports
from airflow_docker.engines.standalone import environments, processes
from airflow_docker.engines.standalone.supervisor import PLAN
from airflow_docker.errors import UserError
from airflow_docker.requirements import lock_file
from airflow_docker.requirements.platforms import Platform
from airflow_docker.settings import Settings

FOLDER = "standalone"


@dataclass(frozen=True)
class EnvironmentBuilder:
    """The environments of one project."""

    settings: Settings
    context = (f"{FOLDER}/{lock_file.LOCK}", bundle.HOME, bundle.BIN)
    generated_files = (bundle.HOME, bundle.BIN, *(f"{FOLDER}/{n}" for n in (lock_file.LOCK, *bundle.NOTES)))

    @property
    def work_dir(self) -> Path:
        return self.settings.build_dir / FOLDER

    def platform(self) -> Platform:
        require_fit(self.settings)
        return environments.platform_of(self.settings, self.work_dir)

    def prepare_context(self) -> None:
        environments.warn_of_image_settings(self.settings)

    def artifact(self, fingerprint: str) -> str:
        return str(self.work_dir / fingerprint[:12])

    def has(self, artifact: str) -> bool:
        return environments.is_complete(Path(artifact))

    def build(self, bundle: Bundle, no_cache: bool) -> None:
        if no_cache and processes.tagged(str(self._folder)):
            raise UserError("--no-cache", "the environment is in use.", "Type: inv down build --no-cache up")
        others = environments.others_using(self.settings, Path(bundle.manifest.artifact))
        if no_cache and others and self.has(bundle.manifest.artifact):
            what = f"the environment is that of {', '.join(others)} too."
            raise UserError("BUILD_DIR", what, "Leave --no-cache out, or set another BUILD_DIR.")
        environments.build(self.settings, bundle)

    def mark_used(self, artifact: str) -> None:
        environments.mark_used(self.settings, Path(artifact))
        environments.release(self.settings, self.work_dir, keep=(artifact, *self.running()))

    def running(self) -> list[str]:
        """The environment that the running stack was started from."""
        is_up = bool(processes.tagged(str(self._folder)))
        commands = files.read_object(self._folder / PLAN).get("services", {}).values() if is_up else []
        return [str(environments.environment_of(Path(command[0]))) for command in commands]

    @property
    def _folder(self) -> Path:
        """Where the stack of the project keeps its state."""
        return self.settings.state_dir / FOLDER

    def labels(self, artifact: str) -> dict[str, str] | None:
        return environments.labels(Path(artifact))

    def inventory(self, artifact: str) -> dict[str, Any]:
        return environments.inventory_of(Path(artifact))

    def list_unused(self, keep: Collection[str | None]) -> list[tuple[str, int]]:
        ours = environments.only_of(self.settings, self.work_dir)
        return [(str(folder), files.size_of(folder) or 0) for folder in ours if str(folder) not in keep]

    def remove_artifact(self, artifact: str) -> None:
        shutil.rmtree(artifact)

    def remove_artifacts(self) -> None:
        if environments.used_by(self.settings, self.work_dir):
            with bundle.held(self.settings):
                environments.release(self.settings, self.work_dir, keep=())


def require_fit(settings: Settings) -> None:
    """Raise UserError unless standalone can do what the settings ask for."""
    folder = settings.state_dir / FOLDER
    if characters := {"?", "$"} & set(str(folder)):
        what = f"Airflow cannot have a database at {folder} (because of {' '.join(sorted(characters))})."
        raise UserError("STATE_DIR", what, "Name another folder.")
    if settings.executor != "LocalExecutor":
        raise UserError("EXECUTOR", "standalone has no workers: its scheduler runs the tasks.", "Leave it unset.")
    ports.require_allowed(settings.airflow_port)
