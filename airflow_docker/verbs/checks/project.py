"""What belongs to the project on this machine: who runs it, its folders, its secrets."""

from __future__ import annotations

import os

from airflow_docker import files, secret_files
from airflow_docker.database import db_version
from airflow_docker.engines import Engine, folders
from airflow_docker.findings import Finding, ok, problems
from airflow_docker.settings import Settings
from airflow_docker.sources import checkouts, repos

WRITES_THEM = "inv up writes them."


def uid(settings: Settings, engine: Engine) -> Finding:
    owner = secret_files.owner_for(engine.secret_owner)
    if owner is None:
        return ok("Docker Desktop shows files to the services as their own")
    return ok(f"the services run as uid {owner}, you are {os.geteuid()}")


def airflow_version(settings: Settings, engine: Engine) -> Finding:
    db_version.check_compatible(engine)
    return ok(f"Airflow {settings.airflow_version}; the database is of none that is newer")


def host_folders(settings: Settings, engine: Engine) -> Finding:
    owner = engine.secret_owner.owner
    if errors := folders.problems(settings, owner):
        return problems(errors)
    if errors := folders.unwritable_archives(settings, owner):
        return problems(errors, "warning")
    return ok("all are there, or are made by inv up, and the services may write them")


def dags(settings: Settings, engine: Engine) -> Finding:
    source = repos.select(repos.sources(settings), "ao-workflows")[0]
    if checkouts.is_missing(source):
        return Finding("skipped", f"there is no checkout at {source.path} yet.", "inv up clones it.")
    if errors := folders.dag_problems(settings, engine.secret_owner.owner):
        return problems(errors)
    return ok(f"{settings.dags_dir} is in the checkout")


def build_dir(settings: Settings, engine: Engine) -> Finding:
    folder = settings.build_dir
    files.require_ours(folder, "BUILD_DIR")
    files.require_makeable(folder, "BUILD_DIR")
    if not folder.is_dir():
        return ok(f"{folder} is made when it is needed")
    return ok(f"{folder} is ours to fill")


def secrets(settings: Settings, engine: Engine) -> Finding:
    """What `inv up` will rewrite is no error; what others can read, or nobody can write, is one."""
    folder = settings.secrets_dir
    if os.path.lexists(folder):
        secret_files.require_directory(folder)
    files.require_makeable(folder, "SECRETS_DIR")
    states = secret_files.check(settings, engine.secret_owner)
    wrong = [state for state in states if state.problem]
    if exposed := [state for state in wrong if state.exposed]:
        return Finding("error", _describe(exposed), "Type: inv secrets")
    if len(wrong) == len(states) and not any(state.file.exists() for state in states):
        return Finding("warning", f"nothing is written yet in {folder}.", WRITES_THEM)
    if wrong:
        return Finding("warning", _describe(wrong), WRITES_THEM)
    return ok(f"all {len(states)} files in {folder} are in order")


def _describe(states: list[secret_files.State]) -> str:
    return "; ".join(f"{state.file.name}: {state.problem}" for state in states) + "."
