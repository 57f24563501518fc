"""The host folders that the services see: ours are created with the right owner, others are not changed."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_docker import files, project_state
from airflow_docker.errors import UserError, raise_all
from airflow_docker.settings import Settings

WRITTEN = ("LOGS_DIR", "APP_LOG_DIR", "WORK_DATA_DIR")
"""Folders that the services write: created when missing, wherever they are."""
_ROOM, _FILES = 1 << 20, 16
"""Bytes and files; with less free space no task can write its log."""
ARCHIVES = ("ARCH_ROOT", "ARCHIVE0_DIR", "ARCHIVE1_DIR", "ARCHIVE2_DIR", "ARCHIVE3_DIR")
"""Folders that may be network mounts: created only at their default path under STATE_DIR, never changed."""


def way_out(owner: str) -> str:
    """What to do if a folder belongs to the project ``owner``."""
    own = "Else give each .env a STATE_DIR and a SECRETS_DIR of its own."
    return f"If this is it, moved or renamed: set COMPOSE_PROJECT_NAME={owner} in .env. {own}"


def claim_state(settings: Settings) -> None:
    """Record STATE_DIR as this project's. Raises UserError if it is another's: two .env have one STATE_DIR."""
    require_own_state(settings)
    project_state.claim(settings)


def require_own_state(settings: Settings) -> None:
    """Raise UserError if STATE_DIR belongs to another project. Changes nothing."""
    owner, name = project_state.owner(settings), settings.compose_project_name
    if owner not in ("", name):
        what = f"{settings.state_dir} is that of the project {owner}, and this is {name}."
        raise UserError("STATE_DIR", what, way_out(owner))


def prepare(settings: Settings, owner: int | None) -> None:
    """Create our folders for the uid ``owner``, and check the others.

    Raises UserError for all that is missing or not writable.
    """
    files.make_directory(settings.state_dir, "STATE_DIR")
    for name, folder in _ours(settings).items():
        files.make_directory(folder, name, owner)
    raise_all([*problems(settings, owner), *dag_problems(settings, owner)])


def problems(settings: Settings, owner: int | None) -> list[UserError]:
    """What is wrong with the folders for the uid ``owner``; those that :func:`prepare` creates may be missing.

    Changes nothing.
    """
    errors: list[UserError] = []
    for name, folder in {"STATE_DIR": settings.state_dir, **_ours(settings)}.items():
        if errors and folder.is_relative_to(settings.state_dir):
            continue  # it is in STATE_DIR, which is reported already
        try:
            files.require_makeable(folder, name)
        except UserError as error:
            errors.append(error)
    written = {name: folder for name, folder in _ours(settings).items() if name in WRITTEN and folder.is_dir()}
    errors += [e for name, folder in written.items() if (e := _unwritable(name, folder, owner))]
    errors += full(settings)
    to_come = [checkout for checkout in (settings.workflow_dev_dir, settings.ao_dev_dir) if not checkout.exists()]
    return errors + [
        UserError(name, f"there is no folder {folder}.", "Make or mount it; archives are never created for you.")
        for name, folder in _archives(settings).items()
        if not folder.is_dir() and not any(folder.is_relative_to(checkout) for checkout in to_come)
    ]


def full(settings: Settings) -> list[UserError]:
    """Those of WRITTEN that have no space left."""
    written = {name: getattr(settings, name.lower()) for name in WRITTEN}
    todo = "Free some space there; to remove old logs of Airflow: inv clean --logs"
    return [
        UserError(name, f"there is no room left in {folder}.", todo)
        for name, folder in written.items() if folder.is_dir() and _is_full(folder)
    ]  # fmt: skip


def _is_full(folder: Path) -> bool:
    """True if bytes or files have run out; some file systems (``f_files`` 0) have no limit of files."""
    usage = os.statvfs(folder)
    return usage.f_bavail * usage.f_frsize < _ROOM or (usage.f_files > 0 and usage.f_favail < _FILES)


def unwritable_archives(settings: Settings, owner: int | None) -> list[UserError]:
    """Archives that exist and that the uid ``owner`` may not write. That may be intended."""
    archives = {name: folder for name in ARCHIVES if (folder := getattr(settings, name.lower())).is_dir()}
    archives |= {name: folder for name, folder in _archives(settings).items() if folder.is_dir()}
    return [e for name, folder in archives.items() if (e := _unwritable(name, folder, owner))]


def mounted(settings: Settings) -> dict[str, Path]:
    """Every folder of this machine that is mounted into containers, by the setting that names it."""
    named = {name: getattr(settings, name.lower()) for name in (*WRITTEN, *ARCHIVES)}
    extra = {f"EXTRA_MOUNTS ({target})": host for host, target in settings.extra_mounts}
    return {"DAGS_DIR": settings.workflow_dev_dir / settings.dags_dir, **named, **extra}


def _ours(settings: Settings) -> dict[str, Path]:
    """The folders that are created when they are missing."""
    names = [*WRITTEN, *(name for name in ARCHIVES if settings.sources[name] == "default")]
    return {name: getattr(settings, name.lower()) for name in names}


def _archives(settings: Settings) -> dict[str, Path]:
    """The folders that must exist."""
    ours = _ours(settings)
    archives = {name: getattr(settings, name.lower()) for name in ARCHIVES if name not in ours}
    return archives | {f"EXTRA_MOUNTS ({target})": host for host, target in settings.extra_mounts}


def _unwritable(name: str, folder: Path, uid: int | None) -> UserError | None:
    if uid is None or _may(folder, uid, 0o3):
        return None
    what = f"the services, which run as uid {uid}, may not write {folder} (it belongs to uid {folder.stat().st_uid})."
    return UserError(name, what, f"Type: sudo chown {uid} {folder}")


def dag_problems(settings: Settings, uid: int | None) -> list[UserError]:
    """What is wrong with the DAG folder of the checkout, for the services' ``uid``."""
    folder = settings.workflow_dev_dir / settings.dags_dir
    if not folder.is_dir():
        return [UserError("DAGS_DIR", f"there is no folder {folder}.", "Name the DAG folder inside ao-workflows.")]
    if uid is not None and not _may(folder, uid, 0o5):
        what = f"the services, which run as uid {uid}, may not read {folder}."
        return [UserError("DAGS_DIR", what, f"Type: chmod -R go+rX {folder}")]
    return []


def _may(folder: Path, uid: int, bits: int) -> bool:
    """True if a process of ``uid`` and gid 0 has all of the permission ``bits`` (r=4, w=2, x=1) on ``folder``."""
    status = folder.stat()
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == 0 else 0
    return (os.geteuid() == uid and os.access(folder, bits)) or (status.st_mode >> shift) & bits == bits
