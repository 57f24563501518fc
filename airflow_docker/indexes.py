"""Where packages come from on this machine: pip's configuration, in the words that uv understands too."""

from __future__ import annotations

import ast
import shlex
import sys

from airflow_docker import shell
from airflow_docker.settings import Settings

# Option of pip -> variables of pip and uv that mean the same.
# https://pip.pypa.io/en/stable/topics/configuration/ and https://docs.astral.sh/uv/reference/environment/
_SAME = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    "trusted-host": ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
}


def variables() -> dict[str, str]:
    """Variables for pip and uv. Indexes on this machine's own disk are left out: a build cannot see them."""
    result = shell.capture([sys.executable, "-m", "pip", "config", "list"])
    return _variables(result.stdout if result.returncode == 0 else "")


def _variables(pip_config_list: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in pip_config_list.splitlines():  # later lines override earlier ones, as in pip
        name, _, quoted = line.partition("=")
        option = name.rpartition(".")[2]
        if option in _SAME:
            values = [v for v in str(ast.literal_eval(quoted)).split() if option == "trusted-host" or "http" in v[:4]]
            found |= dict.fromkeys(_SAME[option], " ".join(values)) if values else {}
    return found


def for_uv(settings: Settings) -> dict[str, str]:
    """The environment of a uv that runs here."""
    bundle = {"SSL_CERT_FILE": str(settings.extra_ca_bundle)} if settings.extra_ca_bundle else {}
    return variables() | bundle


def as_script() -> str:
    """The same for a build, as lines that a shell reads; may hold credentials, so it travels as a build secret."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables().items())
