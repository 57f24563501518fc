"""The home folder of a standalone stack: what is mounted into containers is linked here at the same paths."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from airflow_docker import console, files, secret_files
from airflow_docker.building.bundle import HOME
from airflow_docker.engines.standalone import environments
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings

_IN_CONTAINER = PurePosixPath("/home/airflow")


def links(settings: Settings, environment: Path) -> dict[str, Path]:
    """Path in the home folder -> what it leads to.

    The last three are where the DAGs of ao-workflows look when there is no /run/secrets.
    """
    keys = settings.secrets_dir
    targets = {
        "bin": environment / environments.SCRIPTS,
        "log": settings.app_log_dir,
        "bdrc/log": settings.app_log_dir,
        "bdrc/data": settings.work_data_dir,
        **{f"extern/Archive{n}": getattr(settings, f"archive{n}_dir") for n in range(4)},
        "dev/tmp": settings.arch_root,
        ".config/bdrc/db_apps.config": keys / secret_files.FILE_NAMES["DB_APPS"],
        ".aws/credentials": keys / secret_files.FILE_NAMES["AWS"],
    }
    for host, target in settings.extra_mounts:
        if PurePosixPath(target).is_relative_to(_IN_CONTAINER):
            targets[str(PurePosixPath(target).relative_to(_IN_CONTAINER))] = host
    return targets


def make_home(settings: Settings, home: Path, environment: Path) -> None:
    """Fill ``home``, which is ours. Raises UserError if something else is where a link belongs."""
    for host, inside in settings.extra_mounts:
        if not PurePosixPath(inside).is_relative_to(_IN_CONTAINER) and str(host) != inside:
            console.warn(f"EXTRA_MOUNTS: {inside} is a container's path; here the folder stays {host}.")
    targets = links(settings, environment)
    _require_apart(targets, environment)
    for name, target in targets.items():
        link = home / name
        files.make_directory(link.parent, "STATE_DIR")
        if link.is_symlink():
            link.unlink()
        try:
            link.symlink_to(target)
        except FileExistsError:
            what = f"{link} is in the way of a link to {target}."
            raise UserError("STATE_DIR", what, "Move it away and type: inv up") from None
    shutil.copytree(environment / HOME, home, dirs_exist_ok=True)


def _require_apart(targets: dict[str, Path], environment: Path) -> None:
    """Raise UserError if something would be written through a link, into what is not ours."""
    files_of_config = [str(f.relative_to(environment / HOME)) for f in (environment / HOME).rglob("*") if f.is_file()]
    for setting, names in (("EXTRA_MOUNTS", list(targets)), ("SITE_CONFIG", files_of_config)):
        for name in names:
            around = [
                link
                for link in targets
                if PurePosixPath(name).is_relative_to(link) and (link, setting) != (name, "EXTRA_MOUNTS")
            ]
            if around:
                what = f"~/{name} would be in ~/{around[0]}, which is a link to {targets[around[0]]}."
                raise UserError(setting, what, "Choose another path for it.")
