"""Builds the image of a project, and knows those that were built before."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_docker import files, shell
from airflow_docker.building import bundle
from airflow_docker.building.manifest import Bundle
from airflow_docker.engines import images
from airflow_docker.engines.compose import image_context
from airflow_docker.engines.compose.commands import Commands, build_overlay
from airflow_docker.engines.compose.plugin import plugin_version
from airflow_docker.errors import UserError
from airflow_docker.requirements import indexes, lock_file
from airflow_docker.requirements.platforms import Platform

_USERS = "images-in-use"


@dataclass(frozen=True)
class ImageBuilder(Commands):
    """The images of one project."""

    context = (*image_context.OURS, lock_file.LOCK, bundle.HOME, bundle.BIN)
    generated_files = (*context, ".dockerignore", "base-image.json", "compose.build.yaml", *bundle.NOTES)

    @property
    def work_dir(self) -> Path:
        return self.settings.build_dir

    def platform(self) -> Platform:
        settings = self.settings
        return images.base(settings.airflow_base_image, settings.airflow_version, self.work_dir / "base-image.json")

    def prepare_context(self) -> None:
        image_context.prepare_context(self.settings, self.settings.build_dir, self.context)

    def artifact(self, fingerprint: str) -> str:
        return f"{self.image_name}:{fingerprint[:12]}"

    def has(self, artifact: str) -> bool:
        return images.inspect(artifact) is not None

    def build(self, bundle: Bundle, no_cache: bool) -> None:
        """Build the image; its output is shown as it comes."""
        import yaml

        self.write_overlay()
        overlay = bundle.work_dir / "compose.build.yaml"
        added = build_overlay(bundle.manifest, wheels=bool(self.settings.build_packages))
        files.write(overlay, yaml.safe_dump(added).encode())
        # The builder would ask git for what the manifest has already, and git would inherit the index's password.
        own = {"AIRFLOW_DOCKER_PACKAGE_INDEX": indexes.as_script(), "BUILDX_GIT_INFO": "false"}
        env = self.environment() | own
        code = shell.stream(self.build_command(overlay, no_cache), env=env)
        if code:
            images.require_engine()  # or the plugin may be what is missing
            plugin_version()
            todo = "Fix what it reports and type: inv build"
            raise UserError(
                "inv build", f"the image build ended with exit code {code}; see its last lines above.", todo
            )

    def mark_used(self, artifact: str) -> None:
        """Images stay until `inv clean`; projects that share BUILD_DIR see which are in use by others."""
        users = self.work_dir / _USERS
        users.mkdir(exist_ok=True)
        files.write(users / self.settings.compose_project_name, artifact.encode())

    def inventory(self, artifact: str) -> dict[str, Any]:
        result = shell.capture(images.inventory_command(artifact, images.INSTALLED))
        if result.returncode:
            last_line = (result.stderr.strip() or "no reason given").splitlines()[-1]
            raise UserError(artifact, f"cannot be inspected ({last_line}).", "Type: inv build --no-cache")
        inventory: dict[str, Any] = json.loads(result.stdout)
        return inventory

    def labels(self, artifact: str) -> dict[str, str] | None:
        inspected = images.inspect(artifact)
        if inspected is None:
            return None
        labels = {k: v for k, v in (inspected["Config"].get("Labels") or {}).items() if k.startswith(images.LABELS)}
        if "airflow-docker.fingerprint" not in labels:
            raise UserError(artifact, "this image was not built by airflow-docker.", "Name another, or none.")
        return {"id": inspected["Id"]} | dict(sorted(labels.items()))

    def list_unused(self, keep: Collection[str | None]) -> list[tuple[str, int]]:
        used = shell.capture(["docker", "ps", "--all", "--format", "{{.Image}}"]).stdout.split()
        named = shell.capture(self.images_command()).stdout.split()
        claimed = [
            f.read_text() for f in (self.work_dir / _USERS).glob("*") if f.name != self.settings.compose_project_name
        ]
        old = [name for name in named if name not in (*used, *claimed, *keep)]
        return [(name, int(inspected["Size"])) for name in old if (inspected := images.inspect(name))]

    def remove_artifact(self, artifact: str) -> None:
        result = shell.capture(["docker", "image", "rm", artifact])
        if result.returncode:
            raise UserError(artifact, f"cannot be removed ({result.stderr.strip()}).", "Is it in use?")

    def remove_artifacts(self) -> None:
        for image in shell.capture(self.images_command()).stdout.split():
            shell.capture(["docker", "image", "rm", image])
