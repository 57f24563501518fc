"""What several hosts need besides: that they are a Swarm, that one of them is for the database, a registry."""

from __future__ import annotations

import socket

from airflow_docker.engines import Engine, images
from airflow_docker.engines.compose import checks
from airflow_docker.engines.swarm.cluster import cluster
from airflow_docker.findings import Check, Finding, State, ok
from airflow_docker.settings import Settings


def hosts(settings: Settings, engine: Engine) -> Finding:
    """This one is a manager, and the others answer."""
    nodes = cluster()
    if unreachable := [nodes.hosts[node] for node in nodes.away]:
        todo = "See to them; meanwhile what ran there runs elsewhere. Look: docker node ls"
        return Finding("warning", f"no answer from {', '.join(unreachable)}.", todo)
    return ok(f"this is a manager, and all hosts answer: {', '.join(nodes.hosts.values())}")


def database(settings: Settings, engine: Engine) -> Finding:
    nodes, project = cluster(), settings.compose_project_name
    nodes.require(project)
    return ok("it is on this host" if nodes.with_data(project) else "inv up puts it on this host")


def registry(settings: Settings, engine: Engine) -> Finding:
    """It takes connections; whether it takes images shows when one is pushed."""
    name = settings.image_registry
    host, _, port = name.partition("/")[0].partition(":")
    if not name or not (port or "." in host or host == "localhost"):
        return ok(f"Docker Hub, as {name}") if name else Finding("skipped", "none is set.", "Set IMAGE_REGISTRY.")
    try:
        socket.create_connection((host, int(port or 443)), timeout=images.REGISTRY_SECONDS).close()
    except (OSError, UnicodeError, OverflowError) as problem:  # the last two of a name or a port that can be none
        what = f"IMAGE_REGISTRY: {name} does not answer ({getattr(problem, 'strerror', '') or problem})."
        state: State = "warning" if images.pulls_through_proxy() else "error"
        return Finding(state, what, f"Start it. Try: docker login {name}")
    return ok(f"{name} answers")


CHECKS = (
    *checks.CHECKS,
    Check("swarm", hosts, asks_docker=True),
    Check("database", database, asks_docker=True),
    Check("registry", registry, asks_docker=True),
)
