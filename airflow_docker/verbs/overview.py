"""All stacks of ours on this machine, whichever checkout and settings they are from."""

from __future__ import annotations

import json
from typing import Any

from airflow_docker import console
from airflow_docker.engines import choice


def report(as_json: bool) -> None:
    """Show them: project, engine, where, how many of its services run."""
    stacks: list[dict[str, Any]] = [
        {
            "project": one.project, "engine": one.engine, "where": one.where, "services": len(one.states),
            "running": sum(state == "running" for state in one.states),
        }
        for one in choice.all_projects()
    ]  # fmt: skip
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
