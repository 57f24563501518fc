"""The verbs that bring an Airflow into being and end it: whatever is missing is done, in order, and no more."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from airflow_docker import bundle, checkouts, console, files, folders, health, images, impact, repos, secrets
from airflow_docker.engines.compose import COMPOSE_FILE, ONE_SHOT, Compose
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Settings, names


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
) -> str:  # fmt: skip
    """Assemble BUILD_DIR and build the image, unless one of that fingerprint is here; the image's name."""
    with bundle.held(settings):
        assembled = bundle.assemble(settings, refresh=refresh, upgrade=upgrade, chosen=requirements)
        is_here = images.inspect(assembled.manifest.image) is not None
        if strict or no_cache or not is_here:
            impact.report(assembled.changes, strict)
        if is_here and not no_cache:
            console.done(f"{assembled.manifest.image} is up to date: nothing to build")
        else:
            _build_image(settings, assembled, no_cache)
    files.make_directory(settings.state_dir, "STATE_DIR")
    # Of a checkout with local changes no commit says what the image has.
    repositories = assembled.manifest.repositories.items()
    revisions = {name: found["revision"] for name, found in repositories if not found["dirty"]}
    record = {"image": assembled.manifest.image, "settings": _image_settings(settings), "revisions": revisions}
    files.write(_record(settings), json.dumps(record).encode())
    return assembled.manifest.image


def _build_image(settings: Settings, assembled: bundle.Bundle, no_cache: bool) -> None:
    for name, found in assembled.manifest.repositories.items():
        console.say(f"· {name} {str(found['revision'])[:10]}{', with local changes' if found['dirty'] else ''}")
    with console.step(f"Building {assembled.manifest.image}"):
        Compose(settings, assembled.manifest.image).build(assembled, no_cache)


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


def _tell_news(settings: Settings) -> None:
    """Say what in the checkouts has come since the last build, of what goes into the image."""
    matters = {
        "ao-workflows": [settings.dag_requirements, *(name for name, _ in settings.site_config)],
        "archive-ops": ["scripts"],
    }
    revisions = _last_build(settings).get("revisions", {})
    for source in repos.sources(settings):
        revision = revisions.get(source.name, "")
        changed = checkouts.changed_since(source, revision, matters[source.name]) if revision else []
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            what = f"{', '.join(changed[:3])}{more} changed since {revision[:10]}"
            console.warn(f"the image is older than {source.name}: {what}. Type: inv build up")


def up(settings: Settings, *, timeout: float, no_build: bool = False, open_page: bool = False) -> None:
    """Do whatever is missing, start the stack, wait until it is healthy, and say where it is."""
    Compose(settings).require_fit()
    missing = [source for source in repos.sources(settings) if checkouts.is_missing(source)]
    if missing:
        repos.pull(missing)
    write_secrets(settings)
    image = _built_image(settings)
    if image is None and no_build:
        raise UserError("--no-build", "there is no image of this project yet.", "Type: inv build", USAGE)
    image = image or build(settings)
    folders.prepare(settings)
    _tell_news(settings)
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


def _last_build(settings: Settings) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(_record(settings).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record


def _image_settings(settings: Settings) -> dict[str, str]:
    """The settings that decide what is in the image."""
    return {name: settings.shown(name) for name in names() if name in bundle.SETTINGS}


def _built_image(settings: Settings) -> str | None:
    """The image that was built last for this project, if it is still there and the settings are as they were."""
    record = _last_build(settings)
    image = str(record.get("image", ""))
    return image if image and record.get("settings") == _image_settings(settings) and images.inspect(image) else None
