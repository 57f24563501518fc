"""The stack file of the swarm engine, made of what compose has merged. Nothing here reads or runs anything.

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

Made = dict[str, Any]

NAMESPACE = "com.docker.stack.namespace"
ARTIFACT, WHERE, PROJECT_LABEL = "airflow-docker.artifact", "airflow-docker.where", "airflow-docker.project"
STORES, ONE_SHOT, ONCE = ("postgres", "redis"), ("init",), "once"
VERSION = "airflow-docker.version"
"""The label of a container that tells what it was made of: Swarm fills in defaults, so specifications differ."""
EVERYWHERE = ("worker", "triggerer", "dag-processor")
"""Services that may run on any host; the others stay with the database, where the page and commands are."""
_SCRATCH = ("/opt/airflow/logs", "/home/airflow/bdrc/log", "/home/airflow/log", "/home/airflow/bdrc/data")
"""Folders that the services write; where no host folder is named for all hosts, each container has its own."""
_KEPT = (
    "image", "command", "entrypoint", "environment", "user", "read_only", "cap_drop", "logging", "healthcheck",
    "stop_grace_period",
)  # fmt: skip
_LOST_CLIENTS = {
    "postgres": ["postgres", *(
        word for option in ("idle=10", "interval=5", "count=3") for word in ("-c", f"tcp_keepalives_{option}")
    ), "-c", "tcp_user_timeout=25000"],
    "redis": ["--tcp-keepalive", "10"],
}  # fmt: skip
"""What stores are started with besides: a client whose host is cut off ends after 25 s, and not after hours.

Until then the rows that it had locked stay locked, and it is handed what nobody else gets.
"""
_SKIP_LOGS = "--skip-serve-logs"
_MONITOR = "10s"


@dataclass(frozen=True)
class Plan:
    """What a stack is made of besides compose's configuration.

    ``images`` maps the image names of that to those that all hosts can pull; ``secrets`` its secrets to
    Swarm's; ``shared`` are the folders of the hosts that are the same on all of them.
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
    """The name of this version of a secret. Without ``key`` nobody can tell by it whether a guess is right."""
    digest = hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()
    return f"{project}_{name}_{digest[:12]}"


def stack(config: Made, plan: Plan) -> Made:
    """The whole stack; ``config`` is what `docker compose config` gives as JSON."""
    services = {name: _service(name, given, plan) for name, given in config["services"].items()}
    return _around(services, config, plan)


def part(whole: Made, names: tuple[str, ...]) -> Made:
    """The same stack with these services alone."""
    services = {name: service for name, service in whole["services"].items() if name in names}
    used = {secret["source"] for service in services.values() for secret in service.get("secrets", [])}
    return whole | {"services": services, "secrets": {k: v for k, v in whole["secrets"].items() if k in used}}


def once(whole: Made, service: str, words: list[str], environment: Mapping[str, str]) -> Made:
    """A command that runs once, in a container like that of ``service``, and with this environment besides."""
    like = whole["services"][service]
    made = {key: value for key, value in like.items() if key not in ("healthcheck", "ports")}
    made |= {"command": words, "environment": like["environment"] | environment}
    made["deploy"] = {key: value for key, value in like["deploy"].items() if key in ("labels", "resources")}
    place = whole["services"]["postgres"]["deploy"]["placement"]
    made["deploy"] |= {**_job(), "endpoint_mode": "dnsrr", "placement": place}
    return part(whole | {"services": {ONCE: made}}, (ONCE,))


def _around(services: Made, config: Made, plan: Plan) -> Made:
    used = {secret["source"] for service in services.values() for secret in service.get("secrets", [])}
    return {
        "version": "3.9",
        "services": services,
        "networks": {name: _network(given, plan) for name, given in config["networks"].items()},
        # Not the name that compose gives it: a project that moves here from compose has a database on each.
        "volumes": {name: {"name": f"{plan.project}_swarm_{name}"} for name in config.get("volumes", {})},
        "secrets": {name: {"external": True, "name": plan.secrets[name]} for name in sorted(used)},
    }


def _network(given: Made, plan: Plan) -> Made:
    made: Made = {"driver": "overlay"}
    if given.get("internal"):
        made["internal"] = True
    if plan.is_encrypted:
        made["driver_opts"] = {"encrypted": "true"}
    return made


def _service(name: str, given: Made, plan: Plan) -> Made:
    made = {key: given[key] for key in _KEPT if given.get(key) is not None}
    is_airflow = given["image"] == plan.artifact
    made["image"] = plan.images[given["image"]]
    if is_airflow:
        made["environment"] = _variables(plan) | made["environment"] | _fixed_variables(plan)
        if not plan.shares_logs:
            made["command"] = [word for word in made["command"] if word != _SKIP_LOGS]
    if name in _LOST_CLIENTS:
        made["command"] = [*made.get("command", []), *_LOST_CLIENTS[name]]
    made["networks"] = sorted(given["networks"])
    made["secrets"] = [_secret(secret, plan) for secret in given.get("secrets", [])]
    made["volumes"] = [*_in_memory(given), *_volumes(given, plan)]
    if ports := given.get("ports"):
        made["ports"] = [_port(port) for port in ports]
    made["labels"] = {VERSION: _version(made, plan)}
    made["deploy"] = _deploy(name, given, plan)
    return made


def _version(made: Made, plan: Plan) -> str:
    """Changes with all that a container is made of, versions of secrets among it."""
    named = [plan.secrets[secret["source"]] for secret in made["secrets"]]
    return hashlib.sha256(json.dumps([made, named], sort_keys=True).encode()).hexdigest()[:12]


def _variables(plan: Plan) -> dict[str, str]:
    """Where workers hand out their logs themselves, the page asks for them at the address that they have noted."""
    return {} if plan.shares_logs else {"AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow.utils.net.get_host_ip_address"}


def _fixed_variables(plan: Plan) -> dict[str, str]:
    return {"AIRFLOW__CORE__DAGS_FOLDER": DAGS_IN_IMAGE} if plan.dags_in_image else {}


def _secret(given: Made, plan: Plan) -> Made:
    target = str(given.get("target") or given["source"]).removeprefix("/run/secrets/")
    return {"source": given["source"], "target": target, "uid": str(plan.uid), "gid": "0", "mode": 0o400}


def _in_memory(given: Made) -> list[Made]:
    """Swarm takes neither owner nor mode for these: anybody may write there, and there is one user.

    Nor can a program be run from them. Where that is wanted it is a folder on disk, which goes with the container.
    """
    made: list[Made] = []
    for entry in given.get("tmpfs") or []:
        target, _, options = entry.partition(":")
        made.append({"type": "volume" if "exec" in options.split(",") else "tmpfs", "target": target})
    if size := given.get("shm_size"):
        made.append({"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": int(size)}})  # noqa: S108  theirs
    return made


def literal(text: str) -> str:
    """A text of compose's configuration as it was meant: there a ``$`` is written twice."""
    return text.replace("$$", "$")


def _volumes(given: Made, plan: Plan) -> list[Made]:
    made: list[Made] = []
    for volume in given.get("volumes", []):
        if volume["type"] == "volume" or literal(volume["source"]) in plan.shared:
            kept = ("type", "source", "target", "read_only")
            made.append({key: volume[key] for key in kept if key in volume})
        elif volume["target"] in _SCRATCH:
            made.append({"type": "volume", "target": volume["target"]})
    return made


def _port(given: Made) -> Made:
    """The port of the host itself. Swarm knows no addresses here, so it is that of all of them."""
    return {
        "target": given["target"],
        "published": int(given["published"]),
        "protocol": given["protocol"],
        "mode": "host",
    }


def _deploy(name: str, given: Made, plan: Plan) -> Made:
    made: Made = {"labels": {ARTIFACT: plan.artifact, WHERE: plan.where}}
    memory, pids = int(given.get("mem_limit", 0)), given.get("pids_limit", 0)
    limits = {**({"memory": str(memory)} if memory else {}), **({"pids": pids} if pids else {})}
    made["resources"] = {"limits": limits}
    if name in ONE_SHOT:
        made |= _job()
    else:
        made |= {"mode": "replicated", "replicas": plan.workers if name == "worker" else 1}
        made |= {"restart_policy": {"condition": "any", "delay": "2s"}, **_update(name)}
    # Names lead to the containers themselves: one address in front of them would need IPVS in the kernel.
    made["endpoint_mode"] = "dnsrr"
    if name not in EVERYWHERE:
        made["placement"] = {"constraints": [f"node.labels.{node_label(plan.project)} == data"]}
    return made


def _job() -> Made:
    return {"mode": "replicated-job", "restart_policy": {"condition": "none"}}


def _update(name: str) -> Made:
    """A new version that does not become healthy, or does not stay so, gives way to the old one by itself.

    What has a volume or a port to itself must go before its successor comes; the others overlap.
    """
    order = "stop-first" if name in (*STORES, "webserver", "api-server") else "start-first"
    common = {"parallelism": 0 if name == "worker" else 1, "order": order, "monitor": _MONITOR}
    return {
        "update_config": {**common, "failure_action": "rollback"},
        "rollback_config": {**common, "failure_action": "pause"},
    }
