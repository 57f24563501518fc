"""The files of SECRETS_DIR: application secrets from the settings, infrastructure keys generated once."""

from __future__ import annotations

import base64
import configparser
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import console, files, locks
from airflow_docker.errors import UserError, raise_all
from airflow_docker.settings import Settings
from airflow_docker.settings.types import Base, Secret, path

FILE_NAMES = {"DB_APPS": "db_apps.config", "DRS_CNF": "drs.config", "AWS": "aws-credentials"}
"""Application secret -> file in SECRETS_DIR. In the container: /run/secrets/db_apps, drs_cnf, aws."""

DRS_CNF_IN_CONTAINER = "/run/secrets/drs_cnf"
_CNF_LINE = re.compile(rf"^(\s*mySqlCnfPath\s*=\s*){re.escape(DRS_CNF_IN_CONTAINER)}\s*?$", re.M)
MODE, DIRECTORY_MODE = 0o400, 0o700
_LARGEST = 1 << 20  # bytes; an ini file of credentials has a few hundred


def _token() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


GENERATED: dict[str, Callable[[], str]] = {
    "admin_password": lambda: secrets.token_urlsafe(15),
    "fernet_key": _fernet_key,
    "webserver_secret_key": _token,
    "postgres_password": _token,
    "jwt_secret": lambda: secrets.token_urlsafe(64),
    "redis_password": _token,
}
"""Infrastructure key -> its generator. A Fernet key is 32 bytes in URL-safe base64 (the Fernet specification);
a key for JWT with HS512 has at least 64 bytes (RFC 7518)."""

OF_DATABASE = ("admin_password", "fernet_key", "webserver_secret_key", "postgres_password")
"""Keys that belong to a database, which is of little use without them. The others can be generated again."""

DERIVED = ("sql_alchemy_conn", "broker_url", "redis.conf")
"""Files derived from the keys."""


@dataclass(frozen=True)
class SecretOwner:
    """Who reads the files: its uid (None: the user who starts it), and the path of the option file for it."""

    owner: int | None
    drs_cnf: str


@dataclass(frozen=True)
class State:
    """A file of SECRETS_DIR: ``problem`` is what is wrong with it, ``note`` what the user should know.

    ``exposed`` is true if other users may read it.
    """

    file: Path
    problem: str = ""
    note: str = ""
    exposed: bool = False


def require(settings: Settings, secret_owner: SecretOwner) -> None:
    """Raise UserError for everything that :func:`write` would refuse. Changes nothing."""
    application(settings, secret_owner)
    owner_for(secret_owner)
    directory = settings.secrets_dir
    if os.path.lexists(directory):
        require_directory(directory)
        saved_keys(settings, GENERATED)
    files.require_makeable(directory, "SECRETS_DIR")


def write(settings: Settings, secret_owner: SecretOwner) -> list[Path]:
    """Write SECRETS_DIR as the settings say. Returns the files that changed.

    Files belong to ``secret_owner`` and have mode 0400, in a directory of mode 0700. Raises UserError
    for everything that is missing or malformed, before anything is written.
    """
    wanted = application(settings, secret_owner)
    owner = owner_for(secret_owner)
    directory = _directory(settings)
    changed = []
    with locks.locked(directory / locks.NAME, "SECRETS_DIR"):
        keys = {name: _saved(directory / name) or make() for name, make in GENERATED.items()}
        for name, content in (wanted | keys | derived(keys)).items():
            if files.write(directory / name, content.encode(), MODE, owner):
                changed.append(directory / name)
    return changed


def saved_keys(settings: Settings, names: Iterable[str] = OF_DATABASE) -> dict[str, str]:
    """The infrastructure keys that exist, by name."""
    saved = {name: _saved(settings.secrets_dir / name) for name in names}
    return {name: content for name, content in saved.items() if content}


def put(settings: Settings, secret_owner: SecretOwner, keys: Mapping[str, str]) -> None:
    """Write these infrastructure keys, with owner and mode as in :func:`write`; remove other keys of a database."""
    owner = owner_for(secret_owner)
    directory = _directory(settings)
    contents = {**keys, **derived(keys)}
    with locks.locked(directory / locks.NAME, "SECRETS_DIR"):
        for name in (*GENERATED, *DERIVED):
            if name in contents:
                files.write(directory / name, contents[name].encode(), MODE, owner)
            elif name in (*OF_DATABASE, "sql_alchemy_conn"):
                (directory / name).unlink(missing_ok=True)


def check(settings: Settings, secret_owner: SecretOwner) -> list[State]:
    """The State of each file. Writes nothing; raises UserError for bad settings."""
    directory = settings.secrets_dir
    wanted = application(settings, secret_owner)
    states = [_state(directory / name, content, secret_owner) for name, content in wanted.items()]
    states += [_state(directory / name, None, secret_owner) for name in GENERATED]
    derived_files = derived(saved_keys(settings, GENERATED))
    states += [_state(directory / name, derived_files.get(name), secret_owner) for name in DERIVED]
    if directory.is_dir() and directory.stat().st_mode & 0o077:
        problem = f"others may enter it (mode {directory.stat().st_mode & 0o777:04o})"
        states.insert(0, State(directory, problem, exposed=True))
    return states


def files_of(settings: Settings) -> list[Path]:
    """Every file that we write to SECRETS_DIR."""
    return [settings.secrets_dir / name for name in [*FILE_NAMES.values(), *GENERATED, *DERIVED]]


def derived(keys: Mapping[str, str]) -> dict[str, str]:
    """File name -> content of the files derived from these keys. Generated passwords need no URL quoting."""
    contents = {}
    if password := keys.get("postgres_password"):
        contents["sql_alchemy_conn"] = f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"
    if password := keys.get("redis_password"):
        contents["broker_url"] = f"redis://:{password}@redis:6379/0"
        contents["redis.conf"] = f"requirepass {password}\n"
    return contents


def application(settings: Settings, secret_owner: SecretOwner) -> dict[str, str]:
    """File name -> content of the application secrets, for this owner.

    Raises UserError naming each missing section or file.
    """
    contents, errors = {}, []
    for name, file_name in FILE_NAMES.items():
        try:
            contents[file_name] = _content(name, settings)
        except UserError as error:
            errors.append(error)
    raise_all(errors)
    # The settings name the option file by its path in the containers; the owner may see it elsewhere.
    name = FILE_NAMES["DB_APPS"]
    contents[name] = _CNF_LINE.sub(lambda match: match[1] + secret_owner.drs_cnf, contents[name])
    return contents


def notes(settings: Settings) -> Iterator[str]:
    """Warnings about settings that are allowed."""
    for name in FILE_NAMES:
        if not any(variable.startswith(f"SECRET_{name}_") for variable in settings.secret_inputs):
            yield f"{name.lower()} is not set, so tasks get an empty file (SECRET_{name}_FILE or SECRET_{name}__…)."
    text = _content("DB_APPS", settings)
    parsed = _parse(text, "DB_APPS")
    path = parsed.get("mysql", "mySqlCnfPath", fallback=None)
    if text and path != DRS_CNF_IN_CONTAINER:
        what = f"is {path}, a path the containers do not have" if path else "is missing"
        yield f"db_apps: [mysql] mySqlCnfPath {what}; set SECRET_DB_APPS__mysql__mySqlCnfPath={DRS_CNF_IN_CONTAINER}"


def _content(name: str, settings: Settings) -> str:
    """The file or its chosen sections, with single keys set over it."""
    prefix = f"SECRET_{name}_"
    inputs = {k.removeprefix(prefix): v for k, v in settings.secret_inputs.items() if k.startswith(prefix)}
    keys = {k[1:]: v for k, v in inputs.items() if k.startswith("_")}
    text = _read(inputs["FILE"], f"{prefix}FILE", settings) if "FILE" in inputs else ""
    if "SECTIONS" in inputs and "FILE" not in inputs:
        raise UserError(f"{prefix}SECTIONS", f"there is no {prefix}FILE to take them from.", "Set both.")
    parsed = _parse(text, f"{prefix}FILE")
    if "SECTIONS" not in inputs and not keys:
        return text
    if "SECTIONS" in inputs:
        _keep_sections(parsed, inputs["SECTIONS"].reveal(), f"{prefix}SECTIONS")
    for option, value in keys.items():
        section, _, key = option.partition("__")
        if not parsed.has_section(section):
            parsed.add_section(section)
        parsed.set(section, key, value.reveal())
    output = io.StringIO()
    parsed.write(output)
    return output.getvalue()


def _keep_sections(parsed: configparser.RawConfigParser, chosen: str, where: str) -> None:
    wanted = [section.strip() for section in chosen.split(",") if section.strip()]
    missing = [section for section in wanted if not parsed.has_section(section)]
    if missing:
        has = ", ".join(parsed.sections()) or "none at all"
        raise UserError(where, f"there is no section [{missing[0]}] in the file (it has {has}).", "Correct the name.")
    for section in set(parsed.sections()) - set(wanted):
        parsed.remove_section(section)


def _read(value: Secret, where: str, settings: Settings) -> str:
    try:
        file = path(value.reveal(), Base(settings.env_file, {}))
    except ValueError as problem:
        raise UserError(where, f"{problem}.", "Correct the path.") from None
    try:
        if not file.is_file():
            what = f"{file} is not a file." if file.exists() else f"there is no file {file}."
            raise UserError(where, what, "Correct the path.")
        if file.stat().st_size > _LARGEST:
            raise UserError(where, f"{file} is larger than 1 MiB.", "Name a file of credentials.")
        return file.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise UserError(where, f"{file} cannot be read ({problem.strerror}).", "Make it readable for you.") from None
    except UnicodeDecodeError:
        raise UserError(where, f"{file} is not text.", "Name an ini file of credentials.") from None


def _parse(text: str, where: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(allow_no_value=True, delimiters=("=",), strict=False, default_section="\0")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        # MySQL option files may hold "!include" lines, which are not keys of a section.
        parser.read_string("\n".join(line for line in text.splitlines() if not line.startswith("!")))
    except (configparser.Error, ValueError) as problem:
        line = getattr(problem, "lineno", None) or (getattr(problem, "errors", None) or [("?",)])[0][0]
        raise UserError(where, f"line {line} of the file is not valid ini.", "Fix it; values are not shown.") from None
    return parser


def _directory(settings: Settings) -> Path:
    directory = settings.secrets_dir
    if not os.path.lexists(directory):
        files.make_directory(directory.parent, "SECRETS_DIR")
        directory.mkdir(mode=DIRECTORY_MODE)
    require_directory(directory)
    return directory


def require_directory(directory: Path) -> None:
    """Raise UserError unless it is a folder that no other user may enter."""
    if not directory.is_dir():
        raise UserError("SECRETS_DIR", f"{directory} is not a folder.", "Name another, or move that file away.")
    if directory.stat().st_mode & 0o077:
        mode = f"{directory.stat().st_mode & 0o777:04o}"
        raise UserError("SECRETS_DIR", f"others may enter {directory} (mode {mode}).", f"Type: chmod 700 {directory}")


def owner_for(secret_owner: SecretOwner) -> int | None:
    """The uid that must own the files, so that only their reader can read them.

    Raises UserError if we cannot give files to it.
    """
    if secret_owner.owner is not None and os.geteuid() not in (0, secret_owner.owner):
        what = f"the containers would run as uid {secret_owner.owner}, and yours is {os.geteuid()}:"
        what += " only root can give files to another user."
        raise UserError("AIRFLOW_UID", what, "Leave it unset, or run as that user or as root.")
    return secret_owner.owner


def _saved(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except OSError as problem:
        raise UserError(str(file), f"cannot be read ({problem.strerror}).", "Run as the user who created it.") from None
    except UnicodeDecodeError:
        raise UserError(str(file), "is not text, so it is not what was written.", "Move it away.") from None


def _state(file: Path, wanted: str | None, secret_owner: SecretOwner) -> State:
    try:
        status = file.stat()
    except FileNotFoundError:
        return State(file, "missing")
    if not stat.S_ISREG(status.st_mode):
        return State(file, "is not a file")
    if status.st_mode & 0o077:
        return State(file, f"others may read it (mode {status.st_mode & 0o777:04o})", exposed=True)
    if secret_owner.owner is not None and status.st_uid != secret_owner.owner:
        return State(file, f"belongs to uid {status.st_uid}, but its reader runs as {secret_owner.owner}")
    if (content := _saved(file)) != wanted and (wanted is not None or not content):
        return State(file, "stale: the settings have changed" if content or wanted else "empty")
    return State(file, note="" if content else "not set")


def report(states: list[State]) -> bool:
    """Print the states; True if there is no problem."""
    console.table(["secret", "state"], [[s.file.name, s.problem or s.note or "ok"] for s in states])
    return not any(s.problem for s in states)
