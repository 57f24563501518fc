"""The package indexes of this machine: pip's configuration, translated for uv."""

from __future__ import annotations

import configparser
import os
import shlex
import sys
from pathlib import Path

from airflow_docker import scrubbed_env
from airflow_docker.requirements import certificates
from airflow_docker.settings import Settings

# Option of pip -> the same as variables of pip and uv.
# https://pip.pypa.io/en/stable/topics/configuration/ and https://docs.astral.sh/uv/reference/environment/
_SAME = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    "trusted-host": ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
}


def variables() -> dict[str, str]:
    """Variables for pip and uv. Indexes on the local disk are left out: a build cannot see them."""
    environ = scrubbed_env.original()
    result: dict[str, str] = {}
    for option, names in _SAME.items():
        value = environ.get("PIP_" + option.upper().replace("-", "_")) or _configured(option)
        values = [v for v in value.split() if option == "trusted-host" or v.startswith(("http://", "https://"))]
        if values:
            result |= dict.fromkeys(names, " ".join(values))
    return result


def _configured(option: str) -> str:
    """The value of an option in pip's configuration files; later files override earlier ones, as in pip."""
    value = ""
    for file in _configuration_files():
        parser = configparser.RawConfigParser()
        parser.optionxform = lambda option: option.lower().replace("_", "-")  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # pip itself will complain
        for section in ("global", "install"):
            value = parser.get(section, option, fallback=value)
    return value


def _configuration_files() -> list[Path]:
    """Where pip looks: system, user, environment, and the one that PIP_CONFIG_FILE names."""
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    named, home = os.environ.get("PIP_CONFIG_FILE", ""), Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    mac = [Path("/Library/Application Support/pip/pip.conf"), home / "Library/Application Support/pip/pip.conf"]
    system = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), mac[0]]
    own = [] if Path(named).is_file() else [home / ".pip" / "pip.conf", user, mac[1]]
    return [*system, *own, Path(sys.prefix, "pip.conf"), *([Path(named)] if named else [])]


def for_uv(settings: Settings, bundle: Path) -> dict[str, str]:
    """The environment for a uv on this host; certificates of the system and EXTRA_CA_BUNDLE go to ``bundle``."""
    if settings.extra_ca_bundle is None or str(settings.extra_ca_bundle) == os.environ.get("SSL_CERT_FILE"):
        return _of_uv()
    certificates.write(bundle, settings.extra_ca_bundle)
    return _of_uv() | {"SSL_CERT_FILE": str(bundle)}


def _of_uv() -> dict[str, str]:
    """The variables above and the user's own UV_ variables, as uv does not inherit them."""
    own = {name: value for name, value in scrubbed_env.original().items() if name.startswith("UV_")}
    return own | variables()


def as_script() -> str:
    """The same for a build, as lines of a shell script. It may hold credentials, so it is a build secret."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables().items())
