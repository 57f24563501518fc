"""Parses the text of a setting: one function per type, which raises ValueError with a reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

SCP_FORM = re.compile(r"(?:[^@/:]+@)?(\[[^\]]+\]|[^/:]{2,}):(?!//).*")
"""scp-like form of an ssh URL in git, user@host:path; group 1 is the host."""


class Secret(str):
    """A string that prints as ``***``; only ``reveal()`` returns the value."""

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def reveal(self) -> str:
        """The value itself."""
        return str.__str__(self)


@dataclass(frozen=True)
class Base:
    """What parsers and defaults may depend on, apart from other settings."""

    env_file: Path
    environ: Mapping[str, str]


Parser = Callable[[str, Base], Any]


# Up to the last @, because an unquoted password may contain / ? # and @.
_LOGIN = re.compile(r"(https?://|[a-z][a-z0-9+.-]*://(?=[^\s@]*:))\S*@", re.I)
_QUERY = re.compile(r"(https?://[^\s?]*)\?[^\s'\")>]+", re.I)
_LOGIN_ALONE = re.compile(r"[^\s/@:]+:[^\s/@]*@")


def redact(text_with_urls: str) -> str:
    """Hide user, password and query of each URL; a query may be a signature."""
    return _QUERY.sub(r"\1?***", _LOGIN.sub(r"\1***@", text_with_urls))


def text(value: str, _: Base) -> str:
    return value


def expanded(value: str) -> Path:
    """A path with a leading ``~`` replaced. Raises ValueError if that user is not known."""
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"'{value}' names a home directory that is not known") from None


def path(value: str, base: Base) -> Path:
    return Path(os.path.normpath(base.env_file.parent / expanded(value)))


def url_problem(value: str) -> str:
    """Why ``value`` is not a URL; empty if it is one."""
    try:
        _ = urlsplit(value).port
    except ValueError as problem:
        # The original reason may quote a part of a password.
        reason = "in a password, / ? # @ % must be written %2F %3F %23 %40 %25" if "@" in value else str(problem)
        return f"'{redact(value)}' is not a URL ({reason})"
    return ""


def git_url(value: str, base: Base) -> str:
    """A URL or user@host:path unchanged; a plain path as an absolute path."""
    if "://" in value:
        if reason := url_problem(value):
            raise ValueError(reason)
        if not value.lower().startswith(("http://", "https://")) and redact(value) != value:
            raise ValueError(f"'{redact(value)}' holds a password, which is for http and https alone")
        return value
    if _LOGIN_ALONE.match(value):
        raise ValueError("it begins with a user and a password and has no scheme: put https:// before them")
    return value if SCP_FORM.fullmatch(value) else str(path(value, base))


def existing_file(value: str, base: Base) -> Path | None:
    if not value:
        return None
    file = path(value, base)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    return file


def inner_path(value: str, _: Base) -> str:
    if Path(value).is_absolute() or ".." in Path(value).parts:
        raise ValueError(f"'{value}' must be a relative path, without '..'")
    return value


def is_count(value: str) -> bool:
    """True for a whole number of at most ten ASCII digits, so that no clock or counter overflows."""
    return re.fullmatch(r"[0-9]{1,10}", value) is not None


def number(low: int, high: int) -> Parser:
    def parse(value: str, _: Base) -> int:
        if not is_count(value) or not low <= int(value) <= high:
            raise ValueError(f"'{value}' is not a whole number from {low} to {high}")
        return int(value)

    return parse


def matching(pattern: str, meaning: str) -> Parser:
    def parse(value: str, _: Base) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"'{redact(value)}' is not {meaning}")
        return value

    return parse


def memory(value: str, _: Base) -> str:
    """An amount like 512m or 4g, or 0. Airflow's services do not start with less than 256m."""
    if value != "0":
        match = re.fullmatch(r"(\d{1,6})([mg])", value)
        if not match:
            raise ValueError(f"'{value}' is not an amount of memory like 512m or 4g, or 0")
        if int(match[1]) * {"m": 1, "g": 1024}[match[2]] < 256:
            raise ValueError(f"'{value}' is less than Airflow starts with, 256m")
    return value


def shared_memory(value: str, _: Base) -> str:
    """An amount like 64m or 1g."""
    if not re.fullmatch(r"0*[1-9]\d{0,5}[mg]", value):
        raise ValueError(f"'{value}' is not an amount of memory like 64m or 1g")
    return value


def mounts(value: str, base: Base) -> tuple[tuple[Path, str], ...]:
    pairs: list[tuple[Path, str]] = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        host, _, container = item.rpartition(":")
        if not host or not container.startswith("/"):
            raise ValueError(f"'{item}' is not of the form HOST_FOLDER:/container/folder")
        if container in (target for _, target in pairs):
            raise ValueError(f"two folders are mounted at {container}")
        pairs.append((path(host, base), container))
    return tuple(pairs)


def file_or_url(value: str, base: Base) -> str:
    """A URL unchanged; the path of a file as an absolute path."""
    return value if "://" in value else str(existing_file(value, base) or "")


def package_names(value: str, _: Base) -> tuple[str, ...]:
    """Names of Python packages, separated by blanks or commas, normalised as in locks."""
    return tuple(re.sub(r"[-_.]+", "-", word).lower() for word in value.replace(",", " ").split())


def debian_packages(value: str, _: Base) -> tuple[str, ...]:
    """Names separated by blanks or commas, sorted."""
    packages = sorted(set(value.replace(",", " ").split()))
    for name in packages:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+:~-]+)?", name):
            raise ValueError(f"'{name}' is not the name of a Debian package")
    return tuple(packages)


def config_files(value: str, base: Base) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        source, colon, target = item.rpartition(":")
        if not colon or not source or not target:
            raise ValueError(f"'{item}' is not of the form FILE:path/in/the/home/folder")
        target_path = PurePath(inner_path(target, base))
        if clash := next(
            (other for _, other in pairs if target_path.is_relative_to(other) or target_path in Path(other).parents), ""
        ):
            raise ValueError(f"'{target}' and '{clash}' cannot both be there")
        pairs.append((source, target))
    return tuple(pairs)


airflow_version_from_2_7 = matching(r"(2\.([7-9]|\d\d)|3\.\d+)\.\d+", "a version from 2.7.0 on, like 2.11.2")


def is_file_of_zone(value: str) -> bool:
    """True if TZ names a file, as on some systems. It has no meaning in a container."""
    return value.startswith((":", "/"))


def time_zone(value: str, base: Base) -> str:
    """A name of the tz database; a file name, as some systems set it, is replaced by UTC."""
    if is_file_of_zone(value):
        return "UTC"
    name = str(matching(r"[A-Za-z0-9_+/-]+", "a time zone like America/New_York")(value, base))
    if "/" in name and not _is_known_zone(name) and _is_known_zone("Etc/UTC"):
        raise ValueError(f"'{value}' is not a time zone like America/New_York")
    return name


def _is_known_zone(name: str) -> bool:
    """True if this machine has a tz database with that name."""
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


image_name = matching(
    r"[a-z0-9][a-z0-9._/:-]*(@sha256:[0-9a-f]{64})?",
    "an image name (lower case, no blanks; a digest is @sha256: and 64 hexadecimal digits)",
)
bare_image_name = matching(
    r"[a-z0-9][a-z0-9._-]*(:\d+(?=/))?(/[a-z0-9._-]+)*",
    "an image name without a tag (the tag is the fingerprint of the build)",
)
