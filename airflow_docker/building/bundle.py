"""BUILD_DIR: all input of an image or environment, assembled, fingerprinted and described in a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Protocol

from airflow_docker import console, files, locks
from airflow_docker.building import audit_tool, sync_scripts
from airflow_docker.building.manifest import Bundle, Manifest
from airflow_docker.errors import UserError
from airflow_docker.requirements import lock_file
from airflow_docker.requirements.platforms import Platform
from airflow_docker.settings import Settings
from airflow_docker.settings.types import Base, path
from airflow_docker.sources import checkouts, repos

BIN, HOME, MANIFEST = "bin", "home", "manifest.json"
NOTES = (MANIFEST, *lock_file.NOTES)
"""Files beside the lock that are not input of a build."""
SETTINGS = (
    "AO_DEV_DIR", "WORKFLOW_DEV_DIR", "DAG_REQUIREMENTS", "AIRFLOW_VERSION", "AIRFLOW_BASE_IMAGE",
    "AIRFLOW_IMAGE", "AIRFLOW_CONSTRAINTS", "SYSTEM_PACKAGES", "BUILD_PACKAGES", "AUDIT_TOOL_URL",
    "AUDIT_TOOL_SHA256", "AUDIT_TOOL_DEB", "SITE_CONFIG", "STANDALONE_SKIP", "IMAGE_REGISTRY", "DAGS_DELIVERY",
)  # fmt: skip
"""Settings that determine the content of an image or environment. A change needs a new build."""
SYNC_REQUIREMENTS = ("bin/sync-requirements.txt", "scripts/syncAnywhere/requirements.txt")


class Builder(Protocol):
    """The part of an engine that builds from BUILD_DIR; the rest is in ``engines``."""

    @property
    def settings(self) -> Settings: ...
    @property
    def context(self) -> tuple[str, ...]:
        """The entries of BUILD_DIR that an artifact is built from."""

    @property
    def generated_files(self) -> tuple[str, ...]:
        """The entries of BUILD_DIR that are removed before a build from scratch."""

    @property
    def work_dir(self) -> Path:
        """The folder of the lock and the manifest, in BUILD_DIR."""

    def platform(self) -> Platform:
        """The platform that requirements are resolved for."""

    def prepare_context(self) -> None:
        """Write to BUILD_DIR what only this engine needs."""

    def artifact(self, fingerprint: str) -> str:
        """The name of the artifact with this fingerprint."""


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Mark BUILD_DIR as ours and lock it. Raises UserError if it may not be ours."""
    files.claim(settings.build_dir, "BUILD_DIR")
    with locks.locked(settings.build_dir / locks.NAME, f"BUILD_DIR {settings.build_dir}"):
        yield


def require_inputs(settings: Settings, chosen: Path | None) -> None:
    """Raise UserError for missing input of :func:`assemble`, before anything is created or fetched."""
    for source in repos.sources(settings):
        checkouts.head(source)
    dag_requirements(settings, chosen)
    audit_tool.require_consistent(settings)


def assemble(
    builder: Builder, *, refresh: bool = False, upgrade: bool = False, chosen: Path | None = None, trial: bool = False
) -> Bundle:
    """Fill BUILD_DIR from both checkouts; ``chosen`` replaces DAG_REQUIREMENTS, ``refresh`` starts from scratch.

    A ``trial``, or a run with a ``chosen`` file, leaves its lock only until the next run without either.

    Call this, like the build that follows, while BUILD_DIR is :func:`held`. Raises UserError if a checkout,
    a file or a solution is missing; the next run continues from what is there.
    """
    settings = builder.settings
    directory, work_dir = settings.build_dir, builder.work_dir
    sources = repos.sources(settings)
    heads = [checkouts.head(source) for source in sources]
    for source, head in zip(sources, heads, strict=True):  # before any of their code runs on this host
        console.say(f"· {source.name} {head.commit[:10]}{', with local changes' if head.dirty else ''}")
    dag_file = dag_requirements(settings, chosen)
    if refresh:
        files.empty(directory, "BUILD_DIR", builder.generated_files)
    work_dir.mkdir(exist_ok=True)
    platform = builder.platform()
    _copy_site_config(settings, directory / HOME)
    builder.prepare_context()
    sync_scripts.collect(settings.ao_dev_dir, directory / BIN)
    lock = lock_file.lock(
        settings, platform, [dag_file, *sync_requirements(settings)], work_dir, upgrade, trial=trial or bool(chosen)
    )
    epoch = max(checkouts.time_of(source, head.commit) for source, head in zip(sources, heads, strict=True))
    _set_times(directory, builder.context, epoch)
    fingerprint = fingerprint_of(directory, builder.context, platform.identity)
    manifest = Manifest(
        artifact=builder.artifact(fingerprint), fingerprint=fingerprint, base_image=platform.name,
        base_image_id=platform.id, airflow_version=platform.airflow_version, python=platform.python,
        lock_sha256=hashlib.sha256(lock.read_bytes()).hexdigest(), epoch=epoch,
        layer_epoch=int(datetime.fromisoformat(platform.created[:19] + "+00:00").timestamp()),
        repositories={
            source.name: {"url": source.url, "revision": head.commit, "dirty": head.dirty}
            for source, head in zip(sources, heads, strict=True)
        },
        base_image_digest=platform.digest,
    )  # fmt: skip
    files.write(work_dir / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode())
    return Bundle(work_dir, manifest, platform)


def fingerprint_of(directory: Path, context: Sequence[str], platform: str) -> str:
    """SHA-256 over the sorted (path, executable or not, bytes) of ``context`` in ``directory``, and the platform."""
    digest = hashlib.sha256(platform.encode())
    for file in _context_files(directory, context):
        content = file.read_bytes()
        executable = bool(file.stat().st_mode & 0o100)
        name = os.fsencode(file.relative_to(directory))
        digest.update(b"\0%s\0%d\0%d\0" % (name, executable, len(content)) + content)
    return digest.hexdigest()


def _context_files(directory: Path, context: Sequence[str]) -> Iterator[Path]:
    for name in sorted(context):
        entry = directory / name
        yield from sorted(f for f in entry.rglob("*") if f.is_file()) if entry.is_dir() else [entry]


def _set_times(directory: Path, context: Sequence[str], epoch: int) -> None:
    """Give every file of the context the time ``epoch``, with a fraction of a second derived from its content.

    BuildKit takes files of the same size and time for the same file, so another content
    must have another time.
    """
    for name in context:
        for entry in (directory / name, *(directory / name).rglob("*")):
            content = entry.read_bytes() if entry.is_file() else b""
            fraction = int.from_bytes(hashlib.sha256(content).digest()[:8]) % 10**9
            os.utime(entry, ns=(epoch * 10**9 + fraction,) * 2)


def dag_requirements(settings: Settings, chosen: Path | None) -> Path:
    """The file ``chosen`` (relative to the current folder), or DAG_REQUIREMENTS (relative to WORKFLOW_DEV_DIR)."""
    file = chosen.absolute() if chosen else workflow_file(settings, settings.dag_requirements, "DAG_REQUIREMENTS")
    if not file.is_file():
        where = "--requirements" if chosen else "DAG_REQUIREMENTS"
        raise UserError(where, f"there is no file {file}.", "Correct the path; an empty file will do.")
    return file


def workflow_file(settings: Settings, name: str, where: str) -> Path:
    """A file that a setting names relative to WORKFLOW_DEV_DIR. Raises UserError for an unknown ``~user``."""
    try:
        return path(name, Base(settings.workflow_dev_dir / ".env", {}))
    except ValueError as problem:
        raise UserError(where, f"{problem}.", "Correct the path.") from None


def sync_requirements(settings: Settings) -> list[Path]:
    """The sync scripts' requirements: the file of copyLinksToBin, else that of the repository, else none."""
    candidates = [settings.build_dir / SYNC_REQUIREMENTS[0], settings.ao_dev_dir / SYNC_REQUIREMENTS[1]]
    return [file for file in candidates if file.is_file()][:1]


def _copy_site_config(settings: Settings, target: Path) -> None:
    """Copy the configuration files that SITE_CONFIG names, and no others, to the home folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    target.chmod(0o755)
    for name, path_in_home in settings.site_config:
        source = workflow_file(settings, name, "SITE_CONFIG")
        if not source.is_file():
            raise UserError("SITE_CONFIG", f"there is no file {source}.", "Paths are relative to WORKFLOW_DEV_DIR.")
        (target / path_in_home).parent.mkdir(parents=True, exist_ok=True)
        files.write(target / path_in_home, source.read_bytes())
    for folder in (f for f in target.rglob("*") if f.is_dir()):
        folder.chmod(0o755)
