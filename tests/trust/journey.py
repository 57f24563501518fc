"""A project whose secrets are all markers, and the verbs that run on it while its processes are watched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from conftest import INV, git
from stack.conftest import SHARED_STEP_IS_GONE, Project, docker, free_port

from airflow_docker import secret_files
from airflow_docker.engines.choice import choose
from airflow_docker.verbs import demo
from trust.locked import PACKAGE, Locked, make_index, serve_repository
from trust.searching import Markers, Search
from trust.watching import Watch

AWS = """[default]
aws_access_key_id = {chosen}
[other]
aws_access_key_id = {other}
"""


class Journey:
    """``kinds`` holds a search for each kind of location, such as "files" or "image"."""

    def __init__(self, flavour: str, folder: Path, make_project: Any) -> None:
        self.folder, self.markers = folder, Markers()
        self.kinds: dict[str, Search] = {}
        self.home, self.inputs, self.served = folder / "home", folder / "inputs", folder / "served"
        for directory in (self.home, self.home / "tmp", self.inputs, self.served):
            directory.mkdir(parents=True)
        mark = self.markers.make
        (self.inputs / "aws").write_text(AWS.format(chosen=mark("aws, chosen"), other=mark("aws, not chosen")))
        self.workflows, self.scripts, self.index = mark("password of one"), mark("password of two"), mark("index")
        self.passphrase = mark("passphrase")
        self.project: Project = make_project(flavour, folder, **self._settings())
        self.project.set(**{self.project.interval: "2"})
        self.server = self._serve()
        self.project.set(
            AO_WORKFLOWS_URL=self.url(self.workflows, "ao-workflows.git"),
            AIRFLOW_CONSTRAINTS=self.url(self.workflows, "constraints.txt"),
        )
        self.environ = {
            "HOME": str(self.home), "TMPDIR": str(self.home / "tmp"),
            "ARCHIVE_OPS_URL": self.url(self.scripts, "archive-ops.git"),
            "PIP_EXTRA_INDEX_URL": self.url(self.index, "simple"),
            "BACKUP_PASSPHRASE": self.passphrase,
            "SECRET_DRS_CNF__live__password": mark("drs, in the environment"),
        }  # fmt: skip
        self.watch, self.outputs = Watch(), list[tuple[str, str]]()

    def _settings(self) -> dict[str, str]:
        return {
            "SECRET_DRS_CNF__qa__password": self.markers.make("drs"),
            "SECRET_DB_APPS__qa__server": self.markers.make("db_apps"),
            "SECRET_AWS_FILE": "inputs/aws",
            "SECRET_AWS_SECTIONS": "default",
            "SECRET_AWS__default__aws_secret_access_key": self.markers.make("aws, laid over"),
        }

    @property
    def engine(self) -> str:
        return self.project.engine

    def _serve(self) -> Locked:
        """Serve both repositories and an index at an address that a build can reach."""
        repositories = self.folder / "remotes"
        requirements = repositories / "ao-workflows" / self.project.settings.dag_requirements
        requirements.write_text(f"{requirements.read_text()}{PACKAGE}==1.0\n")
        git(repositories / "ao-workflows", "commit", "--quiet", "--all", "--message", "x")
        for name in ("ao-workflows", "archive-ops"):
            serve_repository(repositories / name, self.served / f"{name}.git")
        make_index(self.served / "simple")
        (self.served / "constraints.txt").write_text("")
        host = "127.0.0.1"
        if self.engine == "compose":
            host = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        return Locked(self.served, host, [self.workflows, self.scripts, self.index])

    def url(self, password: str, path: str) -> str:
        return self.server.url(quote(password, safe=""), path)

    def of(self, kind: str) -> Search:
        """The search of one kind of location."""
        return self.kinds.setdefault(kind, Search(self.markers))

    def inv(self, *args: str, code: int | None = 0, **environ: str) -> str:
        """Run a verb. Its outputs are searched at the end, when all secrets are known."""
        env = self.project.environ | self.environ | environ
        result = subprocess.run(
            [*INV, *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
        )
        output = result.stdout + result.stderr
        if code is not None and result.returncode != code and SHARED_STEP_IS_GONE in output:
            return self.inv(*args, code=code, **environ)
        assert "Traceback" not in result.stderr, output
        assert code is None or result.returncode == code, output
        for name, text in (("output", result.stdout), ("errors", result.stderr)):
            self.outputs.append((f"{name} of inv {' '.join(args)} {sorted(environ) or ''}", text))
        return output

    def tries(self, *args: str, changes: dict[str, str] | None = None, **environ: str) -> str:
        """Run a verb with other settings in .env, with any exit code."""
        before = dict(self.project.values)
        self.project.set(**(changes or {}))
        try:
            return self.inv(*args, code=None, **environ)
        finally:
            self.project.values = before
            self.project.set()

    def know_keys(self) -> None:
        """Add the current keys to the markers; earlier keys stay markers."""
        for name, key in secret_files.saved_keys(self.project.settings, secret_files.GENERATED).items():
            if self.markers.values.get(name) != key:
                self.markers.add(name, key)

    # --- the steps ---

    def go(self) -> None:
        """The usual verbs, from the first day on; at the end the stack is up."""
        self.inv("pull")
        self.inv("secrets")
        self.know_keys()
        self.inv("secrets", "--check")
        self.inv("build")
        self.inv("up")
        engine = choose(self.project.settings)
        demo.drop_work(engine, "W1LEAK")
        demo.wait_for_arrival(engine, "W1LEAK")
        for args in (["status"], ["status", "--json"], ["logs"], ["config"], ["config", "--json"], ["doctor"],
                     ["doctor", "--json"], ["dags"], ["airflow", "dags list"], ["image"], ["sbom"], ["clean"], ["restart"],
                     ["backup"], ["backup", "--encrypt", "--file", str(self.sealed)], ["pull"], ["build"]):  # fmt: skip
            self.inv(*args)
        self.tries("helm")  # which standalone refuses

    @property
    def sealed(self) -> Path:
        return self.folder / "sealed.backup"

    @property
    def backups(self) -> Path:
        return self.project.settings.state_dir / "backups"

    def go_wrong(self, in_full: bool) -> None:
        """Usual errors, each with a secret involved."""
        wrong = self.markers.make("wrong password")
        (self.inputs / "broken").write_text(f"{wrong}\n[qa]\n")
        (self.folder / "conflict.txt").write_text("humanize<1\nhumanize>4\n")
        for verb, changes in self.mistakes(wrong)[:: 1 if in_full else 3]:
            self.tries(verb, changes=changes)
        self.tries("build", "--requirements", str(self.folder / "conflict.txt"))
        self.tries("build", "--upgrade", PIP_EXTRA_INDEX_URL=self.url(wrong, "simple"))
        self.tries("restore", "--file", str(self.sealed), "--yes", BACKUP_PASSPHRASE=wrong)
        if in_full:
            self.inv("airflow", "no such command", code=2)
            broken = self.project.settings.workflow_dev_dir / self.project.settings.dags_dir / "broken.py"
            broken.write_text("import nothing_that_there_is\n")
            self.tries("dags")
            broken.unlink()

    def mistakes(self, wrong: str) -> list[tuple[str, dict[str, str]]]:
        """Verbs, each with settings that make it fail."""
        url, quoted, away = "AO_WORKFLOWS_URL", quote(wrong, safe=""), {"WORKFLOW_DEV_DIR": "elsewhere"}
        closed, at = f"http://me:{quoted}@127.0.0.1:{free_port()}/x.git", self.server.address
        tool = {"AUDIT_TOOL_SHA256": "0" * 64}
        return [
            ("pull", {url: closed, **away}),
            ("pull", {url: closed}),  # another remote than that of the checkout
            ("doctor", {url: closed, **away}),
            ("pull", {url: self.url(wrong, "ao-workflows.git"), **away}),
            ("pull", {url: self.url(self.workflows, "nothing.git"), **away}),
            ("pull", {url: self.url(self.workflows, "ao-workflows.git"), "AO_WORKFLOWS_REF": "no", **away}),
            ("pull", {url: f"http://me:{wrong}@{at}/x.git", **away}),  # not quoted
            ("pull", {url: f"HTTP://me:{quoted}@{at}/x.git", **away}),
            *((verb, {url: f"{scheme}://me:{quoted}@127.0.0.1/x.git", **away})
              for scheme in ("file", "ssh", "git") for verb in ("pull", "doctor")),
            ("pull", {url: f"me:{quoted}@127.0.0.1/x.git", **away}),  # the scheme was forgotten
            ("secrets", {"SECRET_AWS_SECTIONS": "nothing"}),
            ("secrets", {"SECRET_AWS_FILE": f"inputs/{'x' * 300}"}),
            ("secrets", {"SECRET_DRS_CNF_FILE": "inputs/broken"}),
            ("config", {"SECRET_AWS_default_key": wrong}),
            ("config", {"SECRET_AWS__default": wrong}),
            ("config", {"SECRET_AWS__default__x": f"'{wrong}"}),
            ("config", {"AIRFLOW__SMTP__SMTP_PASSWORD": wrong}),
            ("config", {"AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"http://me:{quoted}@h/x"}),
            ("config", {"AUDIT_TOOL_URL": f"ftp://me:{quoted}@h/x.deb"}),
            ("build", {"AIRFLOW_CONSTRAINTS": self.url(wrong, "constraints.txt")}),
            ("build", {"AUDIT_TOOL_URL": closed, **tool}),
            ("build", {"AUDIT_TOOL_URL": self.url(self.workflows, "tool~.deb"), **tool}),
            ("build", {"AUDIT_TOOL_URL": self.url(self.workflows, "constraints.txt"), **tool}),
        ]  # fmt: skip

    def rotate(self) -> None:
        """Rotate every key once."""
        for name in secret_files.GENERATED:
            self.inv("secrets", "--rotate", name)
            self.know_keys()

    def fail_to_start(self) -> None:
        """An `up` that fails, and one that succeeds afterwards."""
        self.tries("up", changes={"AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA": "nonsense"})
        self.inv("logs")
        self.inv("up")

    # --- afterwards ---

    def look_at_files(self) -> None:
        """Search everything below the project's folder, except files that must hold secrets."""
        settings = self.project.settings
        for name, text in self.outputs:
            self.of("output").text(name, text)
        own = [self.project.env_file, self.inputs, settings.secrets_dir, self.backups, self.home, self.served]
        self.of("files").folder(self.folder, without=own)
        self.of("home and temporary folders").folder(self.home)
        for checkout in (settings.workflow_dev_dir, settings.ao_dev_dir):
            self.of("files").git_objects(checkout)

    def close(self) -> None:
        self.server.close()
        self.project.remove()
        shutil.rmtree(self.home, ignore_errors=True)
