"""A verb that is killed at any moment has broken nothing, and run again it does all of its work.

Each is started as a person starts it and ended by SIGKILL at a random moment: every other time alone, so that
the programs it has started go on, else with its whole process group.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from conftest import git

from airflow_docker import secrets
from trust.conftest import count
from trust.verbs import Running

SEED = int(os.environ.get("TRUST_SEED", time.time_ns() % 10**9))
"""Set the variable to what a failure names to have the same moments again."""
MARKERS = ("marker-drs", "marker-aws", "marker-stored")


class Verb:
    """What is killed: how there is work for it, when it begins to change anything, and what it must have done."""

    def __init__(self, project):
        self.project = project
        self.turn = 0

    @property
    def words(self):
        """The command."""
        return (type(self).__name__.lower(),)

    def prepare(self):
        """See that the next run has all of its work to do."""

    def has_begun(self, running):
        """True when it begins to change something."""
        return True

    def survived(self):
        """What must hold right after the kill, whatever still runs."""

    def whole(self):
        """What must hold after the run that follows."""

    @property
    def settings(self):
        return self.project.settings

    def half_written(self):
        """Files that were not written to their end."""
        return [str(file) for file in self._files("*.json") if not _parses(file)] + [
            str(file) for file in self._files("requirements.lock") if not _is_pinned(file.read_text())
        ]

    def leftovers(self):
        """What somebody who has ended should have taken away, and files that hold secrets where none belong."""
        patterns = ("*.lock", ".resolving-*", ".scripts", "*.partial", "backup.work", ".*.airflow-docker", ".*.part")
        places = (self.settings.state_dir, self.settings.build_dir, self.settings.secrets_dir,
                  self.settings.workflow_dev_dir.parent)  # fmt: skip
        found = [str(f) for place in places for pattern in patterns for f in place.rglob(pattern)]
        # of Airflow's packages and of git's own, and the one that is a result
        return [name for name in found if not re.search(r"/venv/|requirements[.a-z]*\.lock$|node_modules", name)]

    def _files(self, pattern):
        places = (self.settings.state_dir, self.settings.build_dir)
        return [f for place in places for f in place.rglob(pattern) if "/venv/" not in str(f) and f.is_file()]


def _parses(file):
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def _is_pinned(text):
    """True if a lock has nothing but pins with hashes, up to its end."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    return bool(blocks) and all(re.match(r"\S+( @ |==)", b) and "--hash=sha256:" in b for b in blocks)


def exposed(since):
    """New files of the temporary folder in which a secret of the tests stands."""
    found = []
    for file in Path(tempfile.gettempdir()).glob("*"):
        with contextlib.suppress(OSError):
            if file.name.startswith(("pytest-of-", "tmp_")) or file.stat().st_mtime < since or not file.is_file():
                continue
            if any(marker in file.read_bytes().decode(errors="replace") for marker in MARKERS):
                found.append(str(file))
    return found


def kill_again_and_again(verb, times, figure):
    """Run, kill, look, run again and look, so many times."""
    chance, since = random.Random(f"{SEED} {verb.words}"), time.time()
    verb.prepare()
    began, took = timed(verb)
    for turn in range(times):
        verb.turn = turn + 1
        verb.prepare()
        # Every other time only when it changes something already, which for some verbs is a short while of it.
        moment = chance.uniform(began if turn % 4 > 1 else 0.0, took)
        told = f"TRUST_SEED={SEED}, {verb.words} number {turn}, {'group' if turn % 2 else 'alone'} at {moment:.3f} s of {took:.3f} s"
        running = Running(verb.project, *verb.words)
        try:
            time.sleep(moment)
            running.signal(signal.SIGKILL, group=bool(turn % 2))
            running.process.wait()
            with explained(f"{told}\nkilled: {running.text}"):
                assert not verb.half_written()
                verb.survived()
            again = Running(verb.project, *verb.words)
            code = again.process.wait(600)
            with explained(f"{told}\nagain: {again.text}"):
                assert code == 0 and "Traceback" not in again.text
                assert not verb.half_written()
                assert not verb.leftovers()
                assert not exposed(since)
                verb.whole()
        finally:
            running.end()
        figure("kills survived", 1)


@contextlib.contextmanager
def explained(told):
    """Have a failure say what led to it."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(told)
        raise


def timed(verb):
    """When a run that nobody disturbs begins to change something, and when it ends, in seconds from its start."""
    start = time.monotonic()
    running = Running(verb.project, *verb.words)
    began = None
    while running.process.poll() is None:
        if began is None and verb.has_begun(running):
            began = time.monotonic() - start
        time.sleep(0.001)
    took = time.monotonic() - start
    assert running.process.returncode == 0, running.text
    verb.whole()
    return began or 0.0, took


# --- what needs no engine ---


class Pull(Verb):
    """New commits that change many files; now and then a checkout is gone, so that it is cloned."""

    FILES = 400

    def prepare(self):
        for name in ("ao-workflows", "archive-ops"):
            remote = self.project.folder / "remotes" / name
            for number in range(self.FILES):
                (remote / f"data{number}.txt").write_text(f"{self.turn} {number}\n" * 50)
            git(remote, "add", "--all")
            git(remote, "commit", "--quiet", "--message", f"turn {self.turn}")
        if self.turn % 3 == 1:
            shutil.rmtree(self.settings.workflow_dev_dir, ignore_errors=True)

    def has_begun(self, running):
        return running.has_child("git")

    def whole(self):
        for name, checkout in (("ao-workflows", self.settings.workflow_dev_dir), ("archive-ops", self.settings.ao_dev_dir)):  # fmt: skip
            remote = self.project.folder / "remotes" / name
            assert git(checkout, "rev-parse", "HEAD") == git(remote, "rev-parse", "HEAD")
            assert git(checkout, "status", "--porcelain") == ""
            git(checkout, "fsck", "--no-progress")
            assert not [f.name for f in (checkout / ".git").rglob("*") if re.search(r"\.lock$|^tmp_", f.name)]


class Secrets(Verb):
    """Another value in each of the three files."""

    def prepare(self):
        self.project.set(
            SECRET_AWS__default__aws_secret_access_key=f"marker-aws{self.turn}",
            SECRET_DRS_CNF__qa__password=f"marker-drs{self.turn}",
        )

    def has_begun(self, running):
        return (self.settings.secrets_dir / ".lock").exists()

    def half_written(self):
        written = [f for f in secrets.files_of(self.settings) if f.exists()]
        return [f.name for f in written if not f.stat().st_size or f.stat().st_mode & 0o777 != 0o400]

    def leftovers(self):
        known = {f.name for f in secrets.files_of(self.settings)}
        return sorted({f.name for f in self.settings.secrets_dir.iterdir()} - known)

    def whole(self):
        assert f"marker-aws{self.turn}" in (self.settings.secrets_dir / "aws-credentials").read_text()
        assert f"marker-drs{self.turn}" in (self.settings.secrets_dir / "drs.config").read_text()


@pytest.fixture
def alone(make_project, tmp_path):
    """A project on standalone."""
    made = make_project("standalone", tmp_path)
    try:
        yield made
    finally:
        made.remove()


def test_pull(alone, figure):
    kill_again_and_again(Pull(alone), count(30, 4), figure)


def test_secrets(alone, figure):
    kill_again_and_again(Secrets(alone), count(30, 4), figure)
