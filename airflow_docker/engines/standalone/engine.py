"""The standalone engine: an environment built by uv, and Airflow's processes on this machine, without Docker."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import ClassVar

from airflow_docker import PROJECT, console, files, locks, secret_files, shell
from airflow_docker.engines import ServiceState, folders, health, ports, release
from airflow_docker.engines.release import Release
from airflow_docker.engines.standalone import environments, logs, processes
from airflow_docker.engines.standalone.environment_builder import FOLDER, EnvironmentBuilder, require_fit
from airflow_docker.engines.standalone.home import links, make_home
from airflow_docker.engines.standalone.sqlite import Sqlite
from airflow_docker.engines.standalone.supervisor import LOG, PLAN, RESTART, STATE, TAKEN, Plan
from airflow_docker.engines.standalone.supervisor_state import ONE_SHOT, STATE_FIELDS, SupervisorState
from airflow_docker.engines.standalone.variables import database_file, own_variables, variables
from airflow_docker.errors import UserError
from airflow_docker.findings import Check
from airflow_docker.locks import Lock
from airflow_docker.settings import Settings

_INITIALISED = "initialised"


@dataclass(frozen=True)
class Standalone:
    """The stack of one project; ``environment`` is the folder that its Airflow is installed in."""

    settings: Settings
    environment: str = ""
    name = "standalone"
    renewed_while_running: ClassVar[tuple[str, ...]] = ()
    one_shot = ONE_SHOT
    task_service = "scheduler"

    def with_artifact(self, artifact: str) -> Standalone:
        return Standalone(self.settings, artifact)

    @property
    def secret_owner(self) -> secret_files.SecretOwner:
        """The user who starts it."""
        return secret_files.SecretOwner(
            os.geteuid(), str(self.settings.secrets_dir / secret_files.FILE_NAMES["DRS_CNF"])
        )

    @property
    def database(self) -> Sqlite:
        return Sqlite(self.folder, self.database_file)

    def checks(self) -> tuple[Check, ...]:
        return ()

    @property
    def builder(self) -> EnvironmentBuilder:
        return EnvironmentBuilder(self.settings)

    def require_answer(self) -> None:
        self.require()

    def require(self) -> None:
        if sys.platform not in ("linux", "darwin"):
            raise UserError("ENGINE", f"standalone does not run on {sys.platform}.", "Set ENGINE=compose.")

    def require_fit(self) -> None:
        require_fit(self.settings)

    def mounted_folders(self) -> dict[str, Path]:
        return {}

    def require_bind_mounts(self) -> None:
        """There are no containers: the services see what this machine has."""

    # --- what is run: pure builders ---

    @property
    def folder(self) -> Path:
        """Where this project's stack keeps its state."""
        return self.settings.state_dir / FOLDER

    @property
    def release(self) -> Release:
        return release.of(self.settings)

    @property
    def mark(self) -> str:
        """The tag in the environment of all its processes."""
        return str(self.folder)

    @property
    def database_file(self) -> Path:
        return database_file(self.folder)

    @property
    def python(self) -> str:
        return str(environments.python(Path(self.environment)))

    def services_plan(self) -> Plan:
        """The programs to run; an init only where there is something to initialise."""
        init = [self.python, str(PROJECT / "docker" / "runtime" / "init.py")]
        stamp = f"{self.environment} {self.settings.airflow_admin_user}"
        commands = {name: [self.python, "-m", "airflow", *args] for name, args in self.release.commands.items()}
        first = [] if self._is_initialised(stamp) else init
        return Plan(self.settings.compose_project_name, self.mark, first, commands, stamp, self.release.grace)

    def variables(self) -> dict[str, str]:
        """The environment of the services."""
        return variables(self.settings, self.folder, Path(self.environment))

    def config_digest(self) -> str:
        """The variables, the home folder, and the identity of the key files; the tasks' secrets are read when used."""
        named = [self.settings.secrets_dir / name for name in secret_files.GENERATED]
        keys = [(file.name, file.stat().st_ino, file.stat().st_mtime_ns) for file in named if file.exists()]
        home = {name: str(target) for name, target in links(self.settings, Path(self.environment)).items()}
        return json.dumps([own_variables(self.settings, self.folder), home, keys], sort_keys=True)

    def services(self) -> list[str]:
        return ["init", *self.release.commands]

    # --- what is done ---

    def is_up(self) -> bool:
        """True if any process of this project runs, whatever has become of its parent."""
        return bool(processes.tagged(self.mark))

    def start_lock(self) -> Lock:
        return Lock(self.folder / locks.NAME, f"start of {self.settings.compose_project_name}")

    @contextlib.contextmanager
    def starting(self, *, unchanged: bool, workers: int = 0) -> Iterator[Callable[[], bool]]:
        """An unchanged supervisor that runs is kept; all else that runs is stopped first."""
        self._require_own()
        files.claim(self.folder, "STATE_DIR")
        self.folder.chmod(0o700)  # the database and the logs are the user's own
        with self.start_lock():
            if unchanged and self._state().is_supervised():
                yield lambda: True
                return
            if self.is_up():
                with console.step("Stopping what runs of an earlier start"):
                    self._end()
            for request in (RESTART, TAKEN):
                (self.folder / request).unlink(missing_ok=True)
            ports.require_free(self.settings.airflow_port, self.port_owner)
            make_home(self.settings, self.folder / "home", Path(self.environment))
            self._fill_airflow_home()
            (self.folder / LOG).mkdir(exist_ok=True)
            (self.folder / STATE).unlink(missing_ok=True)
            files.write(self.folder / PLAN, json.dumps(asdict(self.services_plan()), indent=1).encode())
            env = self.variables() | {"PYTHONPATH": str(PROJECT)}
            command = [sys.executable, "-m", "airflow_docker.engines.standalone.supervisor", str(self.folder)]
            log = self.folder / LOG / "supervisor.log"
            supervisor = shell.start(command, env=env, log=log, daemon=True, cwd=self.folder)
            yield lambda: self._has_begun(supervisor, log)

    def _fill_airflow_home(self) -> None:
        """Airflow's log folder is a link to LOGS_DIR: otherwise several options of Airflow would be needed."""
        home = self.folder / "airflow"
        (home / "config").mkdir(parents=True, exist_ok=True)
        (home / "logs").unlink(missing_ok=True)
        (home / "logs").symlink_to(self.settings.logs_dir)
        own = PROJECT / "docker" / "runtime" / "airflow_local_settings.py"
        files.write(home / "config" / own.name, own.read_bytes())

    def _has_begun(self, supervisor: shell.Process[bytes], log: Path) -> bool:
        if supervisor.poll() is None:
            return (self.folder / STATE).exists()
        verdict = health.judge(self._state().states(), self.services(), self.one_shot, {})
        if verdict.failed:
            raise health.error(self, verdict.failed, verdict.reason)
        console.say(log.read_text(errors="replace").rstrip())
        raise UserError("standalone", f"its supervisor has ended (exit code {supervisor.poll()}).", "Type: inv up")

    @contextlib.contextmanager
    def restarting(self, services: list[str]) -> Iterator[Callable[[], bool]]:
        everything = not services or "init" in services
        if everything:
            (self.folder / _INITIALISED).unlink(missing_ok=True)
        if everything or not self._state().is_supervised():
            with self.starting(unchanged=False) as is_done:
                yield is_done
            return
        request = self.folder / RESTART
        with self.start_lock():
            files.write(request, "\n".join(services).encode())
            yield lambda: not request.exists() and not (self.folder / TAKEN).exists()

    def workers(self) -> int:
        what, todo = "standalone has no workers: its scheduler runs the tasks.", "Set ENGINE=compose in .env."
        raise UserError("ENGINE", what, todo)

    def scale(self, workers: int) -> None:
        self.workers()

    def stop(self, data: bool) -> None:
        self._require_own()
        if self.folder.is_dir():
            with self.start_lock():
                self._end()
                (self.folder / STATE).unlink(missing_ok=True)
                if data:
                    files.purge(self.folder, "STATE_DIR")
        else:  # nothing was started, or somebody has removed STATE_DIR
            self._end()
        if data:
            self.builder.remove_artifacts()

    def _end(self) -> None:
        if left := processes.end(self.mark, self.release.grace):
            what = f"the processes {', '.join(map(str, left))} cannot be stopped; do they wait for a mount that hangs?"
            raise UserError("standalone", what, "Fix that, then try again.")

    def _require_own(self) -> None:
        """Raise UserError if the folder belongs to another project: two .env have one STATE_DIR."""
        project = files.read_object(self.folder / PLAN).get("project", self.settings.compose_project_name)
        if project != self.settings.compose_project_name:
            what = f"{self.folder} is that of the project {project}."
            raise UserError("STATE_DIR", what, folders.way_out(project))

    def execute(self, service: str, args: list[str]) -> int:
        return shell.stream(args, env=self._variables_of_commands(), exactly=True, interactive=True)

    def ask(self, service: str, args: list[str]) -> CompletedProcess[str]:
        return shell.capture(args, env=self._variables_of_commands(), exactly=True)

    def _variables_of_commands(self) -> dict[str, str]:
        """Those of the services, without the tag: what a person has started is not ours to stop."""
        if not environments.is_complete(Path(self.environment)) or not self.database_file.is_file():
            raise UserError(
                "standalone", "there is no environment, or no database, of this project yet.", "Type: inv up"
            )
        variables = self.variables() | {name: os.environ[name] for name in ("COLUMNS", "EDITOR") if name in os.environ}
        return {name: value for name, value in variables.items() if name != processes.MARK}

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        logs.show(self.folder / LOG, services or self.services(), follow and self.is_up(), tail, since)
        return 0

    def parse_dags(self, *, isolated: bool) -> CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as work_dir:
            home = Path(work_dir, "home")  # that of the stack may be in use, with an earlier build
            make_home(self.settings, home, Path(self.environment))
            new = {
                "AIRFLOW_HOME": work_dir, "AIRFLOW_CONFIG": f"{work_dir}/airflow.cfg",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{work_dir}/dags.db",
            }  # fmt: skip
            dags = str(self.settings.workflow_dev_dir / self.settings.dags_dir)
            env = (
                self.variables() | {"HOME": str(home)} | ({} if self.database_file.is_file() and not isolated else new)
            )
            del env[processes.MARK]
            script = PROJECT / "docker" / "runtime" / "dags.py"
            return shell.capture([self.python, str(script), dags], env=env, exactly=True)

    def apply_key(self, name: str) -> CompletedProcess[str]:
        script = str(PROJECT / "docker" / "runtime" / "keys.py")
        command = [self.python, "-B", script, name]  # writes no compiled files beside our own
        return shell.capture(command, env=self._variables_of_commands(), exactly=True)

    def running_artifact(self) -> str | None:
        return next(iter(self.builder.running()), None)

    def data(self) -> list[str]:
        own_environments = environments.used_by(self.settings, self.builder.work_dir)
        return [str(entry) for entry in (self.database_file, *own_environments) if entry.exists()]

    def report_killed(self) -> None:
        """Nothing here counts that: the tasks are processes of this machine."""

    def written(self) -> list[tuple[str, int]]:
        return []  # they write where this machine's programs write

    def port_owner(self, port: int) -> str:
        return ""

    def states(self) -> list[ServiceState]:
        running = processes.tagged(self.mark)
        if running and not (self.folder / PLAN).is_file():  # somebody has removed STATE_DIR
            return [
                ServiceState(name, name, "running", "unhealthy", probe="its state is gone")
                for name in self.release.commands
            ]
        return self._state().states() if running else []

    def _state(self) -> SupervisorState:
        """The state that the supervisor wrote last."""
        return SupervisorState(
            self.settings, self.mark, self.database_file, files.read_object(self.folder / STATE, *STATE_FIELDS)
        )

    def is_there(self) -> bool:
        return bool(self.states())

    def last_lines(self, container: str, lines: int = 20) -> str:
        log = self.folder / LOG / f"{container.partition('/')[0]}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.is_file() else ""

    def _is_initialised(self, stamp: str) -> bool:
        done = self.folder / _INITIALISED
        return self.database_file.exists() and done.is_file() and done.read_text() == stamp
