"""What is running and how it is: one look, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from airflow_docker import console, health
from airflow_docker.engines import Engine
from airflow_docker.errors import FAILED, UserError
from airflow_docker.health import ServiceState

NOT_RUNNING = 3
"""The exit code when nothing runs, as in the init scripts of the Linux Standard Base."""


def report(engine: Engine, *, as_json: bool) -> None:
    """Show it. Raises UserError (exit code 3) if nothing runs, (1) if something is not well."""
    found = gather(engine)
    if as_json:
        console.out(json.dumps(found, indent=2))
    else:
        _show(found)
    name = engine.settings.compose_project_name
    if found["state"] == "not running":
        raise UserError(name, "is not running.", "Type: inv up", NOT_RUNNING)
    if found["state"] == "unhealthy":
        raise UserError(name, "not all services are well.", "Type: inv up", FAILED)


def gather(engine: Engine) -> dict[str, Any]:
    """All that is known, in the form that docs/operating.md gives."""
    engine.require()
    states = engine.states()
    verdict = health.judge(states, engine.services(), engine.one_shot, {s.container: s for s in states})
    state = "healthy" if verdict.all_ready else "unhealthy"
    state = state if states else "not running"
    return {
        "project": engine.settings.compose_project_name,
        "engine": engine.name,
        "state": state,
        "address": f"http://localhost:{engine.settings.airflow_port}",
        "services": [_service(s) for s in states],
    }


def _service(state: ServiceState) -> dict[str, Any]:
    return {
        "name": state.service,
        "state": state.state,
        "health": state.health or None,
        "since": state.started or None,
        "restarts": state.restarts,
        "exit_code": state.exit_code,
        "reason": state.probe if state.health not in ("healthy", "") else None,
    }


def _show(found: dict[str, Any]) -> None:
    console.out(f"{found['project']} ({found['engine']}): {found['state']}, {found['address']}")
    if found["services"]:
        rows = [
            [s["name"], s["state"], s["health"] or "", _ago(s["since"]), str(s["restarts"]), s["reason"] or ""]
            for s in found["services"]
        ]
        console.table(["service", "state", "health", "since", "restarts", ""], rows)


def _ago(stamp: str | None) -> str:
    """How long ago a time in ISO 8601 was, in the largest unit that fits."""
    if not stamp or stamp.startswith("0001"):
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp[:19] + "+00:00")).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
