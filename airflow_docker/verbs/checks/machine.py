"""What the machine has to give: room, memory, a port, the time."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from airflow_docker.engines import Engine, endpoint, engine_host, images, ports, release
from airflow_docker.errors import UserError
from airflow_docker.findings import Finding, ok
from airflow_docker.settings import Settings, is_macos

GB = 10**9
DISK_NEEDED, DISK_RECOMMENDED, MEMORY_RECOMMENDED = 2 * GB, 10 * GB, 4 * GB
CLOCK_SECONDS = 5.0
"""Services whose clocks differ by more take each other for dead."""


def build_disk(settings: Settings, engine: Engine) -> Finding:
    return _disk(settings.build_dir, "Make room there, or set BUILD_DIR to a folder on a larger disk.")


def state_disk(settings: Settings, engine: Engine) -> Finding:
    return _disk(settings.state_dir, "Make room there, or set STATE_DIR to a folder on a larger disk.")


def docker_disk(settings: Settings, engine: Engine) -> Finding:
    """Where the engine runs in a virtual machine, its folder is not on this one."""
    folder = Path(images.engine_info("{{.DockerRootDir}}"))
    if not folder.is_dir():
        return Finding("skipped", f"{folder} is not on this machine.", "See how full it is: docker system df")
    return _disk(folder, "See what takes the room: docker system df, and inv clean for the /tmp of the tasks")


def _disk(folder: Path, remedy: str) -> Finding:
    """The room where ``folder`` is, or where it would be made."""
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    free_text = f"{free / GB:.1f} GB are free at {existing}"
    if free < DISK_NEEDED:
        return Finding("error", f"only {free_text}.", f"2 GB are needed, 10 are better. {remedy}")
    if free < DISK_RECOMMENDED:
        return Finding("warning", f"only {free_text}.", f"10 GB are better. {remedy}")
    return ok(free_text)


def bind_mounts(settings: Settings, engine: Engine) -> Finding:
    """Judged by where the engine is, as nothing is started; `inv up` looks at each folder."""
    daemon, folders = endpoint.current(), engine.mounted_folders()
    if not folders:
        return ok("no folder of this machine is mounted")
    if daemon.is_elsewhere:
        what = f"the engine at {daemon.shown} is on another machine, and its containers see no folder of this one."
        return Finding("error", what, engine_host.elsewhere(daemon))
    try:
        host = engine_host.ask()
    except UserError:
        return Finding("skipped", "Docker does not answer.", "See the check of docker.")
    if host.is_this:
        return ok(f"{daemon.shown} is the engine of this machine")
    not_shared = {name: folder for name, folder in folders.items() if not host.shares(folder)}
    where = f"the engine at {daemon.shown} runs on {host.shown}"
    if not not_shared:
        return ok(f"{where}, which shares these folders by default; inv up checks each")
    what = f"{where}, which may not see {', '.join(f'{name} ({folder})' for name, folder in not_shared.items())}."
    return Finding("warning", what, f"inv up checks each. {engine_host.remedy(host, daemon, not_shared.values())}")


def memory(settings: Settings, engine: Engine) -> Finding:
    """What programs could take now; on macOS containers have that of their virtual machine."""
    if engine.name != "standalone" and is_macos():
        size = int(images.engine_info("{{.MemTotal}}"))
        remedy = "Give Docker more: Docker Desktop, Settings, Resources."
    else:
        import psutil

        size, remedy = psutil.virtual_memory().available, "End other programs, or take a larger machine."
    if size < MEMORY_RECOMMENDED:
        return Finding("warning", f"only {size / GB:.1f} GB are available.", f"4 GB are better. {remedy}")
    return ok(f"{size / GB:.1f} GB are available")


def port(settings: Settings, engine: Engine) -> Finding:
    """Free, or taken by our own web server."""
    try:
        ports.require_free(settings.airflow_port, engine.port_owner)
    except UserError:
        web_services = (release.TWO.page, release.THREE.page)  # it may be of another version than the settings name
        if any(s.service in web_services and s.state in ("running", "restarting") for s in engine.states()):
            return ok(f"{settings.airflow_port} is ours: the stack is up")
        raise
    return ok(f"{settings.airflow_port} is free")


def clock(settings: Settings, engine: Engine) -> Finding:
    """The Docker engine may run in a virtual machine whose clock stood still while the host slept."""
    if engine.name == "standalone":
        return Finding("skipped", "all run on this machine, by one clock.", "Nothing is to be done.")
    before = datetime.now(UTC)
    engine_time = datetime.fromisoformat(images.engine_info("{{.SystemTime}}"))
    after = datetime.now(UTC)
    # It was asked somewhere between the two, so only what lies outside counts.
    difference = max((before - engine_time).total_seconds(), (engine_time - after).total_seconds(), 0.0)
    if difference > CLOCK_SECONDS:
        todo = "Restart Docker Desktop, or let both machines take their time from one server (NTP)."
        return Finding("warning", f"the Docker engine's clock is {difference:.0f} s apart from this machine's.", todo)
    return ok("this machine and the Docker engine agree")
