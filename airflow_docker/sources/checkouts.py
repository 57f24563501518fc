"""The state of one checkout, which git reports. Nothing here changes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_docker.errors import UserError
from airflow_docker.settings.types import Secret
from airflow_docker.sources import git_command, remotes

Report = Callable[[str, float], None]
"""A callback with the name of a stage and its progress, from 0 to 1."""


@dataclass(frozen=True)
class Source:
    """A repository of the settings; ``ref`` is a branch, a tag, a commit, or empty for the remote's default branch."""

    name: str
    url: str
    credentials: Secret
    ref: str
    path: Path
    url_setting: str
    ref_setting: str
    path_setting: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which git reaches this source without a prompt."""
        return remotes.environment(self.url, self.credentials.reveal())


def is_missing(source: Source) -> bool:
    """True if there is nothing at the source's path yet: no entry, or an empty folder."""
    return not source.path.exists() or (source.path.is_dir() and not any(source.path.iterdir()))


@dataclass(frozen=True)
class Head:
    """The state of a checkout: commit, branch (empty if detached), and whether there are local changes."""

    commit: str
    branch: str
    dirty: bool


def head(source: Source) -> Head:
    """The state of the checkout of ``source``. Raises UserError if git cannot read one."""
    if is_missing(source):
        raise UserError(source.path_setting, f"there is no checkout at {source.path}.", "Type: inv pull")
    result = git_command.run(
        source.path, "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no"
    )
    if result.returncode:
        raise unreadable(source, result.stderr)
    lines = result.stdout.splitlines()
    notes = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    if notes["branch.oid"] == "(initial)":
        raise UserError(str(source.path), "the repository has no commit yet.", "Move it away and type: inv pull")
    branch = notes["branch.head"].replace("(detached)", "")
    return Head(notes["branch.oid"], branch, any(not line.startswith("# ") for line in lines))


def unreadable(source: Source, stderr: str) -> UserError:
    """The error for a checkout that git cannot read."""
    git_dir, owner = source.path / ".git", source.path.stat().st_uid
    if not (git_dir.is_file() or all((git_dir / name).exists() for name in ("HEAD", "objects", "refs"))):
        todo = "Name another folder, or move what is there away."
        return UserError(source.path_setting, f"{source.path} holds files and is not a git repository.", todo)
    if owner != os.geteuid():
        todo = f"Type: git config --global --add safe.directory {source.path}"
        return UserError(str(source.path), f"the repository belongs to uid {owner}, so git refuses it.", todo)
    what = f"git cannot read this repository ({remotes.last_line(stderr)})."
    return UserError(str(source.path), what, "Move it away and type: inv pull")


def time_of(source: Source, commit: str) -> int:
    """The time of a commit, in seconds since 1970."""
    return int(git_command.run(source.path, "log", "-1", "--no-show-signature", "--format=%ct", commit).stdout)


def has_commit(source: Source, commit: str) -> bool:
    """True if the checkout of ``source`` exists and has this commit."""
    return (
        not is_missing(source)
        and git_command.run(source.path, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0
    )


def commits_since(source: Source, revision: str) -> int | None:
    """The number of commits from ``revision`` to HEAD; None if the checkout does not have that revision."""
    result = git_command.run(source.path, "rev-list", "--count", "--end-of-options", f"{revision}..HEAD")
    return None if result.returncode else int(result.stdout)


def changed_since(source: Source, revision: str, paths: list[str]) -> list[str]:
    """Files below ``paths`` (inside the checkout) that now differ from the commit ``revision``."""
    inside = [path for path in paths if not Path(path).expanduser().is_absolute()]
    if not inside:
        return []
    return git_command.run(
        source.path, "diff", "--name-only", "--end-of-options", revision, "--", *inside
    ).stdout.splitlines()
