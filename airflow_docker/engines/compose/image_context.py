"""The build context besides scripts and requirements: the Dockerfile, our own files, the audit tool."""

from __future__ import annotations

import shutil
from pathlib import Path

from airflow_docker import PROJECT, files
from airflow_docker.building import audit_tool
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings

SYSTEM, AUDIT, RUNTIME, DAGS = "system", "audit", "runtime", "dags"
OURS = ("Dockerfile", SYSTEM, AUDIT, RUNTIME, DAGS)
DAGS_IN_IMAGE = "/opt/airflow-docker/dags"
"""Not Airflow's default folder: that is a tmpfs when it runs."""


def prepare_context(settings: Settings, directory: Path, context: tuple[str, ...]) -> None:
    """Write the Dockerfile, our programs for the containers, and what the settings add to the image."""
    own = PROJECT / "docker"
    for name in (SYSTEM, AUDIT, RUNTIME):
        (directory / name).mkdir(exist_ok=True)
        (directory / name).chmod(0o755)
    files.write(directory / "Dockerfile", (own / "Dockerfile").read_bytes())
    files.write(directory / ".dockerignore", ("*\n" + "".join(f"!{name}\n" for name in context)).encode())
    for file in sorted((own / "runtime").iterdir()):
        if file.is_file():
            files.write(directory / RUNTIME / file.name, file.read_bytes())
    files.write(directory / SYSTEM / "packages", _lines(settings.system_packages))
    files.write(directory / SYSTEM / "build-packages", _lines(settings.build_packages))
    _copy_audit_tool(settings, directory / AUDIT)
    _copy_dags(settings, directory / DAGS)


def _copy_dags(settings: Settings, target: Path) -> None:
    """Copy the DAG folder, if it is to be in the image; as plain files, as a link may lead out of a mounted folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    source = settings.workflow_dev_dir / settings.dags_dir
    for file in sorted(source.rglob("*")) if settings.dags_in_image else ():
        if not file.is_file() or "__pycache__" in file.parts:
            continue
        if not file.resolve().is_relative_to(source.resolve()):
            what = f"{file.relative_to(source)} is a link that leads out of the folder of the DAGs."
            raise UserError("DAGS_DIR", what, "Put the file itself there.")
        path = target / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, file.read_bytes(), 0o755 if file.stat().st_mode & 0o100 else 0o644)
    for folder in (target, *(f for f in target.rglob("*") if f.is_dir())):
        folder.chmod(0o755)


def _lines(items: tuple[str, ...]) -> bytes:
    return "".join(f"{item}\n" for item in items).encode()


def _copy_audit_tool(settings: Settings, target: Path) -> None:
    package = audit_tool.package(settings)
    if package is None:
        (target / "audit-tool.deb").unlink(missing_ok=True)
    else:
        files.write(target / "audit-tool.deb", package.read_bytes())
