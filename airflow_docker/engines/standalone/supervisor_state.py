"""The states that the supervisor wrote, corrected by what is true now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_docker.engines import ServiceState, release
from airflow_docker.engines.standalone import health_checks, processes
from airflow_docker.settings import Settings

STATE_FIELDS = ("supervisor", "services")
"""The fields of a complete state file."""
ONE_SHOT = ("init",)
"""Services that run once and end."""
_START_PERIOD = timedelta(seconds=120)


@dataclass(frozen=True)
class SupervisorState:
    """``account`` is what the supervisor wrote last (see supervisor.py), empty if that is missing or incomplete."""

    settings: Settings
    mark: str
    database_file: Path
    account: dict[str, Any]

    def is_supervised(self) -> bool:
        """True if the supervisor that wrote it still runs."""
        return bool(self.account) and processes.is_alive(self.account["supervisor"], self.mark)

    def states(self) -> list[ServiceState]:
        """How the services are, or how they ended."""
        is_supervised = self.is_supervised()
        services = self.account.get("services", {}).items()
        return [
            self._state(name, service, is_supervised) for name, service in services if service["state"] != "created"
        ]

    def _state(self, name: str, service: dict[str, Any], is_supervised: bool) -> ServiceState:
        state, restarts, code = str(service["state"]), int(service["restarts"]), int(service["exit_code"])
        is_heard_of = is_supervised and name in ONE_SHOT  # its supervisor will write how it ended
        if state == "running" and not is_heard_of and not processes.is_alive(service["pid"], self.mark):
            state, restarts, code = ("restarting", restarts + 1, -9) if is_supervised else ("exited", restarts, -9)
        if state == "restarting" and not is_supervised:
            state = "exited"
        health, probe = "", ""
        if state == "running" and name not in ONE_SHOT:
            health, probe = (
                self._health(name, service["started"]) if is_supervised else ("unhealthy", "its supervisor has ended")
            )
        container = f"{name}/{self.account['supervisor']}"
        crash = {"crashed": service.get("crashed", ""), "crash_code": service.get("crash_code")}
        return ServiceState(name, container, state, health, code, restarts, service["started"], probe, **crash)

    def _health(self, name: str, started: str) -> tuple[str, str]:
        airflow_release = release.with_service(name, self.settings)
        if name == airflow_release.page:
            probe = health_checks.web_ui(
                self.settings.airflow_port, airflow_release.web_ui_path(self.settings) + airflow_release.health_path
            )
        else:
            probe = health_checks.job(self.database_file, airflow_release.jobs[name], datetime.fromisoformat(started))
        if not probe:
            return "healthy", ""
        is_young = datetime.now(UTC) - datetime.fromisoformat(started) < _START_PERIOD
        return ("starting" if is_young else "unhealthy"), probe
