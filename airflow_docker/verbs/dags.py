"""Parse the DAGs with the last build."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow_docker import console, secret_files
from airflow_docker.database import db_version
from airflow_docker.engines import Engine, folders
from airflow_docker.errors import FAILED, UserError
from airflow_docker.verbs import builds, import_errors

SLOW_SECONDS = 3.0
"""Airflow parses each DAG file again and again, so there is a warning for those that take longer."""


def check(engine: Engine, as_json: bool) -> None:
    """Parse every DAG file as the scheduler would; show DAGs and import errors.

    Raises UserError if there is an import error, or no DAG at all.
    """
    engine = _prepared(engine)
    parsed_dags = parse(engine, isolated=db_version.current(engine) != engine.settings.airflow_version)
    if as_json:
        console.out(json.dumps(parsed_dags, indent=2))
    else:
        _show(parsed_dags)
    if parsed_dags["errors"]:
        count = len(parsed_dags["errors"])
        raise UserError(
            "inv dags", f"{count} file{'s' * (count > 1)} cannot be imported.", "Fix the errors above.", FAILED
        )
    if not parsed_dags["dags"]:
        raise UserError("DAGS_DIR", f"there is no DAG in {engine.settings.dags_dir}.", "Name the folder of the DAGs.")


def parse(engine: Engine, *, isolated: bool) -> dict[str, Any]:
    """DAGs and errors of each file; ``isolated`` from the database of the stack. Raises UserError without an answer."""
    parsed = engine.parse_dags(isolated=isolated)
    if parsed.returncode or not parsed.stdout:
        console.say(parsed.stderr.rstrip())
        what = f"the DAGs could not be parsed (it ended with exit code {parsed.returncode})."
        raise UserError("DAGS_DIR", what, "See above.")
    parsed_dags: dict[str, Any] = json.loads(parsed.stdout)
    parsed_dags["errors"] = [
        import_errors.described(error["file"], error["traceback"]) for error in parsed_dags["errors"]
    ]
    return parsed_dags


def _prepared(engine: Engine) -> Engine:
    """The engine with the last build, after preparing what else a parse needs."""
    artifact = builds.require_last(engine)
    secret_files.write(engine.settings, engine.secret_owner)
    folders.prepare(engine.settings, engine.secret_owner.owner)
    if builds.built(engine) != artifact:
        console.warn("the settings, or airflow-docker itself, have changed since the last build. Type: inv build")
    return engine.with_artifact(artifact)


def _show(parsed_dags: dict[str, Any]) -> None:
    folder = parsed_dags["folder"]
    rows = [[d["dag"], short(d["file"], folder), str(d["tasks"]), d["schedule"] or ""] for d in parsed_dags["dags"]]
    if rows:
        console.table(["dag", "file", "tasks", "schedule"], rows)
    if parsed_dags["errors"]:
        console.out("")
        show_errors(parsed_dags)
    for file in [f for f in parsed_dags["files"] if f["seconds"] > SLOW_SECONDS]:
        console.warn(f"{short(file['file'], folder)} takes {file['seconds']:.1f} s to parse: move work into its tasks.")


def show_errors(parsed_dags: dict[str, Any], *, on_stderr: bool = False) -> None:
    """The import errors, each with the line of the DAG file that led to it."""
    folder = parsed_dags["folder"]
    locations = [
        f"{short(e['file'], folder)}{':' + str(e['line']) if e['line'] else ''}" for e in parsed_dags["errors"]
    ]
    rows = [[location, e["error"]] for location, e in zip(locations, parsed_dags["errors"], strict=True)]
    console.table(["import error", ""], rows, on_stderr=on_stderr)


def short(file: str, folder: str) -> str:
    """A DAG file relative to the DAG folder."""
    return os.path.relpath(file, folder) if Path(file).is_relative_to(folder) else file
