"""The pull of one checkout: cloned if missing, otherwise only fast-forwarded, so that no work is lost."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from airflow_docker import files, locks, shell
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings.types import redact
from airflow_docker.sources import git_command, interrupted_pull, remotes
from airflow_docker.sources.checkouts import Head, Report, Source, commits_since, head, is_missing, unreadable

_STAGE = re.compile(r"(?:remote: )?(Counting|Compressing|Receiving|Resolving) \w+: +(\d+)%")
"""A line of git's progress."""


@dataclass(frozen=True)
class Pulled:
    """The result of a pull: ``old`` is None after a clone, and equals ``new`` if nothing was new."""

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


def sync(source: Source, report: Report) -> Pulled:
    """Clone or fast-forward one repository. Raises UserError, and changes nothing, if that is not possible."""
    if os.path.lexists(source.path) and not source.path.is_dir():
        raise UserError(source.path_setting, f"{source.path} is not a folder.", "Name another, or move it away.", USAGE)
    return _clone(source, report) if is_missing(source) else _fast_forward(source, report)


def _clone(source: Source, report: Report) -> Pulled:
    """Clone into a marked folder beside the target, and rename it when it is complete."""
    target = source.path.resolve()
    files.make_directory(target.parent, source.path_setting)
    try:
        with locks.locked(target.parent / f".{target.name}.lock", source.name):
            if is_missing(source):  # else another run has cloned it
                return _cloned(source, target, report)
    except remotes.Refused as refusal:  # explained after the clean-up, as finding the reason may take seconds
        raise remotes.explain(source.url, source.url_setting, refusal.stderr) from None
    return _fast_forward(source, report)


def _cloned(source: Source, target: Path, report: Report) -> Pulled:
    """Clone. Raises Refused if that fails. The caller holds the lock of the target."""
    from airflow_docker.sources import clones

    partial = target.parent / f".{target.name}.partial"
    files.purge(partial, source.path_setting)
    files.claim(partial, source.path_setting)
    folder = partial / "checkout"
    try:
        clones.clone(source, folder, report)
        branch, commit = _target(source, folder)
        options = ["-B", branch, "--track", f"origin/{branch}"] if branch else ["--detach", commit]
        result = git_command.run(folder, "checkout", *options, env=source.environment)
        if result.returncode:
            raise remotes.Refused(result.stderr)
        if target.exists():
            target.rmdir()
        folder.rename(target)
    finally:
        files.purge(partial, source.path_setting)
    return Pulled(source, branch or source.ref, None, commit)


def _fast_forward(source: Source, report: Report) -> Pulled:
    result = git_command.run(source.path, "rev-parse", "--absolute-git-dir")
    if result.returncode:
        raise unreadable(source, result.stderr)
    git_dir = Path(result.stdout.removesuffix("\n"))
    with locks.locked(git_dir / interrupted_pull.LOCK, source.name) as began_at:
        interrupted_pull.finish(source.path.resolve(), git_dir, began_at)
        old = head(source)
        _check_unchanged(source, old)
        _fetch(source, report)
        branch, new = _target(source, source.path)
        _check_position(source, old, branch, new)
        if old.commit != new:
            _check_fast_forward(source, new)
            interrupted_pull.begin_step(git_dir, old.commit, new)
            _advance(source, new)
            interrupted_pull.end_step(git_dir)
    return Pulled(source, branch or source.ref, old.commit, new)


def _fetch(source: Source, report: Report) -> None:
    """Fetch all branches, and the tag if ``ref`` is one; prune branches that the remote no longer has."""
    lines: list[str] = []

    def on_line(line: str) -> None:
        if stage := _STAGE.match(line):
            report(stage[1].lower(), int(stage[2]) / 100)
        else:
            lines.append(line)

    command = git_command.command(
        source.path, "fetch", "--prune", "--progress", "origin", "+refs/heads/*:refs/remotes/origin/*"
    )
    if shell.listen(command, on_line, env=git_command.environment(source.path) | source.environment):
        raise remotes.explain(source.url, source.url_setting, remotes.last_line("\n".join(lines)))
    if source.ref and not _commit(source.path, f"refs/remotes/origin/{source.ref}"):
        tag = f"+refs/tags/{source.ref}:refs/tags/{source.ref}"  # this may fail: ref may be a commit
        git_command.run(source.path, "fetch", "origin", tag, env=source.environment)


def _check_unchanged(source: Source, current: Head) -> None:
    """Raise UserError for local changes or another remote."""
    where = str(source.path)
    urls = git_command.run(source.path, "remote", "get-url", "--all", "origin").stdout.splitlines()
    if source.url not in urls and not any(remotes.same(source.url, url) for url in urls):
        current_remote = f"its remote origin is {redact(urls[0])}" if urls else "it has no remote origin"
        todo = f"Correct {source.url_setting}, or type: git -C {where} remote set-url origin {redact(source.url)}"
        raise UserError(where, f"{current_remote}, not {redact(source.url)}.", todo)
    if current.dirty:
        changed = git_command.run(source.path, "status", "--porcelain", "--untracked-files=no").stdout.splitlines()
        what = f"there are local changes in {len(changed)} file(s), first {changed[0][2:].strip()}."
        raise UserError(where, what, f"Commit them, or type: git -C {where} stash")


def _target(source: Source, folder: Path) -> tuple[str, str]:
    """The branch (empty for a tag or a commit) and the commit of ``source.ref``, as fetched."""
    ref = source.ref
    if not ref:
        return _default_branch(source, folder)
    if commit := _commit(folder, f"refs/remotes/origin/{ref}"):
        return ref, commit
    commit = _commit(folder, f"refs/tags/{ref}")
    if not commit and re.fullmatch(r"[0-9a-f]{7,64}", ref):
        commit = _commit(folder, ref)
    if not commit:
        raise no_such_ref(source, ref)
    return "", commit


def no_such_ref(source: Source, ref: str) -> UserError:
    """The error for a ``ref`` that the remote does not have."""
    what = f"'{ref}' is no branch, tag or commit of {redact(source.url)}." if ref else "the remote has no commits."
    return UserError(source.ref_setting, what, f"List what there is: git ls-remote {redact(source.url)}")


def _default_branch(source: Source, folder: Path) -> tuple[str, str]:
    """The remote's default branch and its commit. The remote is asked only if that is not recorded here or gone."""
    for asks_remote in (False, True):
        if asks_remote:
            git_command.run(folder, "remote", "set-head", "origin", "--auto", env=source.environment)
        remote_head = git_command.run(
            folder, "for-each-ref", "--format=%(symref:lstrip=3) %(objectname)", "refs/remotes/origin/HEAD"
        )
        branch, _, commit = remote_head.stdout.strip().partition(" ")
        if branch and commit:
            return branch, commit
    raise no_such_ref(source, "")


def _commit(folder: Path, ref: str) -> str:
    """The commit of a ref; empty if there is none."""
    result = git_command.run(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return "" if result.returncode else result.stdout.strip()  # for a range it prints both ends and then fails


def _check_position(source: Source, current: Head, branch: str, new: str) -> None:
    """Raise UserError unless the checkout is on the right branch or ref, without local commits."""
    where = str(source.path)
    if branch and current.branch != branch:
        now = f"is on branch {current.branch}" if current.branch else f"is detached at {current.commit[:10]}"
        todo = f"Type: git -C {where} switch {branch} (or change {source.ref_setting})."
        raise UserError(where, f"the checkout {now}, not on branch {branch}.", todo)
    if current.commit == new:
        return
    if not branch and current.branch:
        todo = f"Type: git -C {where} switch --detach {source.ref} (or change {source.ref_setting})."
        raise UserError(where, f"the checkout is on branch {current.branch}, not at {source.ref}.", todo)
    if not branch and _is_ancestor(source, new, current.commit):
        what = f"the checkout is at {current.commit[:10]}, which is later than {source.ref}."
        raise UserError(where, what, f"Type: git -C {where} switch --detach {source.ref}")
    if not _is_ancestor(source, current.commit, new):
        todo = f"Look at them: git -C {where} log {new[:10]}..HEAD; then push, rebase or reset."
        what = f"{commits_since(source, new)} local commit(s) are not in {source.ref or branch} of the remote."
        raise UserError(where, what, todo)


def _is_ancestor(source: Source, old: str, new: str) -> bool:
    return git_command.run(source.path, "merge-base", "--is-ancestor", old, new).returncode == 0


def _check_fast_forward(source: Source, new: str) -> None:
    """Raise UserError if git would refuse the merge, before it is recorded as begun."""
    options = ("--dry-run", "-m", "-u", "--exclude-per-directory=.gitignore")
    _check_succeeded(source, new, git_command.run(source.path, "read-tree", *options, "HEAD", new))


def _advance(source: Source, new: str) -> None:
    _check_succeeded(source, new, git_command.run(source.path, "merge", "--ff-only", new))


def _check_succeeded(source: Source, new: str, step: CompletedProcess[str]) -> None:
    if step.returncode:
        todo = f"See what blocks it: git -C {source.path} merge --ff-only {new[:10]}"
        what = f"cannot be fast-forwarded ({remotes.last_line(step.stderr)})."
        raise UserError(str(source.path), what, todo)
