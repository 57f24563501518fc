"""Clones a checkout with GitPython, which reports progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from airflow_docker.sources import remotes
from airflow_docker.sources.checkouts import Report, Source


def load_git() -> None:
    """Import GitPython before threads start: in a thread it may be only partly imported by another one."""
    import git  # noqa: F401


def clone(source: Source, target: Path, report: Report) -> None:
    """Clone ``source`` into ``target`` without checking out files. Raises Refused with git's output if that fails."""
    from git import Git, Repo
    from git.exc import GitError

    class Plain(Git):
        """git without GitPython's expansion of ``$NAME`` in paths."""

        def __init__(self, working_dir: Any = None) -> None:
            super().__init__(working_dir)
            self._working_dir = working_dir

    class Repository(Repo):
        GitCommandWrapperType = Plain

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"expand_vars": False})

    progress = _progress(report)
    try:
        Repository.clone_from(source.url, target, progress=progress, env=source.environment, no_checkout=True).close()
    except GitError as error:
        raise remotes.Refused("\n".join(progress.error_lines) or str(error)) from None


def _progress(report: Report) -> Any:
    from git import RemoteProgress

    class Progress(RemoteProgress):
        _stages: ClassVar[dict[int, str]] = {
            RemoteProgress.COUNTING: "counting",
            RemoteProgress.COMPRESSING: "compressing",
            RemoteProgress.RECEIVING: "receiving",
            RemoteProgress.RESOLVING: "resolving",
        }

        def update(
            self, op_code: int, cur_count: str | float, max_count: str | float | None = None, message: str = ""
        ) -> None:
            stage = self._stages.get(op_code & self.OP_MASK, "working")
            report(stage, float(cur_count or 0) / float(max_count or 1))

    return Progress()
