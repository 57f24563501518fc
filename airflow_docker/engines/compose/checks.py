"""The programs that an engine with containers needs: that they are there, and new enough."""

from __future__ import annotations

from airflow_docker import shell
from airflow_docker.engines import Engine, images
from airflow_docker.engines.compose.plugin import plugin_version
from airflow_docker.findings import Check, Finding, ok
from airflow_docker.settings import Settings

COMPOSE_RECOMMENDED = (2, 20)


def docker(settings: Settings, engine: Engine) -> Finding:
    images.require_engine()
    return ok(shell.capture(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.strip())


def compose(settings: Settings, engine: Engine) -> Finding:
    version = plugin_version()
    if shell.version_in(version) < COMPOSE_RECOMMENDED:
        return Finding("warning", f"{version} is older than what this is tested with.", "Take 2.20 or newer.")
    return ok(version)


CHECKS = (Check("docker", docker, docker_only=True), Check("compose", compose, docker_only=True))
