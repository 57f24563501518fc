"""Swarm's services and tasks as the states of our services. Nothing here calls Swarm.

https://docs.docker.com/reference/api/engine/ says what a service and a task consist of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_docker.engines import ServiceState, images
from airflow_docker.engines.swarm.stack import ONE_SHOT, VERSION

Inspected = dict[str, Any]

ROLLED_BACK = ("rollback_started", "rollback_completed", "rollback_paused")
_IN_UPDATE = ("updating", "rollback_started")
_ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")


@dataclass(frozen=True)
class Services:
    """All that runs of one project, as inspected: services by name, all tasks, and host names by node id."""

    services: Mapping[str, Inspected]
    tasks: Sequence[Inspected]
    hosts: Mapping[str, str]

    def states(self) -> list[ServiceState]:
        """A state for each task that there should be, in the order of the services."""
        return [
            self._state(name, service, tasks) for name, service in self.services.items() for tasks in self._slots(name)
        ]

    def update(self, name: str) -> str:
        """The state of a service's update, as Swarm reports it; empty if there was none."""
        return str((self.services[name].get("UpdateStatus") or {}).get("State", ""))

    def replicas(self, name: str) -> int:
        """How many containers the service should have."""
        mode = self.services[name]["Spec"]["Mode"] if name in self.services else {}
        return int(mode.get("Replicated", {}).get("Replicas", 0))

    def unfinished(self, name: str, away: Collection[str]) -> int:
        """How many containers of a service have not ended, also those that should; without hosts that are away."""
        tasks = self._of(name) if name in self.services else []
        return sum(is_running(task) and task.get("NodeID") not in away for task in tasks)

    def has_converged(self, name: str) -> bool:
        """True if all containers that there should be run, in the current version."""
        service = self.services[name]
        live = [t for t in self._of(name) if t["DesiredState"] == "running"]
        is_current = all(_version(task["Spec"]) == _version(service["Spec"]["TaskTemplate"]) for task in live)
        is_running = sum(task["Status"]["State"] == "running" for task in live)
        return is_current and is_running == len(live) == self.replicas(name) and self.update(name) not in _IN_UPDATE

    def last_failure(self, name: str) -> Inspected | None:
        """The task of a service that failed last."""
        return next((t for t in reversed(self._of(name)) if t["Status"]["State"] in ("failed", "rejected")), None)

    def _of(self, name: str) -> list[Inspected]:
        """The tasks of a service, the oldest first."""
        identity = self.services[name]["ID"]
        return sorted((t for t in self.tasks if t["ServiceID"] == identity), key=lambda t: str(t["CreatedAt"]))

    def _slots(self, name: str) -> list[list[Inspected]]:
        """For each container that there should be, its tasks: the earlier ones, and last the current one."""
        tasks = self._of(name)
        if name in ONE_SHOT:
            return [tasks] if tasks else []
        slots: dict[int, list[Inspected]] = {}
        for task in tasks:
            slots.setdefault(int(task.get("Slot", 0)), []).append(task)
        current = []
        for _, slot in sorted(slots.items()):
            live = [task for task in slot if task["DesiredState"] not in ("shutdown", "remove")]
            if live:
                current.append([*[t for t in slot if str(t["CreatedAt"]) < str(live[-1]["CreatedAt"])], live[-1]])
        return current

    def _state(self, name: str, service: Inspected, tasks: list[Inspected]) -> ServiceState:
        task, container = tasks[-1], tasks[-1]["Spec"]["ContainerSpec"]
        failed = [t for t in tasks[:-1] if t["Status"]["State"] in ("failed", "rejected") and _is_like(t, task)]
        if self.update(name) in _IN_UPDATE:
            failed = []  # Swarm itself judges a new version, and rolls it back
        is_up = task["Status"]["State"] == "running"
        shown = failed[-1] if failed and not is_up else task
        state, health = _health_of(shown, task, checked="Healthcheck" in container)
        return ServiceState(
            service=name,
            container=shown["ID"],
            state=state,
            health=health,
            exit_code=exit_code(shown),
            restarts=len(failed),
            started=str(task["Status"]["Timestamp"]),
            probe="" if state == "running" else str(shown["Status"].get("Err", "")),
            image=container["Image"],
            image_id=images.pin_of(container["Image"]),
            number=int(task.get("Slot", 0)) or 1,
            host=self.hosts.get(task.get("NodeID", ""), ""),
            crashed=str(failed[-1]["Status"]["Timestamp"]) if failed else "",
            crash_code=exit_code(failed[-1]) if failed else None,
        )


def is_running(task: Inspected) -> bool:
    """True if it has not ended."""
    return task["Status"]["State"] not in _ENDED


def _version(spec: Inspected) -> tuple[str, int]:
    return str(spec["ContainerSpec"]["Labels"].get(VERSION, "")), int(spec.get("ForceUpdate", 0))


def _is_like(one: Inspected, other: Inspected) -> bool:
    return _version(one["Spec"]) == _version(other["Spec"])


def _health_of(status: Inspected, task: Inspected, checked: bool) -> tuple[str, str]:
    """State and health. Swarm reports a task with a health check as running only when that has succeeded."""
    state = str(status["Status"]["State"])
    if state == "running":
        return "running", "healthy" if checked else ""
    if state == "rejected":
        return "rejected", "unhealthy"
    if state in _ENDED:
        return ("exited" if status is task else "restarting"), ""
    return state, "starting"


def exit_code(task: Inspected) -> int:
    """How it ended; 1 for one that did not even begin."""
    code = int((task["Status"].get("ContainerStatus") or {}).get("ExitCode", 0))
    return code or (1 if task["Status"]["State"] in ("failed", "rejected") else 0)
