"""The verbs that bring an Airflow into being and end it: whatever is missing is done, in order, and no more."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from airflow_docker import bundle, console, files, folders, health, images, repos, secrets
from airflow_docker.engines.compose import COMPOSE_FILE, ONE_SHOT, Compose
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Settings


def pull(settings: Settings, only: str | None = None) -> None:
    """Clone or fast-forward the repositories."""
    repos.pull(repos.select(repos.sources(settings), only))


def write_secrets(settings: Settings) -> None:
    """Write SECRETS_DIR and say what changed and what is noteworthy."""
    changed = secrets.write(settings)
    words = ", ".join(file.name for file in changed)
    console.done(f"Secrets in {settings.secrets_dir}: {f'wrote {words}' if changed else 'nothing new'}")
    for note in secrets.notes(settings):
        console.warn(note)


def check_secrets(settings: Settings) -> None:
    """Show the state of each secret file. Raises UserError if one is missing, stale or too readable."""
    if not secrets.report(secrets.check(settings)):
        raise UserError(str(settings.secrets_dir), "not all secrets are in order.", "Type: inv secrets")
    for note in secrets.notes(settings):
        console.warn(note)


def build(
    settings: Settings, *, refresh: bool = False, no_cache: bool = False, upgrade: bool = False,
    requirements: Path | None = None,
) -> None:  # fmt: skip
    """Assemble BUILD_DIR and build the image, unless one of that fingerprint is here."""
    Compose(settings).require()
    assembled = bundle.assemble(settings, refresh=refresh, upgrade=upgrade, chosen=requirements)
    _tell_changes(assembled.changed)
    engine = Compose(settings, assembled.manifest.image)
    files.make_directory(settings.state_dir, "STATE_DIR")
    if no_cache or images.inspect(assembled.manifest.image) is None:
        with console.step(f"Building {assembled.manifest.image}"):
            engine.build(assembled, no_cache)
    else:
        console.done(f"{assembled.manifest.image} is up to date: nothing to build")
    files.write(_record(settings), assembled.manifest.image.encode())


def _tell_changes(changed: dict[str, tuple[str, str]]) -> None:
    for name, (old, new) in changed.items():
        console.warn(f"the install changes {name} of the base image: {old} → {new}")


def up(settings: Settings, *, timeout: float, no_build: bool = False, open_page: bool = False) -> None:
    """Do whatever is missing, start the stack, wait until it is healthy, and say where it is."""
    Compose(settings).require()
    missing = [source for source in repos.sources(settings) if repos.is_missing(source)]
    if missing:
        repos.pull(missing)
    write_secrets(settings)
    if _built_image(settings) is None:
        if no_build:
            raise UserError("--no-build", "there is no image of this project yet.", "Type: inv build", USAGE)
        build(settings)
    folders.prepare(settings)
    engine = Compose(settings, _built_image(settings) or "")
    if _is_up(engine):
        console.done("Already up and healthy")
    else:
        _start(engine, timeout)
    _tell_where(settings, open_page)


def _start(engine: Compose, timeout: float) -> None:
    settings = engine.settings
    before = {state.container: state for state in engine.states()}
    if not any(s.service == "webserver" and s.state in ("running", "restarting") for s in before.values()):
        engine.check_port()
    images.require(settings.postgres_image, "POSTGRES_IMAGE")
    log = settings.state_dir / "up.log"
    console.say(f"· Starting {settings.compose_project_name} …")
    process = engine.start(log)

    def settled() -> bool:
        code = process.poll()
        if code:
            time.sleep(health.POLL_SECONDS)
            _blame(engine, before)
            console.say(log.read_text(errors="replace").rstrip())
            raise UserError(
                "docker compose up", f"ended with exit code {code} (see above).", "Mend it and type: inv up"
            )
        return code == 0

    try:
        health.wait(engine, engine.services(), ONE_SHOT, timeout=timeout, before=before, settled=settled)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    files.write(_digest_file(settings), _digest(engine).encode())


def _blame(engine: Compose, before: dict[str, health.ServiceState]) -> None:
    """If compose gave up because of a service, let that service speak, not compose."""
    verdict = health.judge(engine.states(), engine.services(), ONE_SHOT, before)
    if verdict.failed:
        raise health.error(engine, verdict.failed, verdict.reason)


def _is_up(engine: Compose) -> bool:
    """True if all is healthy and was started from just these settings."""
    file = _digest_file(engine.settings)
    if not file.is_file() or file.read_text() != _digest(engine):
        return False
    return health.judge(engine.states(), engine.services(), ONE_SHOT, {}).all_ready


def _digest(engine: Compose) -> str:
    """A hash of all that decides how the containers look: compose.yaml, its variables and the overlay."""
    decides = [COMPOSE_FILE.read_text(), engine.environment(), engine.overlay]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _tell_where(settings: Settings, open_page: bool) -> None:
    address = f"http://localhost:{settings.airflow_port}"
    console.say()
    console.say(f"  Airflow   {address}")
    console.say(f"  User      {settings.airflow_admin_user}")
    console.say(f"  Password  in {settings.secrets_dir / 'admin_password'}")
    if open_page:
        import webbrowser

        webbrowser.open(address)


def down(settings: Settings, *, volumes: bool = False, yes: bool = False) -> None:
    """Stop the stack; with ``volumes`` its database goes too, after a question or with ``yes``."""
    engine = Compose(settings, _built_image(settings) or "")
    engine.require()
    data = engine.volumes() if volumes else []
    if data and not yes:
        if not sys.stdin.isatty():
            raise UserError(
                "inv down --volumes",
                "this destroys the database, and there is no terminal to ask on.",
                "Say --yes if you mean it.",
                USAGE,
            )
        if not console.confirm(f"Destroy the database of {settings.compose_project_name} ({', '.join(data)})?"):
            raise UserError("inv down --volumes", "not confirmed.", "Nothing was changed.")
    if not engine.states() and not data:
        console.done(f"{settings.compose_project_name} is not running")
        return
    with console.step(f"Stopping {settings.compose_project_name}"):
        engine.stop(volumes)
    _digest_file(settings).unlink(missing_ok=True)
    if not volumes:
        console.say("  The database stays. To destroy it: inv down --volumes")


def _record(settings: Settings) -> Path:
    return settings.state_dir / "image"


def _digest_file(settings: Settings) -> Path:
    return settings.state_dir / "up"


def _built_image(settings: Settings) -> str | None:
    """The image that was built last for this project, if it is still there."""
    try:
        name = _record(settings).read_text()
    except FileNotFoundError:
        return None
    return name if name.rpartition(":")[0] == settings.airflow_image and images.inspect(name) else None
