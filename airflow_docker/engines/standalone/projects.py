"""All stacks of standalone on this machine."""

from __future__ import annotations

from pathlib import Path

from airflow_docker.engines import RunningProject
from airflow_docker.engines.standalone import processes, supervisor


def projects() -> list[RunningProject]:
    """Those that have a process."""
    found = []
    for where in sorted(processes.tags()):
        project, states = supervisor.state_of(Path(where))
        found.append(RunningProject(project, "standalone", where, tuple(states)))
    return found
