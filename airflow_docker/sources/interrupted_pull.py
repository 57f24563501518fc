"""Repairs a checkout after an interrupted pull: stale lock files are removed and the fast-forward is finished.

Git updates file after file, so a kill leaves a mix of files of the old and the new commit. A file in .git records
the two commits. The fast-forward is finished only if every changed file is that of one of the two commits, is
missing, or is the beginning of the new file. Otherwise somebody has edited files, and nothing is changed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_docker import files
from airflow_docker.errors import UserError
from airflow_docker.sources import git_command

if TYPE_CHECKING:
    import psutil

LOCK, _NOTE, _INDEX = "airflow-docker.lock", "airflow-docker.step", "airflow-docker.index"


def begin_step(git_dir: Path, old: str, new: str) -> None:
    """Record that the fast-forward from ``old`` to ``new`` begins."""
    files.write(git_dir / _NOTE, f"{old} {new}".encode())


def end_step(git_dir: Path) -> None:
    """Record that it is done."""
    (git_dir / _NOTE).unlink(missing_ok=True)


def finish(folder: Path, git_dir: Path, began_at: float) -> None:
    """Repair the checkout in ``folder`` after a killed pull or an unfinished fast-forward.

    ``began_at`` is when the killed pull began, in seconds since 1970, or 0. Raises UserError if another git
    process runs there.
    """
    note = git_dir / _NOTE
    if not began_at and not note.is_file():
        return
    import psutil

    since = began_at or note.stat().st_mtime
    if any(_works_in(folder, process) for process in psutil.process_iter(["name", "cwd", "ppid"])):
        raise UserError(
            str(folder),
            "a pull was interrupted here, and another git process runs.",
            "Try again after that.",
        )
    for file in [*git_dir.rglob("*.lock"), *(git_dir / "objects").rglob("tmp_*")]:
        if file.name != LOCK and file.is_file() and file.stat().st_mtime >= since - 1:
            file.unlink()
    if note.is_file():
        old, _, new = note.read_text().partition(" ")
        step = _Step(folder, git_dir, old, new)
        if step.is_half_done():
            step.git("reset", "--quiet", "--hard", new)
        end_step(git_dir)


def _works_in(folder: Path, process: psutil.Process) -> bool:
    """True for a git process in ``folder`` that this process has not started."""
    name, cwd = process.info["name"] or "", process.info["cwd"]
    return name.startswith("git") and bool(cwd) and Path(cwd) == folder and process.info["ppid"] != os.getpid()


class _Step:
    """The fast-forward of a checkout from the commit ``old`` to ``new``."""

    def __init__(self, folder: Path, git_dir: Path, old: str, new: str) -> None:
        self.folder, self.index, self.old, self.new = folder, git_dir / _INDEX, old, new

    def git(self, *args: str, index: bool = False) -> str:
        """The output of git, with an index of our own if ``index``."""
        env = {"GIT_INDEX_FILE": str(self.index)} if index else {}
        return git_command.run(self.folder, *args, env=env).stdout

    def is_half_done(self) -> bool:
        """True if the fast-forward is unfinished and nobody has changed files since."""
        if self.git("rev-parse", "HEAD").strip() != self.old:
            return False
        names = ("diff", "--name-only", "-z", "--no-renames")
        touched = _split(self.git(*names, self.old, self.new))
        added = _split(self.git(*names, "--diff-filter=A", self.old, self.new))
        changed, unfinished = self._differing(self.old), self._differing(self.new)
        return changed <= touched and all(map(self._is_beginning, unfinished & touched & (changed | added)))

    def _differing(self, commit: str) -> set[str]:
        """The files of a commit that now differ or are missing."""
        try:
            self.git("read-tree", commit, index=True)
            return _split(self.git("diff", "--name-only", "-z", "--no-renames", index=True))
        finally:
            self.index.unlink(missing_ok=True)

    def _is_beginning(self, name: str) -> bool:
        """True if the file is missing or is the beginning of the new one, as git leaves it."""
        file = self.folder / name
        if not os.path.lexists(file):
            return True
        complete = self.git("cat-file", "--filters", f"{self.new}:{name}")
        return file.is_file() and not file.is_symlink() and complete.startswith(file.read_text(errors="replace"))


def _split(names: str) -> set[str]:
    return set(names.split("\0")) - {""}
