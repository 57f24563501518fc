"""Where packages come from on this machine: pip's configuration, in the words that uv understands too."""

from __future__ import annotations

import ast
import shlex
import shutil
import ssl
import sys
from pathlib import Path

from airflow_docker import files, shell
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
    for python in (sys.executable, "python3"):  # an environment may have been made without pip
        if shutil.which(python):
            result = shell.capture([python, "-m", "pip", "config", "list"])
            if result.returncode == 0:
                return _variables(result.stdout)
    return {}


def _variables(pip_config_list: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in pip_config_list.splitlines():  # later lines override earlier ones, as in pip
        name, _, quoted = line.partition("=")
        option = name.rpartition(".")[2]
        if option in _SAME:
            values = [v for v in str(ast.literal_eval(quoted)).split() if option == "trusted-host" or "http" in v[:4]]
            found |= dict.fromkeys(_SAME[option], " ".join(values)) if values else {}
    return found


def for_uv(settings: Settings, bundle: Path) -> dict[str, str]:
    """The environment of a uv that runs here; the system's and EXTRA_CA_BUNDLE's certificates go into ``bundle``."""
    if settings.extra_ca_bundle is None or settings.sources["EXTRA_CA_BUNDLE"] == "default":
        return variables()
    usual = ssl.get_default_verify_paths().cafile
    own = Path(usual).read_bytes() if usual else b""
    files.write(bundle, own + b"\n" + settings.extra_ca_bundle.read_bytes())
    return variables() | {"SSL_CERT_FILE": str(bundle)}


def as_script() -> str:
    """The same for a build, as lines that a shell reads; may hold credentials, so it travels as a build secret."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables().items())
