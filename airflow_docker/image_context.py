"""What an image is made from besides scripts and requirements: the Dockerfile, our own files, the audit tool."""

from __future__ import annotations

from pathlib import Path

from airflow_docker import PROJECT, audit_tool, files
from airflow_docker.settings import Settings

SYSTEM, AUDIT, RUNTIME = "system", "audit", "runtime"
OURS = ("Dockerfile", SYSTEM, AUDIT, RUNTIME)


def fill(settings: Settings, directory: Path, context: tuple[str, ...]) -> None:
    """The Dockerfile, what the containers run of ours, and what the settings name for the image."""
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


def _lines(words: tuple[str, ...]) -> bytes:
    return "".join(f"{word}\n" for word in words).encode()


def _copy_audit_tool(settings: Settings, target: Path) -> None:
    package = audit_tool.package(settings)
    if package is None:
        (target / "audit-tool.deb").unlink(missing_ok=True)
    else:
        files.write(target / "audit-tool.deb", package.read_bytes())
