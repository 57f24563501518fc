"""Build the artifact from the checkouts, and record what was built last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_docker import PROJECT, console, project_state
from airflow_docker.building import bundle
from airflow_docker.building.manifest import Bundle
from airflow_docker.engines import Engine
from airflow_docker.errors import UserError
from airflow_docker.requirements import impact, lock_file, resolver
from airflow_docker.settings import Settings, names
from airflow_docker.sources import checkouts, repos

DOCKER_DIR = PROJECT / "docker"


def build(
    engine: Engine, *, refresh: bool = False, no_cache: bool = False, upgrade: bool = False,
    strict: bool = False, chosen: Path | None = None,
) -> str:  # fmt: skip
    """Assemble BUILD_DIR and build the artifact, unless one with this fingerprint exists. Returns its name."""
    bundle.require_inputs(engine.settings, chosen)
    with bundle.held(engine.settings):
        artifact_bundle = bundle.assemble(engine.builder, refresh=refresh, upgrade=upgrade, chosen=chosen)
        is_new = _build_artifact(engine, artifact_bundle, no_cache=no_cache, strict=strict)
        engine.builder.mark_used(artifact_bundle.manifest.artifact)
    _record_build(engine, artifact_bundle, is_new)
    return artifact_bundle.manifest.artifact


def build_beside(engine: Engine) -> Bundle:
    """Build without using it yet: what the project uses, its lock file included, stays as it is."""
    bundle.require_inputs(engine.settings, None)
    with bundle.held(engine.settings):
        artifact_bundle = bundle.assemble(engine.builder, trial=True)
        _build_artifact(engine, artifact_bundle)
    return artifact_bundle


def adopt(engine: Engine, artifact_bundle: Bundle) -> None:
    """Use from now on what :func:`build_beside` has built."""
    with bundle.held(engine.settings):
        lock_file.keep_trial(artifact_bundle.work_dir)
        engine.builder.mark_used(artifact_bundle.manifest.artifact)
    _record_build(engine, artifact_bundle, is_new=True)


def _build_artifact(engine: Engine, artifact_bundle: Bundle, *, no_cache: bool = False, strict: bool = False) -> bool:
    """Build what was assembled. Returns True unless the artifact existed before."""
    artifact = artifact_bundle.manifest.artifact
    is_here = engine.builder.has(artifact)
    if strict or no_cache or not is_here:
        locked = resolver.locked((artifact_bundle.work_dir / lock_file.LOCK).read_text())
        impact.report(impact.changes(artifact_bundle.platform, locked), strict)
    if is_here and not no_cache:
        console.done(f"{artifact} is up to date: nothing to build")
        return False
    with console.step(f"Building {artifact}"):
        engine.with_artifact(artifact).builder.build(artifact_bundle, no_cache)
    return True


def _record_build(engine: Engine, artifact_bundle: Bundle, is_new: bool) -> None:
    """Record what this project uses now, without the commits of checkouts with local changes: they say too little."""
    repositories = artifact_bundle.manifest.repositories.items()
    revisions = {name: repository["revision"] for name, repository in repositories if not repository["dirty"]}
    built_at = None if is_new else read_record(engine).get("built")
    build_record = {
        "artifact": artifact_bundle.manifest.artifact, "settings": _build_settings(engine.settings),
        "revisions": revisions, "built": built_at or datetime.now(UTC).isoformat(),
    }  # fmt: skip
    project_state.update(engine.settings, engine.name, build=build_record)


def built(engine: Engine) -> str | None:
    """The artifact of the last build, if it still exists and was built with the same settings."""
    return last_artifact(engine) if read_record(engine).get("settings") == _build_settings(engine.settings) else None


def last_artifact(engine: Engine) -> str | None:
    """The artifact of the last build, if it still exists, whatever the settings are now."""
    artifact = str(read_record(engine).get("artifact", ""))
    return artifact if artifact and engine.builder.has(artifact) else None


def require_last(engine: Engine) -> str:
    """The artifact of the last build. Raises UserError if there is none."""
    artifact = last_artifact(engine)
    if artifact is None:
        raise UserError(engine.settings.compose_project_name, "nothing has been built yet.", "Type: inv up")
    return artifact


def has_ever_built(engine: Engine) -> bool:
    """True if this engine has built something for this project."""
    return bool(read_record(engine))


def show(engine: Engine, name: str = "") -> None:
    """Show what an artifact was built from, by default the last one."""
    shown = name or last_artifact(engine)
    if shown is None:
        raise UserError("inv image", "nothing has been built for this project yet.", "Type: inv build")
    labels = engine.builder.labels(shown)
    if labels is None:
        raise UserError(
            shown, f"there is no such artifact on this machine for {engine.name}.", "Name none for the last."
        )
    console.table(["label", "value"], [["name", shown], *map(list, labels.items())])


def warn_if_stale(engine: Engine) -> None:
    """Warn if files that go into the artifact have changed in the checkouts since the last build."""
    settings = engine.settings
    dags = [settings.dags_dir] if settings.dags_in_image else []
    matters = {
        "ao-workflows": [*dags, settings.dag_requirements, *(name for name, _ in settings.site_config)],
        "archive-ops": ["scripts"],
    }
    revisions = read_record(engine).get("revisions", {})
    for source in repos.sources(settings):
        revision = revisions.get(source.name, "")
        changed = checkouts.changed_since(source, revision, matters[source.name]) if revision else []
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            what = f"{', '.join(changed[:3])}{more} changed since {revision[:10]}"
            console.warn(f"what was built is older than {source.name}: {what}. Type: inv build up")


def read_record(engine: Engine) -> dict[str, Any]:
    """The record of the last build: artifact, time (``built``, ISO 8601), commits (``revisions``); empty if none."""
    return dict(project_state.read(engine.settings, engine.name).build)


def _build_settings(settings: Settings) -> dict[str, str]:
    """The settings that decide what is in the artifact, and a digest of our own files that do."""
    relevant = (*bundle.SETTINGS, *(["DAGS_DIR"] if settings.dags_in_image else []))
    return {name: _comparable(settings, name) for name in names() if name in relevant} | {"docker/": _own_files()}


def _own_files() -> str:
    """A digest of the Dockerfile and docker/runtime: a newer compose.yaml may call a script that an old image lacks."""
    digest = hashlib.sha256()
    for file in sorted([DOCKER_DIR / "Dockerfile", *(DOCKER_DIR / "runtime").iterdir()]):
        if file.is_file():
            digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _comparable(settings: Settings, name: str) -> str:
    """The value as it is shown. The query of a URL is not shown, so a digest of it is added."""
    value, shown = getattr(settings, name.lower()), settings.shown(name)
    query = urlsplit(value).query if isinstance(value, str) and "://" in value else ""
    return f"{shown} {hashlib.sha256(query.encode()).hexdigest()[:12]}" if query else shown
