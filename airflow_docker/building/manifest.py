"""The manifest of an image or environment: what it was built from. It is in the labels and beside the lock."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from airflow_docker.requirements.platforms import Platform

NO_DIGEST = "none (not from a registry: known by its id alone)"


@dataclass(frozen=True)
class Manifest:
    """What an artifact was built from. ``artifact`` is the name of an image or the folder of an environment.

    ``epoch`` is the time of the newest commit, ``layer_epoch`` that of the base image, in
    seconds since 1970: file times in the image come from these, never from the clock.
    ``base_image_digest`` is the base image's digest in a registry; empty if it is not known.
    """

    artifact: str
    fingerprint: str
    base_image: str
    base_image_id: str
    airflow_version: str
    python: str
    lock_sha256: str
    epoch: int
    layer_epoch: int
    repositories: dict[str, dict[str, str | bool]]
    base_image_digest: str = ""

    @classmethod
    def required(cls) -> list[str]:
        """The fields that a manifest of every version has."""
        return [field.name for field in fields(cls) if field.default is MISSING]

    def labels(self) -> dict[str, str]:
        """Labels by the OCI annotation keys (opencontainers/image-spec, annotations.md), and our own."""
        workflows = self.repositories["ao-workflows"]
        own = {
            f"{name}.{key}": str(repository[key]).lower() if key == "dirty" else str(repository[key])
            for name, repository in self.repositories.items()
            for key in ("url", "revision", "dirty")
        }
        own |= {"fingerprint": self.fingerprint, "lock": f"sha256:{self.lock_sha256}", "airflow": self.airflow_version}
        oci = {
            "revision": str(workflows["revision"]), "source": str(workflows["url"]), "version": self.fingerprint[:12],
            "created": datetime.fromtimestamp(self.epoch, UTC).isoformat().replace("+00:00", "Z"),
            "base.name": self.base_image,
        }  # fmt: skip
        if self.base_image_digest:
            oci["base.digest"] = self.base_image_digest.partition("@")[2]
        if self.base_image_id.startswith("sha256:"):  # an image, not this machine
            own |= {"base.id": self.base_image_id, "base.digest": self.base_image_digest or NO_DIGEST}
        return {f"org.opencontainers.image.{k}": v for k, v in oci.items()} | {
            f"airflow-docker.{k}": v for k, v in own.items()
        }


@dataclass(frozen=True)
class Bundle:
    """An assembled BUILD_DIR; its lock is in ``work_dir`` and was resolved for ``platform``."""

    work_dir: Path
    manifest: Manifest
    platform: Platform
