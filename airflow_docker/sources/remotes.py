"""Git URLs, and why a remote cannot be reached: found by probing it, not by parsing git's messages."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_docker import interruption, shell
from airflow_docker.errors import UserError
from airflow_docker.settings.types import SCP_FORM, redact
from airflow_docker.sources import git_command

PROBE_SECONDS = 5.0
_USUAL_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
"""The schemes that git itself supports, with their default ports."""


# The variables of `git rev-parse --local-env-vars`, except those of configuration.
_LOCAL = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE", "GIT_IMPLICIT_WORK_TREE", "GIT_NAMESPACE",
)  # fmt: skip


def leave_surrounding_repository() -> None:
    """Unset git's variables that name a repository, as in its hooks: git would use that one instead of ours."""
    for name in _LOCAL:
        os.environ.pop(name, None)


def split_credentials(url: str) -> tuple[str, str]:
    """An http(s) URL without user and password, and these as ``user:password`` (empty if there are none)."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not at:
        return url, ""
    return urlunsplit(parts._replace(netloc=host)), unquote(userinfo if ":" in userinfo else f"{userinfo}:")


def environment(url: str = "", credentials: str = "") -> dict[str, str]:
    """Variables with which git never prompts, and that give it ``credentials`` for ``url`` outside of arguments."""
    login = {}
    if credentials:
        parts = urlsplit(url)
        header = base64.b64encode(credentials.encode()).decode()
        count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        login = {
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
            f"GIT_CONFIG_VALUE_{count}": f"Authorization: Basic {header}",
        }
    return login | {
        "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true", "GCM_INTERACTIVE": "never",
        "GIT_SSH_COMMAND": _ssh_command() + " -o BatchMode=yes",
    }  # fmt: skip


def _ssh_command() -> str:
    """The ssh command that git itself would use: from the variable, else from the user's configuration."""
    asked = git_command.command(None, "config", "core.sshCommand")
    return os.environ.get("GIT_SSH_COMMAND") or shell.capture(asked).stdout.strip() or "ssh"


def same(one: str, other: str) -> bool:
    """True if two URLs name the same repository, apart from spelling and credentials."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    local = local_path(url)
    if local:
        return str(local.resolve())
    bare = re.sub(r"^(https?://)[^@/]*@", r"\1", url)
    return bare.rstrip("/").removesuffix(".git")


def local_path(url: str) -> Path | None:
    """The folder of a plain path or file: URL; None for any other URL."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    if "://" in url or SCP_FORM.fullmatch(url):
        return None
    return Path(url).expanduser()


class Refused(Exception):
    """A remote that git could not use; ``stderr`` is git's output."""

    def __init__(self, stderr: str) -> None:
        self.stderr = last_line(stderr)
        super().__init__(self.stderr)


def last_line(stderr: str) -> str:
    """The last error in git's output, else its last line; without credentials."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return redact([*lines[-1:], *errors[-1:]][-1] if lines else "no reason given")


def explain(url: str, where: str, stderr: str) -> UserError:
    """The error for a failed clone or fetch; ``stderr`` is git's output."""
    interruption.check()  # after a signal git has not failed
    shown = redact(url)
    local = local_path(url)
    if local is not None:
        if not local.exists():
            return UserError(where, f"there is nothing at {local}.", "Correct the path.")
        return UserError(
            where, f"{local} cannot be read as a git repository ({stderr}).", f"Try: git ls-remote {local}"
        )
    scheme = re.match(r"([\w.+-]+?)(?:://|::)", url)
    if scheme and scheme[1] not in _USUAL_PORTS and not shutil.which(f"git-remote-{scheme[1]}"):
        return UserError(where, f"git does not support '{scheme[1]}' URLs.", "Use https, ssh, git, file or a path.")
    host, port = _endpoint(url)
    if not _behind_proxy(url) and (unreachable := _unreachable(host, port, where)):
        return unreachable
    if _is_refused(url, host, port):
        todo = (
            "Give this account access: a credential helper or a token for https, a key in your agent for ssh. "
            f"Then try: git ls-remote {shown}"
        )
        return UserError(where, f"{shown} is private or does not exist: access was denied.", todo)
    return UserError(where, f"{shown} cannot be fetched ({stderr}).", f"Try: git ls-remote {shown}")


def _unreachable(host: str, port: int, where: str) -> UserError | None:
    try:
        socket.getaddrinfo(host, port)
    except (OSError, UnicodeError):  # UnicodeError for an invalid name
        return UserError(where, f"the host '{host}' is not known.", "Check the spelling and your connection.")
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError as problem:
        what = f"the host '{host}' does not answer on port {port} ({problem.strerror or problem})."
        return UserError(where, what, "Check your connection, VPN or firewall.")
    return None


def _endpoint(url: str) -> tuple[str, int]:
    if scp := SCP_FORM.fullmatch(url):
        return scp[1].strip("[]"), 22
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _USUAL_PORTS.get(parts.scheme, 443)


def _behind_proxy(url: str) -> bool:
    from urllib.request import getproxies

    return urlsplit(url).scheme in getproxies()


def _is_refused(url: str, host: str, port: int) -> bool:
    """True if the server denies access. Exit codes are from ssh(1), statuses from RFC 9110."""
    if url.startswith(("http://", "https://")):
        return _http_status(url) in (401, 403, 404)
    if url.startswith("git://"):
        return False
    user = (urlsplit(url).username if "://" in url else url.partition("@")[0] if "@" in url else None) or "git"
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-p", str(port), f"{user}@{host}", "true"]
    return shell.capture(command, timeout=PROBE_SECONDS * 2).returncode == 255


def _http_status(url: str) -> int | None:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    bare = re.sub(r"^(https?://)[^@/]*@", r"\1", url)
    try:
        with urlopen(f"{bare.rstrip('/')}/info/refs?service=git-upload-pack", timeout=PROBE_SECONDS) as response:  # noqa: S310
            return int(response.status)
    except HTTPError as error:
        return error.code
    except (OSError, ValueError, HTTPException):  # ValueError for an invalid name, HTTPException for another protocol
        return None
