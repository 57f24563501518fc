"""What a project records in STATE_DIR: whose it is, and for each engine what was built, started and migrated.

``project.json`` and ``ENGINE.json`` are read by any user who may see STATE_DIR. ``undo.ENGINE.json`` holds keys, and
exists only while a restore or a new key is half done. Earlier there was a file for each fact: those are read as
long as there is no record, and removed when one is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from airflow_docker import files, locks
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings

FORMAT = 1
"""Of the two files. A later airflow-docker that changes their meaning raises it."""
STOPPING = "stopping"


@dataclass(frozen=True)
class Record:
    """What is recorded for one engine.

    ``started`` is the digest of the configuration that runs, "begun DIGEST" while it is being started, STOPPING
    while it is being stopped, and empty if nothing was started since. ``well_since`` is when it was healthy last
    after a start (ISO 8601). ``build`` is the last build: artifact, built (ISO 8601), settings, revisions.
    ``database`` has the fields of :class:`db_version.VersionRecord`. ``has_new_admin_password`` is true while the
    database may not know the password in SECRETS_DIR yet. ``stack`` is the stack of Swarm that was healthy last.
    """

    started: str = ""
    well_since: str = ""
    build: Mapping[str, Any] = field(default_factory=dict)
    database: Mapping[str, Any] = field(default_factory=dict)
    has_new_admin_password: bool = False
    stack: Mapping[str, Any] = field(default_factory=dict)


def read(settings: Settings, engine: str) -> Record:
    """The record of an engine; an empty one if there is none. Raises UserError if a later version wrote it."""
    file = _file(settings, engine)
    if not file.is_file():
        old = _of_old_files(settings, engine)
        if not file.is_file():  # else it was written while the old ones were read
            return old
    saved = _checked(files.read_object(file, "format"), file)
    return Record(**{item.name: saved[item.name] for item in fields(Record) if item.name in saved})


def update(settings: Settings, engine: str, *, if_started: str | None = None, **changes: Any) -> bool:
    """Change fields of the record; with ``if_started`` only if that is what is started. True if it was done.

    Raises UserError if STATE_DIR cannot be written.
    """
    files.make_directory(settings.state_dir, "STATE_DIR")
    with locks.locked(settings.state_dir / ".record.lock", "STATE_DIR"):
        before = read(settings, engine)
        if if_started not in (None, before.started):
            return False
        files.write(_file(settings, engine), _text(asdict(replace(before, **changes))))
        for old in _old_files(settings, engine).values():
            old.unlink(missing_ok=True)
        return True


def owner(settings: Settings) -> str:
    """The project that STATE_DIR belongs to; empty if it belongs to none."""
    file = settings.state_dir / "project.json"
    if file.is_file():
        return str(_checked(files.read_object(file, "format"), file).get("project", ""))
    old = settings.state_dir / "project"
    return old.read_text().strip() if old.is_file() else ""


def claim(settings: Settings) -> None:
    """Record STATE_DIR as this project's."""
    files.make_directory(settings.state_dir, "STATE_DIR")
    files.write(settings.state_dir / "project.json", _text({"project": settings.compose_project_name}))
    (settings.state_dir / "project").unlink(missing_ok=True)


def undo_file(settings: Settings, engine: str) -> Path:
    """What it takes to undo a replacement of database and keys. It holds keys: mode 0600."""
    return settings.state_dir / f"undo.{engine}.json"


def _file(settings: Settings, engine: str) -> Path:
    return settings.state_dir / f"{engine}.json"


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, **content}, indent=1).encode()


def _checked(saved: dict[str, Any], file: Path) -> dict[str, Any]:
    if saved.get("format", FORMAT) > FORMAT:
        raise UserError(str(file), "was written by a later airflow-docker.", "Use that version, or a later one.")
    return saved


def _old_files(settings: Settings, engine: str) -> dict[str, Path]:
    """The files that there were before, by the field that each became."""
    names = {
        "started": f"up.{engine}", "well_since": f"well.{engine}", "build": f"build.{engine}.json",
        "database": f"database.{engine}.json", "has_new_admin_password": f"admin-password.{engine}",
        **({"stack": "swarm.stack.json"} if engine == "swarm" else {}),
    }  # fmt: skip
    return {name: settings.state_dir / file for name, file in names.items()}


def _of_old_files(settings: Settings, engine: str) -> Record:
    old = {name: file for name, file in _old_files(settings, engine).items() if file.is_file()}
    return Record(
        started=old["started"].read_text() if "started" in old else "",
        well_since=old["well_since"].read_text() if "well_since" in old else "",
        build=files.read_object(old["build"], "artifact") if "build" in old else {},
        database=files.read_object(old["database"], "airflow") if "database" in old else {},
        has_new_admin_password="has_new_admin_password" in old,
        stack=files.read_object(old["stack"], "services") if "stack" in old else {},
    )
