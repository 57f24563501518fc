"""A verb that is killed at any moment breaks nothing, and the next run does all of its work.

Each verb runs as from a terminal and gets SIGKILL at a random moment: every other time only its process, so that
the programs it has started continue, else its process group.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
from conftest import git
from stack.conftest import docker, run

from airflow_docker import secret_files
from airflow_docker.database import backup_file
from airflow_docker.engines.choice import choose
from trust.conftest import count
from trust.verbs import Running

SEED = int(os.environ.get("TRUST_SEED", time.time_ns() % 10**9))
"""Set the variable to the number in a failure to repeat the same moments."""
MARKERS = ("marker-drs", "marker-aws", "marker-stored")


class Verb:
    """A verb to kill: how to give it work, when it begins to change anything, and what to check."""

    def __init__(self, project):
        self.project = project
        self.turn = 0

    @property
    def args(self):
        """The arguments of `inv`."""
        return (type(self).__name__.lower(),)

    def prepare(self):
        """Give the next run all of its work to do."""

    def has_begun(self, running):
        """True when it begins to change something."""
        return True

    def check_after_kill(self):
        """Check right after the kill, whatever still runs."""

    def check_result(self):
        """Check after the next run."""

    @property
    def settings(self):
        return self.project.settings

    def half_written(self):
        """Files that are incomplete."""
        return [str(file) for file in self._files("*.json") if not _parses(file)] + [
            str(file) for file in self._files("requirements.lock") if not _is_pinned(file.read_text())
        ]

    def leftovers(self):
        """Temporary files that must be gone, and misplaced files with secrets."""
        patterns = ("*.lock", ".resolving-*", ".scripts", "*.partial", "backup.work", ".*.airflow-docker", ".*.part")
        folders = (self.settings.state_dir, self.settings.build_dir, self.settings.secrets_dir,
                   self.settings.workflow_dev_dir.parent)  # fmt: skip
        files = [str(f) for folder in folders for pattern in patterns for f in folder.rglob(pattern)]
        # except files of packages, and the locks of requirements, which are results
        return [name for name in files if not re.search(r"/venv/|requirements[.a-z]*\.lock$|node_modules", name)]

    def _files(self, pattern):
        folders = (self.settings.state_dir, self.settings.build_dir)
        return [f for folder in folders for f in folder.rglob(pattern) if "/venv/" not in str(f) and f.is_file()]


def _parses(file):
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def _is_pinned(text):
    """True if a lock holds only pins with hashes, up to its end."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    return bool(blocks) and all(re.match(r"\S+( @ |==)", b) and "--hash=sha256:" in b for b in blocks)


def exposed(since):
    """New files in the temporary folder that hold a secret of the tests."""
    files = []
    for file in Path(tempfile.gettempdir()).glob("*"):
        with contextlib.suppress(OSError):
            if file.name.startswith(("pytest-of-", "tmp_")) or file.stat().st_mtime < since or not file.is_file():
                continue
            if any(marker in file.read_bytes().decode(errors="replace") for marker in MARKERS):
                files.append(str(file))
    return files


def kill_again_and_again(verb, times, figure):
    """Run, kill, check, run again and check, ``times`` times."""
    chance, since = random.Random(f"{SEED} {verb.args}"), time.time()
    verb.prepare()
    began, took = timed(verb)
    for turn in range(times):
        verb.turn = turn + 1
        verb.prepare()
        # Half of the times after the first change: for some verbs the changes are a short part of the run.
        moment = chance.uniform(began if turn % 4 > 1 else 0.0, took)
        context = f"TRUST_SEED={SEED}, {verb.args} number {turn}, {'group' if turn % 2 else 'alone'} at {moment:.3f} s of {took:.3f} s"
        running = Running(verb.project, *verb.args)
        try:
            time.sleep(moment)
            running.signal(signal.SIGKILL, group=bool(turn % 2))
            running.process.wait()
            with explained(f"{context}\nkilled: {running.text}"):
                assert not verb.half_written()
                verb.check_after_kill()
            again = Running(verb.project, *verb.args)
            code = again.process.wait(600)
            with explained(f"{context}\nagain: {again.text}"):
                assert code == 0 and "Traceback" not in again.text
                assert not verb.half_written()
                assert not verb.leftovers()
                assert not exposed(since)
                verb.check_result()
        finally:
            running.end()
        figure("kills survived", 1)


@contextlib.contextmanager
def explained(context):
    """Add the context to a failure."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(context)
        raise


def timed(verb):
    """Seconds from the start of an undisturbed run to its first change, and to its end."""
    start = time.monotonic()
    running = Running(verb.project, *verb.args)
    began = None
    while running.process.poll() is None:
        if began is None and verb.has_begun(running):
            began = time.monotonic() - start
        time.sleep(0.005)
    took = time.monotonic() - start
    assert running.process.returncode == 0, running.text
    verb.check_result()
    return began or 0.0, took


# --- verbs without an engine ---


class Pull(Verb):
    """New commits that change many files; every third time the checkout is removed, so that it is cloned."""

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

    def check_result(self):
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
        written = [f for f in secret_files.files_of(self.settings) if f.exists()]
        return [f.name for f in written if not f.stat().st_size or f.stat().st_mode & 0o777 != 0o400]

    def leftovers(self):
        known = {f.name for f in secret_files.files_of(self.settings)}
        return sorted({f.name for f in self.settings.secrets_dir.iterdir()} - known)

    def check_result(self):
        assert f"marker-aws{self.turn}" in (self.settings.secrets_dir / "aws-credentials").read_text()
        assert f"marker-drs{self.turn}" in (self.settings.secrets_dir / "drs.config").read_text()


@pytest.fixture
def alone(make_project, tmp_path):
    """A project on standalone."""
    project = make_project("standalone", tmp_path)
    try:
        yield project
    finally:
        project.remove()


def test_pull(alone, figure):
    kill_again_and_again(Pull(alone), count(30, 3), figure)


def test_secrets(alone, figure):
    kill_again_and_again(Secrets(alone), count(30, 3), figure)


# --- verbs with an engine ---


class Build(Verb):
    """A changed script, and so a new environment or image."""

    def prepare(self):
        if not self.settings.ao_dev_dir.exists():
            self.project.inv("pull")
        (self.settings.ao_dev_dir / SCRIPT).write_text(f"#!/bin/sh\necho {self.turn}\n")

    def has_begun(self, running):
        return (self.settings.build_dir / ".lock").exists()

    def check_result(self):
        note = self.project.json_of_build()
        assert (self.settings.build_dir / "bin/syncOneWork.sh").read_text().endswith(f"echo {self.turn}\n")
        assert "nothing to build" in self.project.inv("build"), "what it has built is there"
        assert self.project.json_of_build() == note
        if self.project.engine == "standalone":
            environments = [f for f in (self.settings.build_dir / "standalone").iterdir() if f.is_dir()]
            assert [str(f) for f in environments] == [note["artifact"]], "what was half built is gone"
            python = environments[0] / "venv/bin/python"
            assert run(str(python), "-c", "import airflow, airflow.models", env=self.project.environ).returncode == 0
            assert (environments[0] / "scripts/syncOneWork.sh").read_text().endswith(f"echo {self.turn}\n")
        else:
            output = docker(
                "run", "--rm", "--entrypoint", "bin/syncOneWork.sh", "-w", "/home/airflow", note["artifact"]
            )
            assert output == str(self.turn)


class Up(Verb):
    """Everything is down before; the port is the same, so that nothing may still listen on it."""

    def prepare(self):
        self.project.inv("down")

    def has_begun(self, running):
        return "· Starting" in running.text

    def check_result(self):
        status = self.project.json("status")
        assert status["state"] == "healthy", status
        assert len(status["services"]) == len({s["name"] for s in status["services"]}), "each runs once"
        assert sum(s["restarts"] for s in status["services"]) == 0, status
        if self.project.engine == "standalone":
            supervisors = [
                p for p in self.project.processes() if "airflow_docker.engines.standalone.supervisor" in p.cmdline()
            ]
            assert len(supervisors) == 1


class Backup(Verb):
    """A backup of a large database; every third time to another path."""

    @property
    def args(self):
        return ("backup",) if self.turn % 3 else ("backup", "--file", str(self.project.folder / f"{self.turn}.backup"))

    def prepare(self):
        """Remove earlier backups: two in one second would have the same name."""
        for file in self.files:
            file.unlink()

    def has_begun(self, running):
        return "Copying" in running.text

    @property
    def files(self):
        return [*self.project.folder.glob("*.backup"), *self.settings.state_dir.glob("backups/*.backup")]

    def check_after_kill(self):
        """Each file that exists is complete."""
        for file in self.files:
            self.proven(file)
        shutil.move(self.files[0], self.project.folder / "kept") if self.files else None

    def proven(self, file):
        with tempfile.TemporaryDirectory(dir=self.project.folder) as folder:
            backup_file.read(file, Path(folder))

    def check_result(self):
        assert len(self.files) == 1
        self.proven(self.files[0])
        assert self.files[0].stat().st_mode & 0o777 == 0o600

    def leftovers(self):
        beside = [str(f) for f in self.project.folder.glob(".*.airflow-docker")]
        return super().leftovers() + beside


class Restore(Verb):
    """Two backups in turn, each with its own database and keys; the other one is in use."""

    def __init__(self, project, generations):
        super().__init__(project)
        self.generations = generations
        self.marks = {self.state_of(name): name for name in generations}

    @property
    def args(self):
        return ("restore", str(self.project.folder / f"{self.wanted}.backup"), "--yes")

    @property
    def wanted(self):
        return self.generations[self.turn % 2]

    def state_of(self, name):
        """Mark in the database and keys of a generation."""
        return (name, (self.project.folder / f"{name}.keys").read_text())

    def has_begun(self, running):
        return "Restoring" in running.text

    def running_artifact(self):
        return (generation_of(self.project), json.dumps(secret_files.saved_keys(self.settings), sort_keys=True))

    def check_after_kill(self):
        """The next verb finds one generation, database and keys. Every other time it is `backup`, else `restore`."""
        if self.turn % 2:
            file = self.project.folder / "probe.backup"
            self.project.inv("backup", "--file", str(file))
            file.unlink()
            assert self.running_artifact() in self.marks
            assert not list(self.settings.state_dir.glob("undo.*"))

    def check_result(self):
        assert self.marks[self.running_artifact()] == self.wanted

    def leftovers(self):
        left = list(self.settings.state_dir.glob("standalone/airflow.*")) + list(self.settings.state_dir.glob("undo.*"))
        if self.project.engine == "compose":
            assert not docker(
                "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.settings.compose_project_name}"
            )
        return super().leftovers() + list(map(str, left))


SCRIPT = "scripts/syncAnywhere/syncOneWork.sh"


def generation_of(project):
    """The mark in the database."""
    if project.engine == "standalone":
        return project.sql("SELECT generation FROM marked")
    with running_server(project) as container:
        command = ("psql", "-U", "airflow", "-d", "airflow", "-Atc", "SELECT generation FROM marked")
        return docker("exec", container, *command)


@contextlib.contextmanager
def running_server(project):
    """Start only the database; its container."""
    engine = choose(project.settings)
    with engine.database.running_server():
        yield engine.container("postgres")


def two_generations(project):
    """Make two generations: database with a mark, keys, and a backup of each; the second is in use."""
    for name in ("first", "second"):
        if project.engine == "standalone":
            create_database(project, name)
        else:
            with running_server(project) as container:
                mark = f"DROP TABLE IF EXISTS marked; CREATE TABLE marked AS SELECT '{name}' AS generation"
                docker("exec", container, "psql", "-U", "airflow", "-d", "airflow", "-c", mark)
        project.inv("backup", "--file", str(project.folder / f"{name}.backup"))
        keys = json.dumps(secret_files.saved_keys(project.settings), sort_keys=True)
        (project.folder / f"{name}.keys").write_text(keys)
    return ("first", "second")


def create_database(project, name, megabytes=12):
    """Create a database file instead of Airflow's, with the few tables that a backup needs, and new keys."""
    stack = project.stack
    shutil.rmtree(project.settings.secrets_dir, ignore_errors=True)
    project.inv("secrets")
    stack.database_file.parent.mkdir(parents=True, exist_ok=True)
    (stack.folder / ".made-by-airflow-docker").touch()
    stack.database_file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(stack.database_file)) as database, database:
        database.execute("CREATE TABLE alembic_version AS SELECT '1' AS version_num")
        database.execute("CREATE TABLE marked AS SELECT ? AS generation", [name])
        database.execute("CREATE TABLE connection AS SELECT 'marker-stored' AS password")
        database.execute("CREATE TABLE log (extra)")
        database.executemany("INSERT INTO log VALUES (?)", ([os.urandom(1 << 20)] for _ in range(megabytes)))


def test_build_standalone(alone, figure):
    kill_again_and_again(Build(alone), count(16, 1), figure)


def test_up_standalone(alone, figure):
    kill_again_and_again(Up(alone), count(12, 1), figure)


def test_backup_standalone(alone, figure):
    create_database(alone, "only")
    kill_again_and_again(Backup(alone), count(24, 2), figure)


def test_restore_standalone(alone, figure):
    kill_again_and_again(Restore(alone, two_generations(alone)), count(24, 2), figure)


@pytest.fixture
def contained(make_project, tmp_path):
    """A project on compose."""
    project = make_project("compose", tmp_path)
    try:
        yield project
    finally:
        project.remove()


def test_build_and_up_compose(contained, figure):
    kill_again_and_again(Build(contained), count(6, 1), figure)
    kill_again_and_again(Up(contained), count(6, 1), figure)


def test_backup_and_restore_compose(contained, figure):
    """Nothing else runs, so each verb starts the database, and must stop it even after a kill."""
    contained.inv("secrets")
    rows = "CREATE TABLE log AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 20000) n"
    with running_server(contained) as container:
        for sql in ("CREATE TABLE alembic_version AS SELECT '1' AS version_num", rows):
            docker("exec", container, "psql", "-U", "airflow", "-d", "airflow", "-c", sql)
    kill_again_and_again(Backup(contained), count(6, 1), figure)
    kill_again_and_again(Restore(contained, two_generations(contained)), count(6, 2), figure)
