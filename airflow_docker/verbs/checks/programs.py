"""The programs that the verbs run: that they are there, and new enough."""

from __future__ import annotations

import sys

from airflow_docker import shell
from airflow_docker.engines import Engine
from airflow_docker.findings import Finding, ok
from airflow_docker.requirements import resolver
from airflow_docker.settings import Settings
from airflow_docker.sources import git_command

PYTHON = (3, 11)


def python(settings: Settings, engine: Engine) -> Finding:
    version = "{}.{}.{}".format(*sys.version_info[:3])
    if sys.version_info[:2] < PYTHON:
        return Finding(
            "error", f"{version} is too old.", "Name a Python 3.11 or newer: PYTHON=/path/to/python3.11 ./inv"
        )
    return ok(version)


def git(settings: Settings, engine: Engine) -> Finding:
    return ok(git_command.require_git())


def uv(settings: Settings, engine: Engine) -> Finding:
    result = shell.capture([resolver.uv(), "--version"])
    if result.returncode:
        return Finding("error", "uv does not start.", "Remove .venv and type: ./inv doctor")
    return ok(result.stdout.removeprefix("uv ").strip())
