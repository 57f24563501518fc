"""Runs git: the only module that does, apart from the first clone, which GitPython makes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

from airflow_docker import shell
from airflow_docker.errors import UserError

GIT = (2, 31)
"""The oldest supported version: it reads configuration, and so credentials, from its environment."""


def run(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
    """Run git in the repository ``folder``, not in one above it, with output in English."""
    return shell.capture(command(folder, *args), env=environment(folder) | dict(env or {}))


def command(folder: Path | None, *args: str) -> list[str]:
    """The argument list of git in a folder, or in none."""
    return ["git", *(["-C", str(folder)] if folder else []), *args]


def environment(folder: Path) -> dict[str, str]:
    """Variables for git in a folder: output in English, no search for a repository above it."""
    return {"LC_ALL": "C", "LANGUAGE": "C", "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}


def require_git() -> str:
    """The version of git as it prints it. Raises UserError if git is missing or too old."""
    oldest = ".".join(map(str, GIT))
    if shutil.which("git") is None:
        raise UserError("git", "the program is not installed or not on PATH.", f"Install git {oldest} or newer.")
    version = shell.capture(["git", "--version"]).stdout.strip().removeprefix("git version ")
    if shell.version_in(version) < GIT:
        raise UserError("git", f"version {version or '(none)'} is too old.", f"Install git {oldest} or newer.")
    return version
