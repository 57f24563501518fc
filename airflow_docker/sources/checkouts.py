"""One checkout: cloned when missing, otherwise only ever fast-forwarded, so that no work is ever lost."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_docker import files, shell
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings.types import Secret, redact
from airflow_docker.sources import half_pulled, remotes

if TYPE_CHECKING:
    from git import Repo

GIT = (2, 31)
"""The oldest that will do: from then on it takes configuration from its environment, which is how it is let in."""
Report = Callable[[str, float], None]
"""Takes a stage in words and how far it is, from 0 to 1."""


def load_git() -> None:
    """Import GitPython before threads do, of which one may find what another has half imported."""
    import git  # noqa: F401


@dataclass(frozen=True)
class Source:
    """A repository as the settings ask for it; ``ref`` is a branch, a tag, a commit or empty for the remote's own."""

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
        """What git needs in its environment to reach this source without asking."""
        return remotes.environment(self.url, self.credentials.reveal())


@dataclass(frozen=True)
class Pulled:
    """What a pull did: ``old`` is None after a clone, and equals ``new`` when nothing was new."""

    source: Source
    branch: str
    old: str | None
    new: str

    @property
    def text(self) -> str:
        """One line for a person: repository, branch, old and new commit."""
        if self.old is None:
            change = f"cloned at {self.new[:10]}"
        else:
            change = f"already at {self.new[:10]}" if self.old == self.new else f"{self.old[:10]} → {self.new[:10]}"
        return f"{self.source.name}: {self.branch}, {change}"


def is_missing(source: Source) -> bool:
    """True if there is nothing at the source's path yet: no entry, or an empty folder."""
    return not source.path.exists() or (source.path.is_dir() and not any(source.path.iterdir()))


@dataclass(frozen=True)
class Head:
    """Where a checkout stands: its commit, the commit's time in seconds since 1970, and whether files differ."""

    commit: str
    time: int
    dirty: bool


def head(source: Source) -> Head:
    """Where the checkout of ``source`` stands. Raises UserError if there is none that git can read."""
    if is_missing(source):
        raise UserError(source.path_setting, f"there is no checkout at {source.path}.", "Type: inv pull")
    git = ["git", "-C", str(source.path)]
    found = shell.capture([*git, "log", "-1", "--no-show-signature", "--format=%H %ct"])
    if found.returncode or not (source.path / ".git").exists():
        _open(source).close()  # says why
        raise UserError(str(source.path), "the repository has no commit yet.", "Move it away and type: inv pull")
    changed = shell.capture([*git, "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    commit, seconds = found.stdout.split()
    return Head(commit, int(seconds), bool(changed))


def has_commit(source: Source, commit: str) -> bool:
    """True if the checkout of ``source`` is there and has this commit."""
    if is_missing(source):
        return False
    asked = ["git", "-C", str(source.path), "cat-file", "-e", f"{commit}^{{commit}}"]
    return shell.capture(asked).returncode == 0


def changed_since(source: Source, revision: str, paths: list[str]) -> list[str]:
    """Files below ``paths`` (inside the checkout) that differ from the commit ``revision``, as they are now."""
    inside = [path for path in paths if not Path(path).expanduser().is_absolute()]
    if not inside:
        return []
    args = ["git", "-C", str(source.path), "diff", "--name-only", "--end-of-options", revision, "--", *inside]
    return shell.capture(args).stdout.splitlines()


def require_git() -> str:
    """The version of git, in its own words. Raises UserError if there is none, or one that is too old."""
    wished = ".".join(map(str, GIT))
    if shutil.which("git") is None:
        raise UserError("git", "the program is not installed or not on PATH.", f"Install git {wished} or newer.")
    said = shell.capture(["git", "--version"]).stdout.strip().removeprefix("git version ")
    if shell.version_in(said) < GIT:
        raise UserError("git", f"version {said or '(none)'} is too old.", f"Install git {wished} or newer.")
    return said


def sync(source: Source, report: Report) -> Pulled:
    """Clone or fast-forward one repository. Raises UserError, with nothing changed, where that is not possible."""
    require_git()
    if os.path.lexists(source.path) and not source.path.is_dir():
        raise UserError(source.path_setting, f"{source.path} is not a folder.", "Name another, or move it away.", USAGE)
    return _clone(source, report) if is_missing(source) else _fast_forward(source, report)


def _clone(source: Source, report: Report) -> Pulled:
    """Clone into a marked folder beside the target and move it into place when it is whole."""
    from git.exc import GitError

    target, progress = source.path.resolve(), _Progress(report)
    files.make_directory(target.parent, source.path_setting)
    try:
        with files.locked(target.parent / f".{target.name}.lock", source.name):
            if is_missing(source):  # else somebody was quicker
                return _cloned(source, target, progress)
    except GitError as error:  # asked about when all is put away, as the answer may take its time
        raise remotes.explain(source.url, source.url_setting, remotes.last_line(error, progress)) from None
    return _fast_forward(source, report)


def _cloned(source: Source, target: Path, progress: Any) -> Pulled:
    """Raises GitError if that fails. To be called with the lock of the target held."""
    partial = target.parent / f".{target.name}.partial"
    files.purge(partial, source.path_setting)
    files.claim(partial, source.path_setting)
    try:
        repo = _repository().clone_from(
            source.url, partial / "checkout", progress=progress, env=source.environment, no_checkout=True
        )
        branch, commit = _target(repo, source)
        if branch:
            repo.git.checkout("-B", branch, "--track", f"origin/{branch}")
        else:
            repo.git.checkout("--detach", commit)
        repo.close()
        if target.exists():
            target.rmdir()
        (partial / "checkout").rename(target)
    finally:
        files.purge(partial, source.path_setting)
    return Pulled(source, branch or source.ref, None, commit)


def _fast_forward(source: Source, report: Report) -> Pulled:
    repo = _open(source)
    git_dir = Path(repo.git_dir)
    try:
        with files.locked(git_dir / half_pulled.LOCK, source.name) as killed:
            half_pulled.mend(source.path.resolve(), git_dir, killed)
            _check_unchanged(repo, source)
            old = repo.head.commit.hexsha
            _fetch(repo, source, report)
            branch, new = _target(repo, source)
            _check_position(repo, source, branch, new)
            if old != new:
                _require_way(repo, source, new)
                half_pulled.begin_step(git_dir, old, new)
                _advance(repo, source, new)
                half_pulled.end_step(git_dir)
        return Pulled(source, branch or source.ref, old, new)
    finally:
        repo.close()


def _fetch(repo: Repo, source: Source, report: Report) -> None:
    """Bring all branches, and the tag that is asked for, if it is one; a branch that is gone is gone here too."""
    from git.exc import GitError

    progress, origin = _Progress(report), repo.remotes.origin
    try:
        origin.fetch("+refs/heads/*:refs/remotes/origin/*", progress=progress, prune=True, env=source.environment)
    except GitError as error:
        raise remotes.explain(source.url, source.url_setting, remotes.last_line(error, progress)) from None
    if source.ref and not _commit(repo, f"refs/remotes/origin/{source.ref}"):
        with contextlib.suppress(GitError):  # no tag either: perhaps a commit
            origin.fetch(f"+refs/tags/{source.ref}:refs/tags/{source.ref}", env=source.environment)


def _repository() -> type[Repo]:
    """GitPython's, without its habit to take ``$NAME`` in a path for a variable."""
    from git import Git, Repo

    class Plain(Git):
        def __init__(self, working_dir: Any = None) -> None:
            super().__init__(working_dir)
            self._working_dir = working_dir

    class Repository(Repo):
        GitCommandWrapperType = Plain

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"expand_vars": False})

    return Repository


def _open(source: Source) -> Repo:
    from git.exc import InvalidGitRepositoryError, NoSuchPathError

    try:
        repo = _repository()(source.path)
        head = repo.git.rev_parse("--git-dir")  # asks git itself, which refuses what another user owns
    except (InvalidGitRepositoryError, NoSuchPathError):
        todo = "Name another folder, or move what is there away."
        raise UserError(source.path_setting, f"{source.path} holds files and is not a git repository.", todo) from None
    except Exception as error:
        owner = source.path.stat().st_uid
        if owner != os.geteuid():
            todo = f"Type: git config --global --add safe.directory {source.path}"
            raise UserError(
                str(source.path), f"the repository belongs to uid {owner}, so git refuses it.", todo
            ) from None
        raise UserError(
            str(source.path),
            f"git cannot read this repository ({remotes.last_line(error)}).",
            "Move it away to clone it anew.",
        ) from None
    del head
    return repo


def _check_unchanged(repo: Repo, source: Source) -> None:
    """Stop where a pull might lose work or would follow the wrong remote."""
    where = str(source.path)
    if not repo.head.is_valid():
        raise UserError(where, "the repository has no commit yet.", "Move it away to clone it anew.")
    urls = list(repo.remotes.origin.urls) if "origin" in [remote.name for remote in repo.remotes] else []
    if source.url not in urls and not any(remotes.same(source.url, url) for url in urls):
        found = f"its remote origin is {redact(urls[0])}" if urls else "it has no remote origin"
        todo = f"Correct {source.url_setting}, or type: git -C {where} remote set-url origin {redact(source.url)}"
        raise UserError(where, f"{found}, not {redact(source.url)}.", todo)
    changed = repo.git.status("--porcelain", "--untracked-files=no").splitlines()
    if changed:
        what = f"there are local changes in {len(changed)} file(s), first {changed[0][2:].strip()}."
        raise UserError(where, what, f"Commit them, or type: git -C {where} stash")


def _target(repo: Repo, source: Source) -> tuple[str, str]:
    """The branch (empty for a tag or a commit) and the commit that the settings ask for, as just fetched."""
    ref = source.ref
    if not ref:
        ref = _default_branch(repo, source)
    commit = _commit(repo, f"refs/remotes/origin/{ref}") if ref else None
    if commit:
        return ref, commit
    commit = _commit(repo, f"refs/tags/{ref}") if ref else None
    if not commit and re.fullmatch(r"[0-9a-f]{7,64}", ref):
        commit = _commit(repo, ref)
    if not commit:
        raise no_such_ref(source, ref)
    return "", commit


def commits_since(source: Source, revision: str) -> int | None:
    """How many commits the checkout has that ``revision`` has not; None if it does not know that revision."""
    from git.exc import GitCommandError

    try:
        with _repository()(source.path) as repo:
            return int(repo.git.rev_list("--count", f"{revision}..HEAD"))
    except (GitCommandError, ValueError):
        return None


def no_such_ref(source: Source, ref: str) -> UserError:
    """The sentence for a ``ref`` that the remote does not have."""
    what = f"'{ref}' is no branch, tag or commit of {redact(source.url)}." if ref else "the remote has no commits."
    return UserError(source.ref_setting, what, f"List what there is: git ls-remote {redact(source.url)}")


def _default_branch(repo: Repo, source: Source) -> str:
    """The branch the remote prefers, as noted here, or as it says when that is not noted or is gone; empty if none."""
    from git.exc import GitCommandError

    for note in (False, True):
        with contextlib.suppress(GitCommandError):
            if note:
                repo.git.remote("set-head", "origin", "--auto", env=source.environment)
            name = repo.git.symbolic_ref("--short", "refs/remotes/origin/HEAD").removeprefix("origin/")
            if _commit(repo, f"refs/remotes/origin/{name}"):
                return str(name)
    return ""


def _commit(repo: Repo, ref: str) -> str | None:
    from git.exc import GitCommandError

    try:
        return str(repo.git.rev_parse("--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"))
    except GitCommandError:
        return None


def _check_position(repo: Repo, source: Source, branch: str, new: str) -> None:
    """The checkout must stand where the settings ask, with nothing that the remote does not have."""
    where = str(source.path)
    current = None if repo.head.is_detached else repo.active_branch.name
    if branch and current != branch:
        found = f"is on branch {current}" if current else f"is detached at {repo.head.commit.hexsha[:10]}"
        todo = f"Type: git -C {where} switch {branch} (or change {source.ref_setting})."
        raise UserError(where, f"the checkout {found}, not on branch {branch}.", todo)
    if not branch and current is not None and repo.head.commit.hexsha != new:
        todo = f"Type: git -C {where} switch --detach {source.ref} (or change {source.ref_setting})."
        raise UserError(where, f"the checkout is on branch {current}, not at {source.ref}.", todo)
    if (
        not branch
        and repo.is_ancestor(new_commit := repo.commit(new), repo.head.commit)
        and repo.head.commit != new_commit
    ):
        what = f"the checkout is at {repo.head.commit.hexsha[:10]}, which is later than {source.ref}."
        raise UserError(where, what, f"Type: git -C {where} switch --detach {source.ref}")
    if not repo.is_ancestor(repo.head.commit, repo.commit(new)):
        ahead = len(list(repo.iter_commits(f"{new}..HEAD")))
        todo = f"Look at them: git -C {where} log {new[:10]}..HEAD; then push, rebase or reset."
        raise UserError(where, f"{ahead} local commit(s) are not in {source.ref or branch} of the remote.", todo)


def _require_way(repo: Repo, source: Source, new: str) -> None:
    """Raise UserError where git would refuse the step: what is begun and not done is taken for half written."""
    from git.exc import GitCommandError

    try:
        repo.git.read_tree("--dry-run", "-m", "-u", "--exclude-per-directory=.gitignore", "HEAD", new)
    except GitCommandError as error:
        raise _blocked(source, new, error) from None


def _advance(repo: Repo, source: Source, new: str) -> None:
    from git.exc import GitCommandError

    try:
        repo.git.merge("--ff-only", new)
    except GitCommandError as error:
        raise _blocked(source, new, error) from None


def _blocked(source: Source, new: str, error: Exception) -> UserError:
    todo = f"See what stands in the way: git -C {source.path} merge --ff-only {new[:10]}"
    return UserError(str(source.path), f"cannot be fast-forwarded ({remotes.last_line(error)}).", todo)


def _Progress(report: Report) -> Any:
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
