"""The verbs that bring an Airflow into being and end it: whatever is missing is done, in order, and no more."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from airflow_docker import bundle, console, files, folders, health, images, impact, repos, secrets
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
    strict: bool = False, requirements: Path | None = None,
) -> None:  # fmt: skip
    """Assemble BUILD_DIR and build the image, unless one of that fingerprint is here."""
    assembled = bundle.assemble(settings, refresh=refresh, upgrade=upgrade, chosen=requirements)
    manifest = assembled.manifest
    files.make_directory(settings.state_dir, "STATE_DIR")
    if no_cache or images.inspect(manifest.image) is None:
        impact.report(assembled.changes, strict)
        engine = Compose(settings, manifest.image)
        with files.locked(assembled.directory / files.LOCK, f"BUILD_DIR {assembled.directory}"):
            for name, found in manifest.repositories.items():
                console.say(f"· {name} {str(found['revision'])[:10]}{', with local changes' if found['dirty'] else ''}")
            with console.step(f"Building {manifest.image}"):
                engine.build(assembled, no_cache)
    else:
        if strict:
            impact.report(assembled.changes, strict)
        console.done(f"{manifest.image} is up to date: nothing to build")
    record = {"image": manifest.image, "airflow_version": manifest.airflow_version, "base_image": manifest.base_image}
    files.write(_record(settings), json.dumps(record).encode())


def show_image(settings: Settings, name: str = "") -> None:
    """Show what an image of ours is made of, by default the one built last."""
    shown = name or _built_image(settings)
    if shown is None:
        raise UserError("inv image", "there is no image of this project yet.", "Type: inv build")
    found = images.inspect(shown)
    if found is None:
        raise UserError(shown, "there is no such image on this machine.", "List them: docker image ls")
    labels = {k: v for k, v in (found["Config"].get("Labels") or {}).items() if k.startswith(images.LABELS)}
    if "airflow-docker.fingerprint" not in labels:
        raise UserError(shown, "this image was not built by airflow-docker.", "Name another, or none for the last one.")
    console.table(["label", "value"], [["image", shown], ["id", found["Id"]], *map(list, sorted(labels.items()))])


def _tell_news(settings: Settings, image: str) -> None:
    """Say what in the checkouts the image does not have yet."""
    labels = (images.inspect(image) or {"Config": {}})["Config"].get("Labels") or {}
    matters = {
        "ao-workflows": [settings.dag_requirements, *(name for name, _ in settings.site_config)],
        "archive-ops": ["scripts"],
    }
    for source in repos.sources(settings):
        revision = labels.get(f"airflow-docker.{source.name}.revision", "")
        changed = repos.changed_since(source, revision, matters[source.name]) if revision else []
        if changed and labels.get(f"airflow-docker.{source.name}.dirty") != "true":
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            console.warn(f"the image is older than {source.name}: {', '.join(changed[:3])}{more} changed since "
                         f"{revision[:10]}. Type: inv build up")  # fmt: skip


def up(settings: Settings, *, timeout: float, no_build: bool = False, open_page: bool = False) -> None:
    """Do whatever is missing, start the stack, wait until it is healthy, and say where it is."""
    Compose(settings).require_fit()
    missing = [source for source in repos.sources(settings) if repos.is_missing(source)]
    if missing:
        repos.pull(missing)
    write_secrets(settings)
    if _built_image(settings) is None:
        if no_build:
            raise UserError("--no-build", "there is no image of this project yet.", "Type: inv build", USAGE)
        build(settings)
    folders.prepare(settings)
    image = _built_image(settings) or ""
    _tell_news(settings, image)
    engine = Compose(settings, image)
    if _is_up(engine):
        console.done("Already up and healthy")
    else:
        _start(engine, timeout)
    _tell_where(settings, open_page)


def _start(engine: Compose, timeout: float) -> None:
    settings = engine.settings
    engine.require()
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
    """The image that was built last for this project, if it is still there and of the Airflow that is set."""
    try:
        record = json.loads(_record(settings).read_text())
    except (FileNotFoundError, ValueError):
        return None
    wanted = {"airflow_version": settings.airflow_version, "base_image": settings.airflow_base_image}
    fits = record.items() >= wanted.items() and record["image"].rpartition(":")[0] == settings.airflow_image
    return str(record["image"]) if fits and images.inspect(record["image"]) else None
