"""The compose plugin of Docker's client."""

from __future__ import annotations

import re

from airflow_docker import shell
from airflow_docker.engines import images
from airflow_docker.errors import UserError

KNOWS_TAGS = (2, 24, 4)
"""The oldest compose plugin with ``!override``: https://docs.docker.com/reference/compose-file/merge/#replace-value"""
INSTALL_PLUGIN = "Install docker-compose-plugin, or docker-compose of version 2 and docker-buildx."


def plugin_version() -> str:
    """The version of the compose plugin, like ``2.26.1``. Raises UserError if it is missing or too old."""
    result = shell.capture(["docker", "compose", "version", "--short"], timeout=images.ASK_SECONDS)
    if result.returncode:
        raise UserError("docker compose", "the compose plugin (version 2) is missing.", INSTALL_PLUGIN)
    version = result.stdout.strip().removeprefix("v")
    if not re.match(r"([2-9]|\d\d)\.", version):
        raise UserError("docker compose", f"version 2 is needed, and this is {version or 'none'}.", INSTALL_PLUGIN)
    return version
