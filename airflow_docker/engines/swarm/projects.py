"""All stacks of ours on the Swarm of this machine."""

from __future__ import annotations

from airflow_docker import shell
from airflow_docker.engines import RunningProject, images
from airflow_docker.engines.swarm.stack import NAMESPACE, WHERE
from airflow_docker.errors import UserError


def services_command() -> list[str]:
    """Every service of a Swarm with our label, as its id, and how many of its containers run."""
    shown = "{{.ID}}\t{{.Replicas}}"
    return ["docker", "service", "ls", "--filter", f"label={WHERE}", "--format", shown]


def projects() -> list[RunningProject]:
    """Those of the Swarm that this is a manager of, if it is."""
    try:
        inspected = shell.capture(services_command(), timeout=images.ASK_SECONDS)
    except UserError:
        return []
    running = dict(line.split("\t") for line in inspected.stdout.splitlines() if inspected.returncode == 0)
    asked = shell.capture(["docker", "service", "inspect", *running]).stdout if running else "[]"
    by_project: dict[tuple[str, str], list[str]] = {}
    for service in images.listed(asked or "[]"):
        labels, wanted = service["Spec"]["Labels"], service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0)
        running_count = int(running[service["ID"][:12]].partition("/")[0])
        states = ["running"] * running_count + ["missing"] * (wanted - running_count)
        by_project.setdefault((labels[NAMESPACE], labels[WHERE]), []).extend(states)
    return [
        RunningProject(project, "swarm", where, tuple(states))
        for (project, where), states in sorted(by_project.items())
    ]
