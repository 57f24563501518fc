"""The hosts of a Swarm, and the one of them that has the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_docker import console, shell
from airflow_docker.engines import images
from airflow_docker.engines.swarm import commands
from airflow_docker.engines.swarm.stack import node_label
from airflow_docker.errors import UserError


@dataclass(frozen=True)
class Cluster:
    """``nodes`` are the nodes as `docker inspect` has them, ``own`` is the id of the one that the client talks to."""

    own: str
    nodes: Sequence[Mapping[str, Any]]

    @property
    def hosts(self) -> dict[str, str]:
        """Host names by node id."""
        return {node["ID"]: node["Description"]["Hostname"] for node in self.nodes}

    @property
    def away(self) -> list[str]:
        """Ids of those that do not answer."""
        return [node["ID"] for node in self.nodes if node["Status"]["State"] != "ready"]

    def with_data(self, project: str) -> list[str]:
        """Ids of those whose label says that the database is there."""
        label = node_label(project)
        return [node["ID"] for node in self.nodes if (node["Spec"].get("Labels") or {}).get(label) == "data"]

    def require(self, project: str) -> None:
        """Raise UserError unless the database is on this node, or nowhere yet."""
        data_nodes = self.with_data(project)
        if data_nodes and data_nodes != [self.own]:
            hosts = ", ".join(self.hosts[node] for node in data_nodes)
            what = f"the database of {project} is on {hosts} (the label {node_label(project)}), and this is another."
            if len(data_nodes) > 1:
                what = f"{hosts} have the label {node_label(project)}, and the database is on one host alone."
            raise UserError(
                "swarm", what, f"Type it on {self.hosts[data_nodes[0]]}, or: docker node update --label-rm …"
            )

    def claim(self, project: str) -> None:
        """Label this node as that of the database, if none is yet."""
        if not self.with_data(project):
            label = node_label(project)
            result = shell.capture(commands.label_node(self.own, label))
            if result.returncode:
                raise UserError("docker node update", f"{result.stderr.strip()}.", "Fix that and type: inv up")
            console.say(f"· The database is on {self.hosts[self.own]} from now on (its label {label})")


def cluster() -> Cluster:
    """The nodes of this Swarm. Raises UserError unless this host is one of its managers."""
    state, is_manager, own = f"{images.engine_info(commands.SWARM_STATE)}  ".split(" ", 2)
    if state != "active":
        todo = "Type: docker swarm init (on the first host), and on the others what that says."
        raise UserError("swarm", f"this Docker engine is in no Swarm ({state}).", todo)
    if is_manager != "true":
        raise UserError("swarm", "this host is a worker of its Swarm.", "Type it on a manager: docker node ls")
    ids = shell.capture(commands.NODE_IDS, timeout=images.ASK_SECONDS)
    if ids.returncode:  # most managers are away, for one
        raise UserError("swarm", f"its managers do not agree ({ids.stderr.strip()}).", "Look: docker node ls")
    inspected = shell.capture(commands.inspect("node", ids.stdout.split()), timeout=images.ASK_SECONDS)
    return Cluster(own.strip(), images.listed(inspected.stdout or "[]"))
