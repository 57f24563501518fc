"""A pull that was killed half-way is done to the end by the next, unless somebody has worked on the files since."""

import subprocess

import pytest
from conftest import git
from test_repos import sync

from airflow_docker.errors import UserError
from airflow_docker.sources import interrupted_pull

TEXT = "line of the new commit\n" * 50


@pytest.fixture
def stopped(remote, tmp_path):
    """A checkout in the midst of its step: a file new, one half-written, one added, one removed, others as before."""
    for name in ("changed", "half", "later", "mine"):
        remote.commit("before", name)
    git(remote.tree, "rm", "--quiet", "file.txt")
    checkout = tmp_path / "here" / "checkout"
    sync(remote, checkout)
    old = git(checkout, "rev-parse", "HEAD")
    for name in ("changed", "half", "later", "added"):
        new = remote.commit(TEXT, name)
    git(checkout, "fetch", "--quiet", "origin")
    interrupted_pull.begin_step(checkout / ".git", old, new)
    (checkout / "changed").write_text(TEXT)
    (checkout / "half").write_text(TEXT[:100])
    (checkout / "added").write_text(TEXT[:7])
    (checkout / "file.txt").unlink(missing_ok=True)
    (checkout / ".git" / "index.lock").touch()
    (checkout / ".git" / interrupted_pull.LOCK).write_text("process 1\n1.1")
    return checkout


def test_the_next_pull_does_the_step_to_its_end(remote, stopped):
    assert sync(remote, stopped).new == git(remote.tree, "rev-parse", "HEAD")
    assert git(stopped, "status", "--porcelain") == ""
    assert (stopped / "half").read_text() == TEXT
    assert not [f.name for f in (stopped / ".git").rglob("*") if f.name.endswith(".lock") or "airflow-docker" in f.name]


def test_the_same_without_a_kill_as_after_an_interruption(remote, stopped):
    for name in ("index.lock", interrupted_pull.LOCK):
        (stopped / ".git" / name).unlink()
    sync(remote, stopped)
    assert git(stopped, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["mine", "half", "added", "later"])
def test_work_that_was_done_since_is_left_alone(remote, stopped, name):
    (stopped / name).write_text("my own work\n")
    with pytest.raises(UserError, match="there are local changes"):
        sync(remote, stopped)
    assert (stopped / name).read_text() == "my own work\n"
    assert (stopped / "half").exists()


def test_nothing_is_removed_under_another_git(remote, stopped):
    """One that somebody else has started, and that may hold a lock of its own."""
    command = ["sh", "-c", "git cat-file --batch-check; true"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=stopped, **pipes) as other:
        print("HEAD", file=other.stdin, flush=True)
        assert other.stdout.readline()
        with pytest.raises(UserError, match="another git process runs"):
            sync(remote, stopped)
    assert (stopped / ".git" / "index.lock").exists()
