"""Search the Docker objects of a project for secrets: its image, its containers, and what the engine reports."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

from stack.conftest import docker, run

from airflow_docker.settings import Settings
from trust.searching import Search


def of_project(settings: Settings) -> list[str]:
    """Ids of the project's containers, stopped ones too."""
    label = f"label=com.docker.compose.project={settings.compose_project_name}"
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label).split()


def service(container: str) -> str:
    label = '{{index .Config.Labels "com.docker.compose.service"}}'
    return docker("inspect", "--format", label, container)


def search_image(search: Search, image: str, folder: Path) -> None:
    """Search the saved image with every file of every layer, and what the engine reports on it."""
    saved = folder / "image.tar"
    try:
        docker("image", "save", "--output", str(saved), image)
        search.file(saved)
    finally:
        saved.unlink(missing_ok=True)
    for args in (["image", "inspect", image], ["image", "history", "--no-trunc", image]):
        search.text(f"docker {' '.join(args)}", docker(*args))


def search_engine(search: Search, settings: Settings, since: float, until: float) -> None:
    """Search events (which quote commands), volumes, networks and the build cache."""
    label = f"label=com.docker.compose.project={settings.compose_project_name}"
    search.text("docker events", docker("events", "--since", f"{since:.0f}", "--until", f"{until:.0f}"))
    for kind in ("volume", "network"):
        if names := docker(kind, "ls", "--quiet", "--filter", label).split():
            search.text(f"docker {kind} inspect", docker(kind, "inspect", *names))
    search.text("docker buildx du", docker("buildx", "du", "--verbose"))


def search_container(search: Search, container: str) -> None:
    """Search a container's configuration, its logs, and the files that differ from its image."""
    name = service(container)
    search.text(f"docker inspect {name}", docker("inspect", container))
    logs = run("docker", "logs", container)
    search.text(f"docker logs {name}", logs.stdout + logs.stderr)
    changed = {line[2:].lstrip("/") for line in docker("diff", container).splitlines() if line[:1] in "AC"}
    if not changed:
        return
    with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
        with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
            for entry in tar:
                if entry.name in changed and entry.isreg():
                    search.stream(f"{name}:/{entry.name}", io.BytesIO(tar.extractfile(entry).read()))
        export.stdout.read()
    assert export.returncode == 0, name


def search_running(search: Search, container: str) -> None:
    """Search a container's file systems in memory and its volumes; bind mounts are searched on the host."""
    name = service(container)
    mounts = [line.split() for line in docker("exec", container, "cat", "/proc/mounts").splitlines()]
    in_memory = [m[1] for m in mounts if m[2] == "tmpfs" and not m[1].startswith(("/proc", "/sys", "/run/secrets"))]
    volumes = [m["Destination"] for m in json.loads(docker("inspect", container))[0]["Mounts"] if m["Type"] == "volume"]
    folders = [folder.lstrip("/") for folder in (*in_memory, *volumes) if folder != "/dev"]
    assert "dev/shm" in folders, name
    command = ["docker", "exec", container, "tar", "-C", "/", "--ignore-failed-read", "-cf", "-", *folders]
    packed = subprocess.run(
        command, capture_output=True, check=False
    ).stdout  # a file that grows meanwhile is a warning
    search.stream(f"{name} (running)", io.BytesIO(packed))


def secrets_seen_by(container: str) -> dict[str, str]:
    """File below /run/secrets -> content, as the container's own user reads it."""
    script = 'cd /run/secrets 2>/dev/null || exit 0; for f in *; do echo "$f"; done'
    names = docker("exec", container, "sh", "-c", script).split()
    return {name: docker("exec", container, "cat", f"/run/secrets/{name}") for name in names}
