"""All stacks of standalone on this machine."""

from __future__ import annotations

from pathlib import Path

from airflow_docker.engines import RunningProject
from airflow_docker.engines.standalone import processes, supervisor


def projects() -> list[RunningProject]:
    """Those that have a process."""
    running = []
    for where in sorted(processes.tags()):
        project, states = supervisor.state_of(Path(where))
        running.append(RunningProject(project, "standalone", where, tuple(states)))
    return running
