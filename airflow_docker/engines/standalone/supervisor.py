"""The parent of a standalone stack: starts its services, restarts what ends, stops all on SIGTERM.

It is a program of its own, in the background: ``python -m airflow_docker.engines.standalone.supervisor FOLDER``.
FOLDER holds ``services.json`` (see :class:`Plan`), and there it writes ``state.json`` and ``log/``.
A file ``restart`` names services to end and start again; it is removed when that has been done.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from airflow_docker import files
from airflow_docker.engines.standalone import processes

PLAN, STATE, LOG = "services.json", "state.json", "log"
RESTART, TAKEN = "restart", "restart.taken"
_POLL_SECONDS, _ERROR_SECONDS = 0.2, 5.0
_LONGEST_PAUSE, _STEADY_SECONDS = 60.0, 60.0
_LARGEST_LOG = 20 << 20  # bytes


@dataclass(frozen=True)
class Plan:
    """``init`` is run to its end first, if there is one; ``services`` maps names to commands that must not end.

    ``grace`` is how many seconds a service may run after SIGTERM.
    """

    project: str
    mark: str
    init: list[str]
    services: dict[str, list[str]]
    done_when_initialised: str = ""
    grace: float = 30.0


@dataclass
class Service:
    """A service as in ``state.json``: ``state`` is running, restarting or exited, times are in ISO 8601.

    ``crashed`` is when it last ended by itself, ``crash_code`` its exit code then.
    """

    name: str
    command: list[str]
    state: str = "created"
    pid: int = 0
    started: str = ""
    exit_code: int = 0
    restarts: int = 0
    crashed: str = ""
    crash_code: int | None = None
    due: float = field(default=0.0, repr=False)
    pause: float = field(default=1.0, repr=False)
    began: float = field(default=0.0, repr=False)


class Supervisor:
    """Runs a :class:`Plan`."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.init = Service("init", plan.init)
        self.services = [Service(name, command) for name, command in plan.services.items()]
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = False

    def run(self) -> None:
        """Run until SIGTERM, or until the first step has failed."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        (self.folder / LOG).mkdir(exist_ok=True)
        if self._initialise():
            while not self.stopping:
                self._poll()
                time.sleep(_POLL_SECONDS)
        self.stopping = True
        processes.end(self.plan.mark, self.plan.grace)  # all but this process

    def _poll(self) -> None:
        """Check each service once. A full disk must not end the supervisor: the next round may have space."""
        try:
            self._restart()
            for service in self.services:
                self._restart_ended(service)
                self._rotate(service)
        except OSError as problem:
            print(f"{datetime.now(UTC).isoformat()} {problem}", file=sys.stderr, flush=True)
            time.sleep(_ERROR_SECONDS)

    def _initialise(self) -> bool:
        if self.init.command:
            self._start(self.init)
            while self.children["init"].poll() is None:
                if self.stopping:
                    return False
                time.sleep(_POLL_SECONDS / 4)
            self.init.exit_code = self.children["init"].returncode
        self.init.state = "exited"
        self._write_state()
        if self.init.exit_code == 0:
            files.write(self.folder / "initialised", self.plan.done_when_initialised.encode())
        return self.init.exit_code == 0

    def _start(self, service: Service) -> None:
        log = self.folder / LOG / f"{service.name}.log"
        # A killed web server leaves its pid file, and takes any process with that id for itself.
        (self.folder / "airflow" / f"airflow-{service.name}.pid").unlink(missing_ok=True)
        env = {**os.environ, processes.SERVICE: service.name}
        with log.open("ab") as output:
            child = subprocess.Popen(service.command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.children[service.name] = child
        service.pid, service.state, service.exit_code = child.pid, "running", 0
        service.started, service.began = datetime.now(UTC).isoformat(), time.monotonic()
        self._write_state()

    def _restart(self) -> None:
        """Do a requested restart; it does not count as a crash."""
        request, taken = self.folder / RESTART, self.folder / TAKEN
        if not request.is_file():
            return
        request.replace(taken)  # a request that comes meanwhile is another one
        names = taken.read_text().split()
        for service in [s for s in self.services if s.name in names]:
            processes.end(self.plan.mark, self.plan.grace, service.name)
            if child := self.children.get(service.name):  # none while the first start is still at init
                child.wait()
            self._start(service)
        taken.unlink()

    def _restart_ended(self, service: Service) -> None:
        """Start again what has ended, after a pause that grows while it keeps ending."""
        if service.state in ("created", "restarting"):
            if time.monotonic() >= service.due:
                self._start(service)
            return
        code = self.children[service.name].poll()
        if code is None:
            return
        if time.monotonic() - service.began > _STEADY_SECONDS:
            service.pause = 1.0
        service.state, service.exit_code, service.restarts = "restarting", code, service.restarts + 1
        service.crashed, service.crash_code = datetime.now(UTC).isoformat(), code
        service.due, service.pause = time.monotonic() + service.pause, min(2 * service.pause, _LONGEST_PAUSE)
        self._write_state()
        processes.end(self.plan.mark, self.plan.grace, service.name)  # what it has left behind

    def _rotate(self, service: Service) -> None:
        """Keep the old log beside the current one, which is emptied, not replaced: the service has it open."""
        log = self.folder / LOG / f"{service.name}.log"
        if log.is_file() and log.stat().st_size > _LARGEST_LOG:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)

    def _write_state(self) -> None:
        shown = ("state", "pid", "started", "exit_code", "restarts", "crashed", "crash_code")
        services = {s.name: {k: v for k, v in asdict(s).items() if k in shown} for s in (self.init, *self.services)}
        state = {"supervisor": os.getpid(), "services": services}
        files.write(self.folder / STATE, json.dumps(state, indent=1).encode())


def state_of(folder: Path) -> tuple[str, list[str]]:
    """The project and the states of its services (but for init), as a folder's supervisor wrote them last."""
    plan = files.read_object(folder / PLAN)
    services = files.read_object(folder / STATE, "supervisor", "services").get("services", {})
    return str(plan.get("project", "?")), [str(s.get("state")) for name, s in services.items() if name != "init"]


def main() -> None:
    """Run what the folder's plan says."""
    folder = Path(sys.argv[1])
    os.environ.pop("PYTHONPATH", None)  # it was for this program alone
    Supervisor(folder, Plan(**json.loads((folder / PLAN).read_text()))).run()


if __name__ == "__main__":
    main()
