"""The settings as values of the official Helm chart of Apache Airflow. Nothing here reads or runs anything.

The names are those of its values.schema.json, charts 1.20 to 1.22: https://airflow.apache.org/docs/helm-chart
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_docker import secret_files
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings
from airflow_docker.sources import remotes

_HOME = "/home/airflow"
ARCHIVES = ("ARCH_ROOT", *(f"ARCHIVE{n}_DIR" for n in range(4)))
FOLDERS = {
    "APP_LOG_DIR": (f"{_HOME}/bdrc/log", f"{_HOME}/log"),
    "WORK_DATA_DIR": (f"{_HOME}/bdrc/data",),
    "ARCH_ROOT": ("/mnt",),
    **{f"ARCHIVE{n}_DIR": (f"{_HOME}/extern/Archive{n}",) for n in range(4)},
}
"""Setting -> where the folder is mounted for the tasks, as in compose.yaml."""
HOSTS = {"metadata": "postgres", "broker": "redis"}
"""Secrets with a connection string -> its host on compose; in the cluster PREFIX-postgres, PREFIX-redis."""
_SERVICES = {2: ("scheduler", "webserver", "triggerer"), 3: ("scheduler", "apiServer", "dagProcessor", "triggerer")}
_READABLE = 0o440
_LOWEST = (2, 11)
"""The chart refuses an older Airflow."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Image:
    """The image of the pods; with a ``digest`` (``sha256:…``) the tag is for the reader only."""

    repository: str
    tag: str
    digest: str = ""


def is_celery(settings: Settings) -> bool:
    """True if workers run the tasks."""
    return settings.executor == "CeleryExecutor"


def values(settings: Settings, image: Image, claims: Mapping[str, str]) -> Values:
    """The values that differ from the chart's defaults. Raises UserError for what the chart cannot do.

    ``claims``: a setting that names a folder, or a folder of EXTRA_MOUNTS -> an existing claim for it.
    """
    prefix = prefix_of(settings)
    return {
        "fullnameOverride": prefix,
        "useStandardNaming": True,
        "defaultAirflowRepository": image.repository,
        "defaultAirflowTag": image.tag,
        **({"defaultAirflowDigest": image.digest} if image.digest else {}),
        "airflowVersion": settings.airflow_version,
        "executor": settings.executor,
        "uid": settings.airflow_uid,
        "gid": 0,
        "env": _env({**dict(sorted(settings.airflow_options.items())), "TZ": settings.tz}),
        **_web_ui_config(settings),
        **_keys(settings),
        **_stores(settings),
        "dags": _dags(settings, claims),
        **({"logs": _existing(claims["LOGS_DIR"])} if "LOGS_DIR" in claims else {}),
        "createUserJob": _admin(settings),
        **_services(settings, claims),
    }


def prefix_of(settings: Settings) -> str:
    """The prefix of all names in the cluster. Raises UserError if Kubernetes would refuse them."""
    prefix = settings.compose_project_name.replace("_", "-")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,38}[a-z0-9]", prefix):
        what = f"Kubernetes takes no names that begin with '{prefix}-'."
        todo = "Set one of 2 to 40 letters, digits and -, with a letter in front."
        raise UserError("COMPOSE_PROJECT_NAME", what, todo)
    return prefix


def referenced(settings: Settings) -> dict[str, dict[str, str]]:
    """Secret, without the prefix -> its keys -> the file of each in SECRETS_DIR."""
    references = {
        "fernet-key": {"fernet-key": "fernet_key"},
        **_web_ui_keys(settings),
        "metadata": {"connection": "sql_alchemy_conn"},
        "postgres": {"password": "postgres_password"},
    }
    if is_celery(settings):
        references |= {"broker": {"connection": "broker_url"}, "redis": {"password": "redis_password"}}
    tasks = {name.lower(): file for name, file in secret_files.FILE_NAMES.items()}
    return references | {"admin": {"admin_password": "admin_password"}, "tasks": tasks}


def _web_ui_keys(settings: Settings) -> dict[str, dict[str, str]]:
    if _major(settings) == 2:
        return {"webserver-secret-key": {"webserver-secret-key": "webserver_secret_key"}}
    return {
        "api-secret-key": {"api-secret-key": "webserver_secret_key"},
        "jwt-secret": {"jwt-secret": "jwt_secret"},
    }


def _major(settings: Settings) -> int:
    """2 or 3. Raises UserError for an Airflow that the chart refuses."""
    major, minor, *_ = map(int, settings.airflow_version.split("."))
    if (major, minor) < _LOWEST:
        what = f"the Helm chart runs Airflow from 2.11.0 on, not {settings.airflow_version}."
        raise UserError("AIRFLOW_VERSION", what, "Set a newer one and type: inv build")
    return major


def _keys(settings: Settings) -> Values:
    """The names of the infrastructure Secrets, where the chart expects them."""
    prefix = prefix_of(settings)
    if _major(settings) == 2:
        web_ui_keys = {"webserverSecretKeySecretName": f"{prefix}-webserver-secret-key"}
    else:
        web_ui_keys = {"apiSecretKeySecretName": f"{prefix}-api-secret-key", "jwtSecretName": f"{prefix}-jwt-secret"}
    broker = {"brokerUrlSecretName": f"{prefix}-broker"} if is_celery(settings) else {}
    return {
        "fernetKeySecretName": f"{prefix}-fernet-key",
        **web_ui_keys,
        "data": {"metadataSecretName": f"{prefix}-metadata", **broker},
    }


def _stores(settings: Settings) -> Values:
    """The chart's own database, and its Redis if there are workers."""
    prefix = prefix_of(settings)
    user = {"enablePostgresUser": False, "username": "airflow", "database": "airflow"}
    auth = {**user, "existingSecret": f"{prefix}-postgres"}
    stores = {"postgresql": {"enabled": True, "fullnameOverride": f"{prefix}-postgres", "auth": auth}}
    if not is_celery(settings):
        return {**stores, "redis": {"enabled": False}}
    # The chart joins the two with a colon, so the tag may also be the end of a digest.
    image = settings.redis_image
    name = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
    repository, _, tag = name.rpartition(":")
    redis = {"enabled": True, "passwordSecretName": f"{prefix}-redis"}
    return {**stores, "redis": redis, "images": {"redis": {"repository": repository, "tag": tag}}}


def _web_ui_config(settings: Settings) -> Values:
    """The URL of the web UI, for the chart's probes; Airflow reads it from its environment variable."""
    section = "webserver" if _major(settings) == 2 else "api"
    url = settings.airflow_options.get(f"AIRFLOW__{section.upper()}__BASE_URL")
    return {"config": {section: {"base_url": url}}} if url else {}


def _dags(settings: Settings, claims: Mapping[str, str]) -> Values:
    """A claim if one is named, else git-sync."""
    if "DAGS_DIR" in claims:
        return _existing(claims["DAGS_DIR"])
    url, _ = remotes.split_credentials(settings.ao_workflows_url)
    if remotes.local_path(url):
        todo = "Set a URL, or name a claim that holds the DAGs: --claim DAGS_DIR=CLAIM"
        raise UserError("AO_WORKFLOWS_URL", f"{url} is on this machine alone, where no pod can clone it.", todo)
    ref = settings.ao_workflows_ref or "HEAD"
    secret = {}
    if keys := git_secret(settings, claims):
        kind = "sshKeySecret" if "gitSshKey" in keys else "credentialsSecret"
        secret = {kind: f"{prefix_of(settings)}-git"}
    # Older versions of git-sync need ``branch``; newer ones still prefer it if it is set, as the chart does.
    source = {"repo": url, "ref": ref, "branch": ref, "subPath": settings.dags_dir}
    return {"gitSync": {"enabled": True, **source, **secret}}


def git_secret(settings: Settings, claims: Mapping[str, str]) -> dict[str, str]:
    """The Secret with which git-sync logs in: its keys -> files that the user has to write. Empty if it need not."""
    url, login = remotes.split_credentials(settings.ao_workflows_url)
    if "DAGS_DIR" in claims:
        return {}
    if login:
        kinds = {"USERNAME": "USER_FILE", "PASSWORD": "PASSWORD_FILE"}
        return {f"{prefix}_{kind}": file for kind, file in kinds.items() for prefix in ("GIT_SYNC", "GITSYNC")}
    is_ssh = url.startswith("ssh://") or "://" not in url
    return {"gitSshKey": "KEY_FILE"} if is_ssh else {}


def _existing(claim: str) -> Values:
    return {"persistence": {"enabled": True, "existingClaim": claim}}


def _admin(settings: Settings) -> Values:
    """The job that creates the admin: by our own script, as the chart's has the password in its arguments."""
    volume = {"name": "admin", "secret": {"secretName": f"{prefix_of(settings)}-admin", "defaultMode": _READABLE}}
    return {
        "args": ["python", "/opt/airflow-docker/init.py"],
        "env": _env({"AIRFLOW_ADMIN_USER": settings.airflow_admin_user}),
        "extraVolumes": [volume],
        "extraVolumeMounts": [_secret_file("admin", "admin_password")],
    }


def _services(settings: Settings, claims: Mapping[str, str]) -> Values:
    """Each service with its memory limit; the one that runs tasks has the folders and secrets of the tasks."""
    limit = _limit(settings)
    services: dict[str, Values] = {name: {**limit} for name in _SERVICES[_major(settings)]}
    tasks = _tasks(settings, claims)
    if is_celery(settings):
        services["workers"] = {"celery": {"replicas": settings.workers, **limit, **tasks}}
    else:
        services["scheduler"] |= tasks
    return {name: service for name, service in services.items() if service}


def _limit(settings: Settings) -> Values:
    """MEMORY_LIMIT, if there is one."""
    if settings.memory_limit == "0":
        return {}
    return {"resources": {"limits": {"memory": _amount(settings.memory_limit)}}}


def _amount(memory: str) -> str:
    """An amount of memory in the units of Kubernetes, whose m is a thousandth."""
    return memory.replace("m", "Mi").replace("g", "Gi")


def _tasks(settings: Settings, claims: Mapping[str, str]) -> Values:
    """What the tasks need: variables, the three secret files, folders."""
    secret = {"secretName": f"{prefix_of(settings)}-tasks", "defaultMode": _READABLE}
    volumes: list[Values] = [{"name": "task-secrets", "secret": secret}]
    mounts = [_secret_file("task-secrets", name.lower()) for name in secret_files.FILE_NAMES]
    for name, source, paths in _folders(settings, claims):
        volumes.append({"name": name, **source})
        mounts += [{"name": name, "mountPath": path} for path in paths]
    memory = {"medium": "Memory", "sizeLimit": _amount(settings.shm_size)}
    volumes.append({"name": "shm", "emptyDir": memory})
    mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108  Linux has it there
    variables = {"ARCH_ROOT": "/mnt", "PYDEV_DEBUG": settings.pydev_debug}
    return {"env": _env(variables), "extraVolumes": volumes, "extraVolumeMounts": mounts}


def _folders(settings: Settings, claims: Mapping[str, str]) -> Iterable[tuple[str, Values, tuple[str, ...]]]:
    """Name, source and mount paths of each: a claim, or the folder that is set, which must be on every node.

    If they are not set, the tasks' own are empty folders of the pod, and archives are left out.
    """
    for setting, paths in FOLDERS.items():
        if setting in claims or settings.sources[setting] != "default":
            source = _source(claims.get(setting), getattr(settings, setting.lower()))
        elif setting in ARCHIVES:
            continue
        else:
            source = {"emptyDir": {}}
        yield setting.lower().replace("_", "-"), source, paths
    for number, (host, path) in enumerate(settings.extra_mounts):
        yield f"extra-{number}", _source(claims.get(path), host), (path,)


def _source(claim: str | None, folder: object) -> Values:
    if claim:
        return {"persistentVolumeClaim": {"claimName": claim}}
    return {"hostPath": {"path": str(folder), "type": "Directory"}}  # Kubernetes does not create it


def _secret_file(volume: str, key: str) -> Values:
    """One file in /run/secrets: a volume over the whole folder would hide what Kubernetes puts there."""
    return {"name": volume, "mountPath": f"/run/secrets/{key}", "subPath": key, "readOnly": True}


def _env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in variables.items()]
