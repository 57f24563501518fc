"""Settings: .env and the environment become one frozen object, which records the source of each value.

Precedence, highest first: a flag of the verb, the process environment, the .env file,
the default. An empty value counts as not set. Values are literal: ``$NAME`` is not
expanded, so a password may contain one. A leading ``~`` in a path is the home directory;
a relative path is relative to the folder of the .env file.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from airflow_docker import PROJECT, scrubbed_env
from airflow_docker.errors import USAGE, UserError, raise_all
from airflow_docker.settings import dotenv_file
from airflow_docker.settings.types import (
    Base,
    Parser,
    Secret,
    airflow_version_from_2_7,
    bare_image_name,
    config_files,
    debian_packages,
    existing_file,
    expanded,
    file_or_url,
    git_url,
    image_name,
    inner_path,
    is_file_of_zone,
    matching,
    memory,
    mounts,
    number,
    package_names,
    path,
    redact,
    shared_memory,
    text,
    time_zone,
    url_problem,
)

APPLICATION_SECRETS = ("DB_APPS", "DRS_CNF", "AWS")
_SECRET_NAME = re.compile(rf"SECRET_({'|'.join(APPLICATION_SECRETS)})(_FILE|_SECTIONS|__.+__.+)")
_AIRFLOW_OPTION = re.compile(r"AIRFLOW__[A-Z0-9_]+__[A-Z0-9_]+")
# Options whose value is a secret or names one; these are generated and passed as files.
# https://airflow.apache.org/docs/apache-airflow/2.11.2/howto/set-config.html
_SENSITIVE_OPTION = re.compile(
    r"(SQL_ALCHEMY_CONN(_ASYNC)?|FERNET_KEY|SECRET_KEY|BROKER_URL|RESULT_BACKEND|PASSWORD|JWT_SECRET|SENTRY_DSN|"
    r"FLOWER_BASIC_AUTH|BACKEND_KWARGS|CONNECT_ARGS|ELASTICSEARCH__HOST|OPENSEARCH__HOST)(_CMD|_SECRET)?$"
)
_RESERVED = {
    "AIRFLOW__CORE__EXECUTOR": "Set EXECUTOR.",
    "AIRFLOW__CORE__DAGS_FOLDER": "Set WORKFLOW_DEV_DIR and DAGS_DIR.",
    **dict.fromkeys(("AIRFLOW__WEBSERVER__WEB_SERVER_PORT", "AIRFLOW__API__PORT"), "Set AIRFLOW_PORT."),
    **dict.fromkeys(
        ("AIRFLOW__WEBSERVER__WEB_SERVER_HOST", "AIRFLOW__API__HOST"),
        "Remove it: only this machine reaches the web UI; put a proxy in front for others.",
    ),
    **dict.fromkeys(
        ("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK",
         "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT"),
        "Remove it: starting and checking the services depends on its value.",
    ),
}  # fmt: skip
"""Options that airflow-docker sets itself -> what to do instead."""
_WEB_UI_URLS = ("AIRFLOW__WEBSERVER__BASE_URL", "AIRFLOW__API__BASE_URL")
"""The options with the public URL of the web UI, in Airflow 2 and 3."""
AIRFLOW_IMAGE_UID = 50000
"""The uid of the user ``airflow`` in the official image."""


Default = str | Callable[[Base], str]


def default_uid(_: Base) -> str:
    """The user's own uid, so that host files have one owner; for root the image's uid."""
    return str(os.getuid() or AIRFLOW_IMAGE_UID)


def default_project_name(base: Base) -> str:
    """The folder's name and a hash of the .env file's path, so that two checkouts do not collide."""
    folder = re.sub(r"[^a-z0-9_-]+", "-", base.env_file.parent.name.lower()).strip("-_") or "airflow"
    return f"{folder}-{hashlib.sha256(os.fsencode(base.env_file)).hexdigest()[:6]}"


def default_ca_bundle(base: Base) -> str:
    """The file of certificates that SSL_CERT_FILE or PIP_CERT names, if it exists."""
    named = (base.environ.get("SSL_CERT_FILE"), base.environ.get("PIP_CERT"))
    return next((file for file in named if file and Path(file).is_file()), "")


def setting(default: Default, parse: Parser = text) -> Any:
    """A field of Settings: ``{NAME}`` in a default stands for the setting of that name."""
    return field(metadata={"default": default, "parse": parse})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, parsed. .env.example explains each; ``sources`` has the source of each value."""

    ao_workflows_url: str = setting("https://github.com/buda-base/ao-workflows.git", git_url)
    ao_workflows_ref: str = setting("")
    workflow_dev_dir: Path = setting("sources/ao-workflows", path)
    archive_ops_url: str = setting("https://github.com/buda-base/archive-ops.git", git_url)
    archive_ops_ref: str = setting("")
    ao_dev_dir: Path = setting("sources/archive-ops", path)
    dags_dir: str = setting("airflow-docker/dags", inner_path)
    dag_requirements: str = setting("airflow-docker/StagingGlacierProcess-requirements.txt")

    build_dir: Path = setting("~/tmp/compose-build", path)
    airflow_version: str = setting("2.11.2", airflow_version_from_2_7)
    airflow_base_image: str = setting("apache/airflow:{AIRFLOW_VERSION}-python3.11", image_name)
    airflow_image: str = setting("bdrc-airflow", bare_image_name)
    postgres_image: str = setting("postgres:16", image_name)
    redis_image: str = setting("redis:7", image_name)
    image_registry: str = setting(
        "", matching(r"([a-z0-9][a-z0-9.-]*(:\d+)?(/[a-z0-9._-]+)*)?", "a registry like registry.example.org:5000/team")
    )
    extra_ca_bundle: Path | None = setting(default_ca_bundle, existing_file)
    airflow_constraints: str = setting("", file_or_url)
    system_packages: tuple[str, ...] = setting("", debian_packages)
    build_packages: tuple[str, ...] = setting("", debian_packages)
    audit_tool_url: str = setting("", matching(r"(https?://\S+)?", "an http or https URL"))
    audit_tool_sha256: str = setting("", matching(r"([0-9a-f]{64})?", "64 hexadecimal digits in lower case"))
    audit_tool_deb: Path | None = setting("", existing_file)
    site_config: tuple[tuple[str, str], ...] = setting("", config_files)

    engine: str = setting("auto", matching(r"auto|compose|standalone|swarm", "auto, compose, standalone or swarm"))
    standalone_skip: tuple[str, ...] = setting("", package_names)
    executor: str = setting(
        "LocalExecutor", matching(r"LocalExecutor|CeleryExecutor", "LocalExecutor or CeleryExecutor")
    )
    workers: int = setting("1", number(1, 100))
    worker_stop_seconds: int = setting("600", number(1, 86400))
    dags_delivery: str = setting("mount", matching(r"mount|image", "mount or image"))
    overlay_encryption: str = setting("YES", matching(r"YES|NO", "YES or NO"))
    airflow_port: int = setting("8089", number(1, 65535))
    airflow_uid: int = setting(default_uid, number(1, 2**31 - 1))
    airflow_admin_user: str = setting("admin", matching(r"[A-Za-z0-9._@-]+", "a user name without blanks"))
    memory_limit: str = setting("0", memory)
    shm_size: str = setting("1g", shared_memory)
    pids_limit: int = setting("4096", number(100, 4194304))
    tz: str = setting("America/New_York", time_zone)
    pydev_debug: str = setting("NO", matching(r"YES|NO", "YES or NO"))
    compose_project_name: str = setting(
        default_project_name, matching(r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, - and _")
    )

    state_dir: Path = setting(".state", path)
    secrets_dir: Path = setting(".secrets", path)
    logs_dir: Path = setting("{STATE_DIR}/logs", path)
    app_log_dir: Path = setting("{STATE_DIR}/app-log", path)
    work_data_dir: Path = setting("{STATE_DIR}/data", path)
    arch_root: Path = setting("{STATE_DIR}/mnt", path)
    archive0_dir: Path = setting("{STATE_DIR}/extern/Archive0", path)
    archive1_dir: Path = setting("{STATE_DIR}/extern/Archive1", path)
    archive2_dir: Path = setting("{STATE_DIR}/extern/Archive2", path)
    archive3_dir: Path = setting("{STATE_DIR}/extern/Archive3", path)
    extra_mounts: tuple[tuple[Path, str], ...] = setting("", mounts)

    env_file: Path = field(metadata={"internal": True})
    secret_inputs: Mapping[str, Secret] = field(metadata={"internal": True})
    airflow_options: Mapping[str, str] = field(metadata={"internal": True})
    sources: Mapping[str, str] = field(metadata={"internal": True})

    @property
    def dags_in_image(self) -> bool:
        """True if the DAGs are part of the image."""
        return self.engine == "swarm" and self.dags_delivery == "image"

    def shown(self, name: str) -> str:
        """The value of the setting ``name`` (upper case) as text, without secrets."""
        value = getattr(self, name.lower())
        if isinstance(value, tuple):
            return ",".join(item if isinstance(item, str) else ":".join(map(str, item)) for item in value)
        return "" if value is None else redact(str(value))


def names() -> list[str]:
    """All settings, in the order of .env.example."""
    return [f.name.upper() for f in fields(Settings) if "internal" not in f.metadata]


def flag_path(flag: str, value: str) -> Path | None:
    """The path in a flag, relative to the current folder; None without the flag. Raises UserError."""
    try:
        return Path.cwd() / expanded(value) if value else None
    except ValueError as problem:
        raise UserError(flag, f"{problem}.", "Correct the path.", USAGE) from None


def load(
    env_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str | None] | None = None,
) -> Settings:
    """Read the settings: ``flags`` over ``environ`` over ``env_file`` over the defaults.

    ``env_file`` defaults to ENV_FILE of the environment, then to .env beside tasks.py, which
    may be missing. Raises UserError (exit code 2) that lists every problem at once.
    """
    environ = scrubbed_env.original() if environ is None else environ
    base = Base(_env_file(env_file, environ), environ)
    in_file, errors = dotenv_file.read(base.env_file)
    errors += unknown_names(in_file, base.env_file)
    layers: list[tuple[str, Mapping[str, str]]] = [
        ("flag", {k: v for k, v in (flags or {}).items() if v}),
        ("environment", {name: value for name, value in environ.items() if name != "TZ" or not is_file_of_zone(value)}),
        (base.env_file.name, in_file),
    ]
    derived: list[UserError] = []
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for spec in fields(Settings):
        if "internal" not in spec.metadata:
            name = spec.name.upper()
            raw, origin[name] = _look_up(name, spec.metadata["default"], layers, values, base)
            try:
                values[name] = spec.metadata["parse"](raw, base)
            except ValueError as problem:
                values[name] = raw
                todo = "See .env.example."
                error = UserError(name, f"{problem} (from {origin[name]}).", todo, USAGE)
                (derived if origin[name] == "default" else errors).append(error)
    # Only options in .env count; the environment may override one. Others in it are for other Airflows.
    options = {k: environ.get(k) or v for k, v in _matching(_AIRFLOW_OPTION, in_file).items()}
    for option in _WEB_UI_URLS:
        if option in options and (reason := url_problem(options[option])):
            errors.append(UserError(option, f"{reason}.", "Correct it.", USAGE))
    errors += [_sensitive(name) for name in sorted(options) if _holds_secret(name, options[name])]
    reserved = sorted(options.keys() & _RESERVED.keys())
    errors += [UserError(name, "this option is set by airflow-docker.", _RESERVED[name], USAGE) for name in reserved]
    raise_all(errors or derived)  # an invalid default follows from an invalid setting
    origin |= {name: "environment" if environ.get(name) else base.env_file.name for name in options}
    secret_inputs = {**_matching(_SECRET_NAME, in_file), **_matching(_SECRET_NAME, environ)}
    return Settings(
        **{name.lower(): value for name, value in values.items()},
        env_file=base.env_file,
        secret_inputs={name: Secret(value) for name, value in sorted(secret_inputs.items())},
        airflow_options=options,
        sources=origin,
    )


def unknown_names(in_file: Mapping[str, str], env_file: Path) -> list[UserError]:
    """An error for each name in .env that resembles a setting but is none: it is probably a typo."""
    known = names()
    prefixes = {name.partition("_")[0] + "_" for name in known if "_" in name} | {"SECRET_"}
    errors = []
    for name in in_file:
        ours = name in known or _SECRET_NAME.fullmatch(name) or _AIRFLOW_OPTION.fullmatch(name)
        if not ours and (any(name.upper().startswith(p) for p in prefixes) or _near(name, 0.6)):
            errors.append(UserError(f"{env_file.name}: {name}", "there is no such setting.", _hint(name), USAGE))
    return errors


def _near(name: str, cutoff: float) -> str:
    """The setting most similar to ``name``, with a similarity of at least ``cutoff`` (0 to 1); else empty."""
    known = names() + [f"SECRET_{secret}_FILE" for secret in APPLICATION_SECRETS]
    return next(iter(difflib.get_close_matches(name.upper(), known, n=1, cutoff=cutoff)), "")


def _hint(name: str) -> str:
    """A suggestion for an unknown name."""
    upper = name.upper()
    if _AIRFLOW_OPTION.fullmatch(upper):
        return f"Did you mean {upper}?"
    if upper.startswith("AIRFLOW_") and not _near(name, 0.8):
        return "Options of Airflow itself are written AIRFLOW__SECTION__KEY."
    if secret := re.match(rf"SECRET_({'|'.join(APPLICATION_SECRETS)})__", upper):
        return f"A single key is written {secret[0]}section__key."
    near = _near(name, 0.6)
    return f"Did you mean {near}?" if near else "See .env.example for the names there are."


def _env_file(chosen: Path | None, environ: Mapping[str, str]) -> Path:
    try:
        named = chosen or (expanded(environ["ENV_FILE"]) if environ.get("ENV_FILE") else PROJECT / ".env")
    except ValueError as problem:
        raise UserError("ENV_FILE", f"{problem}.", "Correct the path.", USAGE) from None
    if environ.get("ENV_FILE") and not os.path.isfile(named):  # noqa: PTH113  does not raise for a name that is too long
        if os.path.lexists(named):
            raise UserError("ENV_FILE", f"{named} is not a file.", "Name another, or move it away.", USAGE)
        raise UserError("ENV_FILE", f"there is no file {named}.", "Copy .env.example to it and edit it.", USAGE)
    return Path(os.path.realpath(named))  # does not raise for a link to itself


def _look_up(
    name: str, default: Default, layers: list[tuple[str, Mapping[str, str]]], values: dict[str, Any], base: Base
) -> tuple[str, str]:
    for origin, layer in layers:
        if layer.get(name):
            return layer[name], origin
    raw = default(base) if callable(default) else default.format_map(values)
    return raw, "default"


def _matching(pattern: re.Pattern[str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if pattern.fullmatch(name) and value}


def _holds_secret(option: str, value: str) -> bool:
    """True if the name says so, or the value is a URL with a password or, among arguments, names one."""
    if option.endswith(("_ARGS", "_KWARGS")) and re.search(r"passw|secret|token|key", value, re.I):
        return True
    return bool(_SENSITIVE_OPTION.search(option) or re.match(r"[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]*@", value, re.I))


def _sensitive(name: str) -> UserError:
    return UserError(
        name,
        "this option holds a secret and would be visible in the containers' environment.",
        "Remove it; keys of this kind are generated and passed as files.",
        USAGE,
    )


def is_macos() -> bool:
    """True on macOS: Docker Desktop maps owners of shared files itself, so nothing is chowned."""
    return sys.platform == "darwin"
