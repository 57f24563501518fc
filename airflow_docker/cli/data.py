"""Verbs that keep, bring back, migrate and remove what a project has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_docker.cli.verb import HELP_TIMEOUT, seconds, verb
from airflow_docker.errors import USAGE, UserError
from airflow_docker.verbs.preflight import Need

if TYPE_CHECKING:
    from airflow_docker.engines import Engine

UPGRADE_TIMEOUT = "1800"
"""Migrating a large database takes long."""


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.UNDONE, Need.WHOLE],
    locks=True,
    default_flag="file",
    help={"file": "file to write (default: a new one in STATE_DIR/backups)", "encrypt": "encrypt with a passphrase"},
)
def backup(engine: Engine, file: str = "", encrypt: bool = False) -> None:
    """Write database, keys and settings into one file; services keep running."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import backup as backup_verb

    backup_verb.create(engine, flag_path("--file", file), encrypt=encrypt)


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.FIT, Need.UNDONE],
    locks=True,
    default_flag="file",
    help={"file": "a file that inv backup wrote", "yes": "stop the stack, and replace its database and keys"},
)
def restore(engine: Engine, file: str, yes: bool = False) -> None:
    """Restore the database and the keys from a backup."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import backup as backup_verb

    backup_verb.restore(engine, flag_path("--file", file), yes=yes)


@verb(
    "Operate",
    needs=[Need.ENGINE],
    help={
        "images": "remove unused images and environments",
        "build": "remove the build context in BUILD_DIR",
        "downloads": "remove cached downloads",
        "logs": "remove logs of old runs",
        "older-than": "age in days from which logs are old (default: 30)",
        "yes": "do not ask",
    },
)
def clean(
    engine: Engine, images: bool = False, build: bool = False, downloads: bool = False, logs: bool = False,
    older_than: str = "30", yes: bool = False,
) -> None:  # fmt: skip
    """Show the disk usage; prune what you name."""
    from airflow_docker.verbs import clean as clean_verb

    named = {"images": images, "build": build, "downloads": downloads, "logs": logs}
    clean_verb.clean(engine, {kind for kind, chosen in named.items() if chosen}, older_than, yes)


def _names_a_version(version: str, **_: Any) -> None:
    if not version:
        raise UserError("inv upgrade", "to which version?", "Say for instance: inv upgrade 3.3.2", USAGE)


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.FIT, Need.UNDONE],
    locks=True,
    sets=lambda version, **_: {"AIRFLOW_VERSION": version},
    require=_names_a_version,
    notify=True,
    default_flag="version",
    help={"version": "a newer version of Airflow: inv upgrade 3.3.2", "timeout": HELP_TIMEOUT},
)
def upgrade(engine: Engine, version: str, timeout: str = UPGRADE_TIMEOUT) -> None:
    """Go to a newer Airflow, with a backup; roll back if it does not start."""
    from airflow_docker.engines.choice import choose
    from airflow_docker.settings import load
    from airflow_docker.verbs import upgrade as upgrade_verb

    def engine_of(version: str) -> Engine:
        return choose(load(flags={"AIRFLOW_VERSION": version}), notify=False)

    upgrade_verb.upgrade(engine_of, version, seconds(timeout))
