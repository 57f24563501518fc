"""A case of bad input, and the sandbox in which it runs."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import INV, git, snapshot

from airflow_docker import PROJECT
from airflow_docker.engines.standalone.environments import python_for
from airflow_docker.requirements import indexes
from trust.bad_input.warm import Warm

SECONDS = 60.0
"""The limit for each case; an engine that hangs takes 10 of them."""
SOMEBODY = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
SETTINGS = {"ENGINE": "standalone", "AO_WORKFLOWS_URL": "remotes/ao-workflows",
            "ARCHIVE_OPS_URL": "remotes/archive-ops", "BUILD_DIR": "build"}  # fmt: skip
"""The lines of every .env, unless the case sets them."""
REPOSITORIES = ("ao-workflows", "archive-ops")
REQUIREMENTS = "sources/ao-workflows/airflow-docker/requirements.txt"


@dataclass(frozen=True)
class Case:
    """``inv VERB`` with the lines ``env`` in its .env must exit with ``code`` and print ``says``, then ``todo``.

    ``make`` prepares the sandbox; ``lines`` is the number of messages; ``quotes``: the message quotes
    another program; ``shows``: the verb prints a table too; ``somebody``: a user who is not root runs it;
    ``environ`` is set in the environment.
    """

    name: str
    verb: str
    says: str
    todo: str
    code: int = 1
    env: str | bytes = ""
    make: Callable[["Sandbox"], object] = lambda sandbox: None
    lines: int = 1
    quotes: bool = False
    shows: bool = False
    somebody: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)

    def __str__(self):
        return self.name.replace(" ", "-")


class Sandbox:
    """A folder with a project, a home and a folder of programs; :meth:`has` copies from ``template``.

    ``warm`` runs the verbs if there is one, otherwise a new Python. ``later`` holds callbacks for the end of the test.
    """

    def __init__(self, root: Path, template: Path | None = None, warm: Warm | None = None):
        self.root, self.template, self.warm, self.later = root, template, warm, contextlib.ExitStack()
        self.project, self.home, self.bin = root / "project", root / "home", root / "bin"
        for folder in (self.project / "sources", self.home, self.bin):
            folder.mkdir(parents=True)
        self.facts: dict[str, str] = {"root": str(root), "project": str(self.project), "home": str(self.home)}
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(OURS)} | indexes.variables() | {
            "HOME": str(self.home), "ENV_FILE": str(self.env_file), "PATH": f"{self.bin}:{os.environ['PATH']}",
            "UV_HTTP_RETRIES": "0", "UV_CREDENTIALS_DIR": str(Path.home() / ".local/share/uv/credentials"), "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv")),
        }  # fmt: skip

    @property
    def env_file(self):
        return self.project / ".env"

    def filled(self, text: str) -> str:
        """Replace each ``{name}`` of ``facts`` in a text."""
        for name, value in self.facts.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def set(self, lines: str | bytes) -> None:
        """Write .env: the usual settings and these lines, or only these bytes."""
        if isinstance(lines, bytes):
            self.env_file.write_bytes(lines)
            return
        usual = [f"{k}={v}\n" for k, v in SETTINGS.items() if f"{k}=" not in lines]
        self.env_file.write_text("".join(usual) + self.filled(lines) + "\n")

    def file(self, name: str, content: str | bytes = "x", mode: int = 0o644) -> Path:
        """Write a file of the project, and its parent folders."""
        file = self.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
        return file

    def folder(self, name: str, mode: int = 0o755) -> Path:
        folder = self.project / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        return folder

    def fill(self, name: str) -> None:
        """Mount a full file system on a folder; skips the test if it cannot be mounted."""
        folder = self.folder(name, 0o700)
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("a file system can be mounted here by nobody")
        self.later.callback(subprocess.run, ["umount", str(folder)], check=True)
        with contextlib.suppress(OSError), (folder / ".made-by-airflow-docker").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 1024)

    def program(self, name: str, script: str) -> None:
        """Write a program that is first on PATH."""
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has(self, *parts: str) -> "Sandbox":
        """Copy the results of earlier steps from the template."""
        for part in parts:
            shutil.copytree(self.template / part, self.project / part, symlinks=True, dirs_exist_ok=True)
        for config in self.project.glob("*/*/.git/config"):
            config.write_text(config.read_text().replace(str(self.template), str(self.project)))
        return self

    def inv(self, verb: str, somebody: bool = False) -> subprocess.CompletedProcess:
        """Run a verb in the project's folder."""
        if self.warm and not somebody:
            args = shlex.split(self.filled(verb))
            return subprocess.CompletedProcess(args, *self.warm.run(args, self.environ, self.project, SECONDS))
        command = [*(SOMEBODY if somebody else []), *INV, *shlex.split(self.filled(verb))]
        process = subprocess.Popen(
            command, env=self.environ, cwd=self.project, stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its children
            process.communicate()
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def tree(self):
        """All entries, except git's copies of a remote, which may change."""
        inside = (
            ".git/objects",
            ".git/refs/remotes",
            ".git/FETCH_HEAD",
            ".git/index",
            ".git/logs",
            ".git/packed-refs",
            ".git/ORIG_HEAD",
        )
        entries = snapshot(self.root)
        return {name: entry for name, entry in entries.items() if not any(part in name for part in inside)}


OURS = (
    "AIRFLOW_",
    "POSTGRES_IMAGE",
    "SECRET_",
    "ENV_FILE",
    "ENGINE",
    "AO_",
    "ARCH",
    "TZ",
    "DOCKER_",
    "BACKUP_",
    "XDG_",
)


def make_template(root: Path) -> Path:
    """A project with repositories, checkouts, and a build folder up to the requirements."""
    sandbox = Sandbox(root)
    for name in REPOSITORIES:
        remote, checkout = sandbox.project / "remotes" / name, sandbox.project / "sources" / name
        shutil.copytree(PROJECT / "examples" / name, remote)
        git(remote, "init", "--quiet", "--initial-branch=main")
        git(remote, "add", "--all")
        git(remote, "commit", "--quiet", "--message", "x")
        git(sandbox.project, "clone", "--quiet", str(remote), str(checkout))
    tested = sandbox.file(
        f"build/standalone/tested-2.11.2-{python_for('2.11.2', sys.version_info[:2])}.txt", "flask==2\n"
    )
    sandbox.file("build/.made-by-airflow-docker")
    sandbox.file("bad.txt", "--no-such-option\n")
    sandbox.set("")
    assert "--no-such-option is not an option" in sandbox.inv("build --requirements bad.txt").stderr
    assert tested.is_file()
    return sandbox.project
