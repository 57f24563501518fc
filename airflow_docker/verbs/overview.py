"""All stacks of ours on this machine, whichever checkout and settings they are from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_docker import console, shell
from airflow_docker.engines import images
from airflow_docker.engines.swarm.stack import NAMESPACE, WHERE
from airflow_docker.errors import UserError


def report(as_json: bool) -> None:
    """Show them: project, engine, where, how many of its services run."""
    stacks = [*_of_compose(), *_of_swarm(), *_of_standalone()]
    if as_json:
        console.out(json.dumps(stacks, indent=2))
    elif not stacks:
        console.done("Nothing of ours runs on this machine")
    else:
        rows = [
            [entry["project"], entry["engine"], f"{entry['running']} of {entry['services']}", entry["where"]]
            for entry in stacks
        ]
        console.table(["project", "engine", "running", "where"], rows)


_LABEL = "com.docker.compose"


def containers_command() -> list[str]:
    """Every container of compose's: project, checkout, service, if it runs one command alone, our label, state."""
    labels = [f"{_LABEL}.{name}" for name in ("project", "project.working_dir", "service", "oneoff")]
    shown = "\t".join([*(f'{{{{.Label "{label}"}}}}' for label in (*labels, "airflow-docker.mounted")), "{{.State}}"])
    return ["docker", "ps", "--all", "--filter", f"label={_LABEL}.project", "--format", shown]


def _of_compose() -> list[dict[str, Any]]:
    from airflow_docker.engines.compose.engine import Compose

    try:
        images.require_engine()
    except UserError:
        return []  # then none runs
    projects: dict[tuple[str, str], list[str]] = {}
    ours = set()
    for line in shell.capture(containers_command(), timeout=images.ASK_SECONDS).stdout.splitlines():
        project, where, service, oneoff, mounted, state = line.split("\t")
        if service not in Compose.one_shot and oneoff != "True":
            projects.setdefault((project, where), []).append(state)
        if mounted:  # Airflow's services have it, and its stores not
            ours.add((project, where))
    projects = {project: states for project, states in projects.items() if project in ours}
    return [_entry(project, "compose", where, states) for (project, where), states in sorted(projects.items())]


def services_command() -> list[str]:
    """Every service of a Swarm with our label, as its id, and how many of its containers run."""
    shown = "{{.ID}}\t{{.Replicas}}"
    return ["docker", "service", "ls", "--filter", f"label={WHERE}", "--format", shown]


def _of_swarm() -> list[dict[str, Any]]:
    """Where this is a manager of a Swarm: what of ours runs there."""
    try:
        inspected = shell.capture(services_command(), timeout=images.ASK_SECONDS)
    except UserError:
        return []
    running = dict(line.split("\t") for line in inspected.stdout.splitlines() if inspected.returncode == 0)
    asked = shell.capture(["docker", "service", "inspect", *running]).stdout if running else "[]"
    projects: dict[tuple[str, str], list[str]] = {}
    for service in images.listed(asked or "[]"):
        labels, wanted = service["Spec"]["Labels"], service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0)
        running_count = int(running[service["ID"][:12]].partition("/")[0])
        states = ["running"] * running_count + ["missing"] * (wanted - running_count)
        projects.setdefault((labels[NAMESPACE], labels[WHERE]), []).extend(states)
    return [_entry(project, "swarm", where, states) for (project, where), states in sorted(projects.items())]


def _of_standalone() -> list[dict[str, Any]]:
    from airflow_docker.engines.standalone import processes, supervisor

    return [
        _entry(project, "standalone", where, states)
        for where in sorted(processes.tags())
        for project, states in [supervisor.state_of(Path(where))]
    ]


def _entry(project: str, engine: str, where: str, states: list[str]) -> dict[str, Any]:
    running = sum(state == "running" for state in states)
    return {"project": project, "engine": engine, "where": where, "services": len(states), "running": running}
