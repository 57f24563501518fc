"""All stacks of compose on this machine that are ours."""

from __future__ import annotations

from airflow_docker import shell
from airflow_docker.engines import RunningProject, images
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.errors import UserError

_LABEL = "com.docker.compose"


def containers_command() -> list[str]:
    """Every container of compose's: project, checkout, service, if it runs one command alone, our label, state."""
    labels = [f"{_LABEL}.{name}" for name in ("project", "project.working_dir", "service", "oneoff")]
    shown = "\t".join([*(f'{{{{.Label "{label}"}}}}' for label in (*labels, "airflow-docker.mounted")), "{{.State}}"])
    return ["docker", "ps", "--all", "--filter", f"label={_LABEL}.project", "--format", shown]


def projects() -> list[RunningProject]:
    """Those that have a container; none if Docker does not answer."""
    try:
        images.require_engine()
    except UserError:
        return []
    by_project: dict[tuple[str, str], list[str]] = {}
    ours = set()
    for line in shell.capture(containers_command(), timeout=images.ASK_SECONDS).stdout.splitlines():
        project, where, service, oneoff, mounted, state = line.split("\t")
        if service not in Compose.one_shot and oneoff != "True":
            by_project.setdefault((project, where), []).append(state)
        if mounted:  # Airflow's services have it, and its stores not
            ours.add((project, where))
    return [
        RunningProject(project, "compose", where, tuple(states))
        for (project, where), states in sorted(by_project.items())
        if (project, where) in ours
    ]
