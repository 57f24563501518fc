"""The verbs secrets, up and down. `up` does what is missing, in order, and nothing else."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

from airflow_docker import console, files, project_state, secret_files
from airflow_docker.database import db_version, replacement
from airflow_docker.engines import Engine, crashes, folders, health, ports, release
from airflow_docker.errors import USAGE, UserError, collected, raise_all
from airflow_docker.locks import Lock
from airflow_docker.settings import Settings
from airflow_docker.settings.types import is_count
from airflow_docker.sources import checkouts, repos
from airflow_docker.verbs import builds, first_parse, preflight, waiting

START_SECONDS = 300.0
"""How long a start may take that is part of another verb."""
_MAX_WORKERS = 100
_BEGUN = "begun"


def write_secrets(engine: Engine) -> None:
    """Write SECRETS_DIR; print what changed, and warnings."""
    secret_files.require(engine.settings, engine.secret_owner)
    folders.claim_state(engine.settings)
    changed = secret_files.write(engine.settings, engine.secret_owner)
    names = ", ".join(file.name for file in changed)
    console.done(f"Secrets in {engine.settings.secrets_dir}: {f'wrote {names}' if changed else 'nothing new'}")
    for note in secret_files.notes(engine.settings):
        console.warn(note)


def check_secrets(engine: Engine) -> None:
    """Show the state of each secret file. Raises UserError if one is missing, stale or too readable."""
    if not secret_files.report(secret_files.check(engine.settings, engine.secret_owner)):
        raise UserError(str(engine.settings.secrets_dir), "not all secrets are in order.", "Type: inv secrets")
    for note in secret_files.notes(engine.settings):
        console.warn(note)


def up(
    engine: Engine, *, timeout: float, no_build: bool = False, open_page: bool = False, workers: str = "",
    lock: Lock | None = None,
) -> None:  # fmt: skip
    """Do what is missing, start the stack, wait until it is healthy, print its address.

    ``workers`` is the number of workers; empty: as many as run, or as the settings say.
    Other verbs may have the ``lock`` of the project while this one only waits.
    """
    settings = engine.settings
    wanted = worker_count("--workers", workers) if workers else 0
    artifact = builds.built(engine)
    was_started = artifact is not None and is_unchanged(engine.with_artifact(artifact))
    if not was_started:  # with just these settings, which have been found fit then
        preflight.check(engine, preflight.CAN_RUN)
    if wanted:
        engine.workers()
    db_version.warn_of_migration(engine)
    if artifact is None and no_build:
        raise UserError("--no-build", "nothing has been built for this project yet.", "Type: inv build", USAGE)
    require_startable(engine, will_build=artifact is None, will_start=not was_started)
    missing = [source for source in repos.sources(settings) if checkouts.is_missing(source)]
    if missing:
        repos.pull(missing)
    raise_all(folders.dag_problems(settings, engine.secret_owner.owner))
    write_secrets(engine)
    if artifact is None:  # a start looks too, but only after a build
        engine.require_bind_mounts()
    engine = engine.with_artifact(artifact or builds.build(engine))
    folders.prepare(settings, engine.secret_owner.owner)
    builds.warn_if_stale(engine)
    unchanged = is_unchanged(engine)
    problems = health.describe_problems(engine) if unchanged else ""
    if unchanged and not problems:
        console.done("Already up and healthy")
        crashes.clear(engine)
        if wanted:
            scale(engine, wanted, timeout, lock)
    else:
        if problems:
            console.say(f"· Not all is well: {problems}")
            engine.require()
        start(engine, timeout, wanted, lock)
        if lock:
            lock.release()
        first_parse.wait(engine)
    first_parse.warn(engine)
    print_access(settings, open_page)


def require_startable(engine: Engine, *, will_build: bool, will_start: bool = True) -> None:
    """Check folders, secrets and port before clones and builds take minutes. Raises UserError with all problems."""
    settings = engine.settings
    checks: list[Callable[[], None]] = [
        lambda: raise_all(folders.problems(settings, engine.secret_owner.owner)),
        lambda: secret_files.require(settings, engine.secret_owner),
    ]
    if will_build:
        checks.append(lambda: files.require_ours(settings.build_dir, "BUILD_DIR"))
    if will_start and not engine.states():  # what is left of an earlier start may hold the port, and is ended first
        checks.append(lambda: ports.require_free(settings.airflow_port, engine.port_owner))
    raise_all(collected(checks))


def worker_count(where: str, text: str) -> int:
    """The number of workers in ``text``. Raises UserError if it is not one."""
    if not is_count(text) or not 1 <= int(text) <= _MAX_WORKERS:
        raise UserError(where, f"'{text}' is not a number from 1 to {_MAX_WORKERS}.", "Say for instance 4.", USAGE)
    return int(text)


def scale(engine: Engine, workers: int, timeout: float, lock: Lock | None = None) -> None:
    """Change the number of workers, and wait until they are healthy; those that are removed drain first."""
    before = {state.container: state for state in engine.states()}
    had = engine.workers()
    finish = f"; those that go may finish their tasks, for {engine.settings.worker_stop_seconds} s"
    with console.step(f"From {had} to {workers} workers{finish if workers < had else ''}"):
        engine.scale(workers)
    with waiting.letting_go(engine, lock) as wait, engine.start_lock():
        wait(lambda: True, timeout=timeout, before=before, only=["worker"])


def start(engine: Engine, timeout: float, workers: int = 0, lock: Lock | None = None) -> None:
    """Start the artifact, and wait until it is healthy. Raises UserError if it does not become healthy."""
    if db_version.will_migrate(engine) and engine.states():  # nothing else may use the database meanwhile
        stop(engine)
    elif _stop_was_interrupted(engine):  # the engine may still be ending what seems to run
        with console.step("Finishing a stop that was interrupted"):
            engine.stop(False)
    before = {state.container: state for state in engine.states()}
    digest = digest_of(engine)
    unchanged = waiting.recorded(engine) == digest
    if not unchanged:
        mark_dirty(engine, f"{_BEGUN} {digest}")
    with waiting.letting_go(engine, lock) as wait, engine.starting(unchanged=unchanged, workers=workers) as is_done:
        console.say(f"· Starting {engine.settings.compose_project_name} …")
        digest = digest_of(engine)  # on Swarm, a push has changed it; it is that of the files before others may change
        wait(is_done, timeout=timeout, before=before)
        db_version.record(engine)
        wait.record(digest)
    record_config(engine, digest)


def mark_dirty(engine: Engine, started: str = _BEGUN) -> None:
    """Record that services may be starting or stopping, with unknown settings: the next start recreates all."""
    project_state.update(engine.settings, engine.name, started=started)


def _stop_was_interrupted(engine: Engine) -> bool:
    return waiting.recorded(engine) == project_state.STOPPING


def record_config(engine: Engine, digest: str) -> None:
    """Record that everything runs with these settings, the database too."""
    replacement.end_interrupted(engine)
    project_state.update(engine.settings, engine.name, started=digest)
    crashes.clear(engine)


def is_unchanged(engine: Engine) -> bool:
    """True if the last start had the same settings."""
    return waiting.recorded(engine) == digest_of(engine)


def digest_of(engine: Engine) -> str:
    """A digest of the configuration that a start would use now."""
    return hashlib.sha256(engine.config_digest().encode()).hexdigest()


def print_access(settings: Settings, open_page: bool = False) -> None:
    """Print the address of the web UI, the user and where the password is."""
    address = release.address(settings)
    console.say()
    console.say(f"  Airflow   {address}")
    console.say(f"  User      {settings.airflow_admin_user}")
    console.say(f"  Password  in {settings.secrets_dir / 'admin_password'}")
    if open_page:
        import webbrowser

        webbrowser.open(address)


def down(engine: Engine, *, volumes: bool = False, yes: bool = False) -> None:
    """Stop the stack; with ``volumes`` delete its database too, after confirmation or with ``yes``."""
    name = engine.settings.compose_project_name
    data = engine.data() if volumes else []
    if data and not yes:
        if not sys.stdin.isatty():
            what = "this destroys the database, and there is no terminal to ask on."
            raise UserError("inv down --volumes", what, "Say --yes if you mean it.", USAGE)
        if not console.confirm(f"Destroy the database of {name} ({', '.join(data)})?"):
            raise UserError("inv down --volumes", "not confirmed.", "Nothing was changed.")
    if not data and not engine.is_there() and not engine.start_lock().is_taken():  # a start may show nothing yet
        console.done(f"{name} is not running")
        return
    stop(engine, volumes=volumes)
    if volumes:
        db_version.clear(engine)
    if not volumes:
        console.say("  The database stays. To destroy it: inv down --volumes")


def stop(engine: Engine, *, volumes: bool = False) -> None:
    """Stop all services; with ``volumes`` delete the database too."""
    mark_dirty(engine, project_state.STOPPING)  # in case this is interrupted
    with console.step(f"Stopping {engine.settings.compose_project_name}"):
        engine.stop(volumes)
    clear_config(engine)


def clear_config(engine: Engine) -> None:
    """Record that nothing is started: the next start recreates all."""
    project_state.update(engine.settings, engine.name, started="")
