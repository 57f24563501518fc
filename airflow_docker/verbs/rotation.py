"""`inv secrets --rotate`: replace an infrastructure key, and restart what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow_docker import console, secret_files
from airflow_docker.database import replacement
from airflow_docker.engines import Engine, release
from airflow_docker.errors import USAGE, UserError
from airflow_docker.verbs import operate, stack

Keys = Mapping[str, str]


def rotate(engine: Engine, name: str) -> None:
    """Generate the key ``name`` (see :data:`secret_files.GENERATED`) again, and restart what reads it, if it runs.

    Raises UserError if that fails; the old key stays valid.
    """
    if name not in secret_files.GENERATED:
        known = ", ".join(secret_files.GENERATED)
        raise UserError("--rotate", f"there is no key '{name}'.", f"There are: {known}.", USAGE)
    old = secret_files.saved_keys(engine.settings, secret_files.GENERATED)
    if name not in old:
        raise UserError("--rotate", f"there is no {name} yet.", "Type: inv secrets")
    new = {**old, **{key_name: secret_files.GENERATED[key_name]() for key_name in _with_new_key(engine, name)}}
    if engine.database.exists():
        _change(operate.ready(engine), name, old, new)
    else:
        secret_files.put(engine.settings, engine.secret_owner, new)
    for key_name in _with_new_key(engine, name):
        console.done(f"{key_name} is a new one")
    for consequence in _CONSEQUENCES.get(name, ()):
        console.say(f"  {consequence}")


def _with_new_key(engine: Engine, name: str) -> list[str]:
    """The key, and the one that signs logins if everybody has to log in again."""
    signs = release.of(engine.settings).signs_logins
    return [name, signs] if signs and _LOG_IN in _CONSEQUENCES.get(name, ()) else [name]


def _change(engine: Engine, name: str, old: Keys, new: Keys) -> None:
    """Stop what reads the key while it is changed. Only a login reads the admin's password, so that stops nothing.

    An engine may replace some keys by a rolling start, which stops nothing either.
    """
    keys, is_running, unchanged = _with_new_key(engine, name), bool(engine.states()), stack.is_unchanged(engine)
    is_renewed = set(keys) <= set(engine.renewed_while_running)
    is_stopped = is_running and not is_renewed and keys != ["admin_password"]
    if is_stopped:
        with console.step(f"Stopping {engine.settings.compose_project_name}"):
            stack.mark_dirty(engine)  # in case this is interrupted
            engine.stop(False)
    try:
        with console.step(f"Changing the {name}"), engine.database.running_server():
            _CHANGES[name](engine, old, new)
    except Exception:
        if is_stopped:
            stack.start(engine, stack.START_SECONDS)
        raise
    if is_stopped or (is_running and is_renewed):
        stack.start(engine, stack.START_SECONDS)
    elif unchanged:  # what runs has taken it in, and the next inv up need not
        stack.record_config(engine, stack.digest_of(engine))


def _fernet_key(engine: Engine, old: Keys, new: Keys) -> None:
    """Keep both keys until everything is encrypted with the new one, so a kill at any moment loses nothing."""
    both = {**new, "fernet_key": f"{new['fernet_key']},{old['fernet_key']}"}
    secret_files.put(engine.settings, engine.secret_owner, both)
    replacement.apply_now(engine, "fernet_key", "Both keys stay valid. Fix that and type the same again.")
    secret_files.put(engine.settings, engine.secret_owner, new)


def _secret_key(engine: Engine, old: Keys, new: Keys) -> None:
    secret_files.put(engine.settings, engine.secret_owner, new)


_CHANGES: dict[str, Callable[[Engine, Keys, Keys], None]] = {
    "admin_password": replacement.change_admin_password,
    "fernet_key": _fernet_key,
    "webserver_secret_key": _secret_key,
    "postgres_password": replacement.change_password,
    "jwt_secret": _secret_key,
    "redis_password": _secret_key,
}
_LOG_IN = "Everybody has to log in again."
_CONSEQUENCES = {
    "admin_password": [_LOG_IN],
    "webserver_secret_key": [_LOG_IN],
    "fernet_key": ["A backup made before brings its own key back with it."],
}
