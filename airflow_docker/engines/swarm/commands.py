"""The argument lists of the swarm engine, besides those of compose. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_docker.engines.swarm.stack import NAMESPACE, PROJECT_LABEL

SWARM_STATE = "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.NodeID}}"
NODE_IDS = ["docker", "node", "ls", "--quiet"]
HOSTS = ["docker", "node", "ls", "--format", "{{.ID}} {{.Hostname}}"]


def config(command: list[str]) -> list[str]:
    """The merged configuration; ``command`` is a call of compose."""
    return [*command, "config", "--format", "json"]


def deploy(project: str) -> list[str]:
    """The stack comes by standard input. Every image is named by its digest, so no registry is asked."""
    options = ["--detach=true", "--resolve-image", "never", "--with-registry-auth"]
    return ["docker", "stack", "deploy", *options, "--compose-file", "-", project]


def remove_stack(project: str) -> list[str]:
    return ["docker", "stack", "rm", project]


def remove_services(project: str, services: Sequence[str]) -> list[str]:
    return ["docker", "service", "rm", *(f"{project}_{name}" for name in services)]


def services(project: str) -> list[str]:
    return ["docker", "service", "ls", "--quiet", "--filter", f"label={NAMESPACE}={project}"]


def stack_tasks(project: str) -> list[str]:
    """Those of removed services too, until they have ended."""
    return ["docker", "stack", "ps", "--quiet", "--no-trunc", project]


def inspect(kind: str, ids: Sequence[str]) -> list[str]:
    return ["docker", "inspect", "--type", kind, *ids]


def scale(project: str, workers: int) -> list[str]:
    return ["docker", "service", "scale", "--detach", f"{project}_worker={workers}"]


def logs(
    target: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str = "",
    raw: bool = False,
    stamped: bool = False,
) -> list[str]:
    """Of a service (by its name in Swarm) or of a task; ``stamped`` with the time of each line."""
    options = [*(["--raw"] if raw else []), *(["--follow"] if follow else []), *(["--timestamps"] if stamped else [])]
    options += [*([] if tail is None else ["--tail", str(tail)]), *(["--since", since] if since else [])]
    return ["docker", "service", "logs", *options, target]


def local_containers(project: str, service: str) -> list[str]:
    """Those on the host that the client talks to."""
    label = f"label=com.docker.swarm.service.name={project}_{service}"
    return ["docker", "ps", "--quiet", "--no-trunc", "--filter", label, "--filter", "status=running"]


def volumes(project: str) -> list[str]:
    return ["docker", "volume", "ls", "--quiet", "--filter", f"label={NAMESPACE}={project}"]


def secrets(project: str) -> list[str]:
    shown = ["--format", "{{.Name}}"]
    return ["docker", "secret", "ls", "--filter", f"label={PROJECT_LABEL}={project}", *shown]


def create_secret(project: str, name: str) -> list[str]:
    """The content comes by standard input."""
    return ["docker", "secret", "create", "--label", f"{PROJECT_LABEL}={project}", name, "-"]


def label_node(node: str, label: str) -> list[str]:
    return ["docker", "node", "update", "--label-add", f"{label}=data", node]
