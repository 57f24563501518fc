"""The stack file of the swarm engine, from compose's merged configuration. Nothing here reads or runs anything.

https://docs.docker.com/reference/compose-file/legacy-versions/ says what `docker stack deploy` takes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_docker.engines.compose.image_context import DAGS_IN_IMAGE

Config = dict[str, Any]

NAMESPACE = "com.docker.stack.namespace"
ARTIFACT, WHERE, PROJECT_LABEL = "airflow-docker.artifact", "airflow-docker.where", "airflow-docker.project"
STORES, ONE_SHOT, ONCE = ("postgres", "redis"), ("init",), "once"
VERSION = "airflow-docker.version"
"""The label with the digest of a service's spec: Swarm fills in defaults, so specs cannot be compared."""
EVERYWHERE = ("worker", "triggerer", "dag-processor")
"""Services that may run on any host; the others run on the database's host, like the web UI and commands."""
_SCRATCH = ("/opt/airflow/logs", "/home/airflow/bdrc/log", "/home/airflow/log", "/home/airflow/bdrc/data")
"""Folders that the services write; where no host folder is named for all hosts, each container has its own."""
_COPIED_KEYS = (
    "image", "command", "entrypoint", "environment", "user", "read_only", "cap_drop", "logging", "healthcheck",
    "stop_grace_period",
)  # fmt: skip
_KEEPALIVE = {
    "postgres": ["postgres", *(
        arg for option in ("idle=10", "interval=5", "count=3") for arg in ("-c", f"tcp_keepalives_{option}")
    ), "-c", "tcp_user_timeout=25000"],
    "redis": ["--tcp-keepalive", "10"],
}  # fmt: skip
"""Additional arguments of stores: the connection of a client whose host is cut off ends after 25 s, not hours.

Until then its rows stay locked, and it is sent messages that nobody else gets.
"""
_SKIP_LOGS = "--skip-serve-logs"
_MONITOR = "10s"


@dataclass(frozen=True)
class Plan:
    """What determines a stack besides compose's configuration.

    ``images`` maps its image names to those that all hosts can pull; ``secrets`` maps its secrets to
    Swarm's; ``shared`` are the folders that are the same on all hosts.
    """

    project: str
    artifact: str
    where: str
    images: Mapping[str, str]
    secrets: Mapping[str, str]
    uid: int
    shared: frozenset[str]
    logs_dir: str
    workers: int
    is_encrypted: bool
    dags_in_image: bool

    @property
    def shares_logs(self) -> bool:
        return self.logs_dir in self.shared


def node_label(project: str) -> str:
    """The label of the node that has the database; its value is ``data``."""
    return f"airflow-docker.{project}"


def secret_name(project: str, name: str, content: str, key: str) -> str:
    """The name of this version of a secret. Without ``key`` nobody can verify a guess by it."""
    digest = hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()
    return f"{project}_{name}_{digest[:12]}"


def stack(config: Config, plan: Plan) -> Config:
    """The whole stack; ``config`` is what `docker compose config` gives as JSON."""
    services = {name: _service(name, service, plan) for name, service in config["services"].items()}
    return _document(services, config, plan)


def subset(full: Config, names: tuple[str, ...]) -> Config:
    """The same stack with these services alone."""
    services = {name: service for name, service in full["services"].items() if name in names}
    used = {secret["source"] for service in services.values() for secret in service.get("secrets", [])}
    return full | {"services": services, "secrets": {k: v for k, v in full["secrets"].items() if k in used}}


def job_stack(full: Config, service: str, args: list[str], environment: Mapping[str, str]) -> Config:
    """A command that runs once, in a container like that of ``service``, and with this environment besides."""
    like = full["services"][service]
    job = {key: value for key, value in like.items() if key not in ("healthcheck", "ports")}
    job |= {"command": args, "environment": like["environment"] | environment}
    job["deploy"] = {key: value for key, value in like["deploy"].items() if key in ("labels", "resources")}
    placement = full["services"]["postgres"]["deploy"]["placement"]
    job["deploy"] |= {**_job(), "endpoint_mode": "dnsrr", "placement": placement}
    return subset(full | {"services": {ONCE: job}}, (ONCE,))


def _document(services: Config, config: Config, plan: Plan) -> Config:
    used = {secret["source"] for service in services.values() for secret in service.get("secrets", [])}
    return {
        "version": "3.9",
        "services": services,
        "networks": {name: _network(network, plan) for name, network in config["networks"].items()},
        # Not the name that compose gives it: a project that moves here from compose has a database on each.
        "volumes": {name: {"name": f"{plan.project}_swarm_{name}"} for name in config.get("volumes", {})},
        "secrets": {name: {"external": True, "name": plan.secrets[name]} for name in sorted(used)},
    }


def _network(network: Config, plan: Plan) -> Config:
    spec: Config = {"driver": "overlay"}
    if network.get("internal"):
        spec["internal"] = True
    if plan.is_encrypted:
        spec["driver_opts"] = {"encrypted": "true"}
    return spec


def _service(name: str, service: Config, plan: Plan) -> Config:
    spec = {key: service[key] for key in _COPIED_KEYS if service.get(key) is not None}
    is_airflow = service["image"] == plan.artifact
    spec["image"] = plan.images[service["image"]]
    if is_airflow:
        spec["environment"] = _variables(plan) | spec["environment"] | _fixed_variables(plan)
        if not plan.shares_logs:
            spec["command"] = [arg for arg in spec["command"] if arg != _SKIP_LOGS]
    if name in _KEEPALIVE:
        spec["command"] = [*spec.get("command", []), *_KEEPALIVE[name]]
    spec["networks"] = sorted(service["networks"])
    spec["secrets"] = [_secret(secret, plan) for secret in service.get("secrets", [])]
    spec["volumes"] = [*_in_memory(service), *_volumes(service, plan)]
    if ports := service.get("ports"):
        spec["ports"] = [_port(port) for port in ports]
    spec["labels"] = {VERSION: _version(spec, plan)}
    spec["deploy"] = _deploy(name, service, plan)
    return spec


def _version(spec: Config, plan: Plan) -> str:
    """Changes with all that determines a container, also with the versions of its secrets."""
    named = [plan.secrets[secret["source"]] for secret in spec["secrets"]]
    return hashlib.sha256(json.dumps([spec, named], sort_keys=True).encode()).hexdigest()[:12]


def _variables(plan: Plan) -> dict[str, str]:
    """Where workers serve their logs, the web UI asks for them at the address that the worker has recorded."""
    return {} if plan.shares_logs else {"AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow.utils.net.get_host_ip_address"}


def _fixed_variables(plan: Plan) -> dict[str, str]:
    return {"AIRFLOW__CORE__DAGS_FOLDER": DAGS_IN_IMAGE} if plan.dags_in_image else {}


def _secret(secret: Config, plan: Plan) -> Config:
    target = str(secret.get("target") or secret["source"]).removeprefix("/run/secrets/")
    return {"source": secret["source"], "target": target, "uid": str(plan.uid), "gid": "0", "mode": 0o400}


def _in_memory(service: Config) -> list[Config]:
    """The tmpfs mounts. Swarm takes neither owner nor mode for them: anybody may write there, but there is one user.

    No program can be run from them either: with ``exec`` it is a volume on disk, removed with the container.
    """
    mounts: list[Config] = []
    for entry in service.get("tmpfs") or []:
        target, _, options = entry.partition(":")
        mounts.append({"type": "volume" if "exec" in options.split(",") else "tmpfs", "target": target})
    if size := service.get("shm_size"):
        mounts.append({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": int(size)}})  # noqa: S108  theirs
    return mounts


def literal(text: str) -> str:
    """A text of compose's configuration unescaped: there a ``$`` is written twice."""
    return text.replace("$$", "$")


def _volumes(service: Config, plan: Plan) -> list[Config]:
    mounts: list[Config] = []
    for volume in service.get("volumes", []):
        if volume["type"] == "volume" or literal(volume["source"]) in plan.shared:
            fields = ("type", "source", "target", "read_only")
            mounts.append({key: volume[key] for key in fields if key in volume})
        elif volume["target"] in _SCRATCH:
            mounts.append({"type": "volume", "target": volume["target"]})
    return mounts


def _port(port: Config) -> Config:
    """A port of the host itself. Swarm takes no address here, so it is open on all addresses of the host."""
    return {
        "target": port["target"],
        "published": int(port["published"]),
        "protocol": port["protocol"],
        "mode": "host",
    }


def _deploy(name: str, service: Config, plan: Plan) -> Config:
    spec: Config = {"labels": {ARTIFACT: plan.artifact, WHERE: plan.where}}
    memory, pids = int(service.get("mem_limit", 0)), service.get("pids_limit", 0)
    limits = {**({"memory": str(memory)} if memory else {}), **({"pids": pids} if pids else {})}
    spec["resources"] = {"limits": limits}
    if name in ONE_SHOT:
        spec |= _job()
    else:
        spec |= {"mode": "replicated", "replicas": plan.workers if name == "worker" else 1}
        spec |= {"restart_policy": {"condition": "any", "delay": "2s"}, **_update(name)}
    # Names lead to the containers themselves: one address in front of them would need IPVS in the kernel.
    spec["endpoint_mode"] = "dnsrr"
    if name not in EVERYWHERE:
        spec["placement"] = {"constraints": [f"node.labels.{node_label(plan.project)} == data"]}
    return spec


def _job() -> Config:
    return {"mode": "replicated-job", "restart_policy": {"condition": "none"}}


def _update(name: str) -> Config:
    """Swarm rolls back a new version that does not become healthy, or does not stay so.

    A service with a volume or a port of its own must stop before its successor starts; the others overlap.
    """
    order = "stop-first" if name in (*STORES, "webserver", "api-server") else "start-first"
    common = {"parallelism": 0 if name == "worker" else 1, "order": order, "monitor": _MONITOR}
    return {
        "update_config": {**common, "failure_action": "rollback"},
        "rollback_config": {**common, "failure_action": "pause"},
    }
