"""Bringing a standalone stack up, against `airflow standalone` in the same environment with the same variables."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import Result, compare
from stack.conftest import StandaloneProject

from airflow_docker import PROJECT
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.verbs.builds import built

_START_SECONDS = 120.0  # seconds


class Bare:
    """`airflow standalone` with a home of its own, in a session of its own."""

    def __init__(self, stack: Standalone, home: Path) -> None:
        self.python, self.home = stack.python, home
        database = home / "airflow.db"
        self.health_url = f"http://127.0.0.1:{stack.settings.airflow_port}/health"
        self.environ = stack.variables() | {
            "AIRFLOW_HOME": str(home), "AIRFLOW_CONFIG": str(home / "airflow.cfg"), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        }  # fmt: skip
        del self.environ["AIRFLOW_DOCKER_STANDALONE"]
        self.database = database
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it and wait for what `inv up` waits for: the web UI, and a heartbeat of both jobs since the start."""
        self.home.mkdir(exist_ok=True)
        began = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        self.process = subprocess.Popen(
            [self.python, "-m", "airflow", "standalone"], env=self.environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + _START_SECONDS
        while not (self._jobs(began) >= {"SchedulerJob", "TriggererJob"} and self._answers()):
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit("airflow standalone has not become healthy")
            time.sleep(0.5)

    def down(self) -> None:
        """End its session."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            time.sleep(5)
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry.name)) == self.process.pid:
                        os.kill(int(entry.name), signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _jobs(self, began: str) -> set[str]:
        query = "SELECT job_type FROM job WHERE state = 'running' AND start_date >= ?"
        try:
            with contextlib.closing(sqlite3.connect(self.database, timeout=5)) as opened:
                return {row[0] for row in opened.execute(query, [began])}
        except sqlite3.Error:
            return set()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.health_url, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def warm_up(folder: Path, runs: int, quietly: Callable[..., None]) -> Result:
    """Database and environment are there on both sides."""
    project = StandaloneProject(folder / "standalone")

    def inv(*args: str) -> None:
        quietly(
            sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT), *args, env=project.environ
        )

    inv("up")
    stack = Standalone(project.settings)
    bare = Bare(stack.with_artifact(built(stack) or ""), folder / "bare")
    try:
        inv("down")
        bare.up()
        return compare("up, warm, standalone", "airflow standalone", lambda: inv("up"), [bare.up], 1.10, runs,
                       before_ours=bare.down, before_theirs=lambda: inv("down"), has_processor=False)  # fmt: skip
    finally:
        bare.down()
        project.remove()
