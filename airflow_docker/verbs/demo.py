"""The whole job on the two sample repositories, with its own settings and folder."""

from __future__ import annotations

import os
import shutil
import socket
import time
import zipfile
from pathlib import Path

from airflow_docker import PROJECT, console, files, shell
from airflow_docker.engines import Engine, health, release
from airflow_docker.engines.choice import choose, engine_named
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Settings, default_project_name, dotenv_file, load
from airflow_docker.settings.types import Base
from airflow_docker.sources import git_command, repos
from airflow_docker.verbs import builds, preflight, project_lock, stack, waiting

DEMO_DIR = PROJECT / ".demo"
INHERITED = (
    "ENGINE",
    "STANDALONE_SKIP",
    "AIRFLOW_VERSION",
    "AIRFLOW_BASE_IMAGE",
    "POSTGRES_IMAGE",
    "REDIS_IMAGE",
    "EXECUTOR",
    "EXTRA_CA_BUNDLE",
    "AIRFLOW_UID",
    "AIRFLOW_PORT",
)
"""Settings that the demo takes from the environment of its first run; all others are its own."""
_ARRIVAL_SECONDS = 180.0
_USUAL_PORT = 8089


def settings_of_demo() -> Settings:
    """The demo's settings, from .demo/.env alone."""
    return load(
        DEMO_DIR / ".env", {name: os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if name in os.environ}
    )


def run(timeout: float) -> None:
    """Pull, build and start the samples, drop a work into the incoming folder, wait until it is in the archive."""
    files.claim(DEMO_DIR, "demo")
    for name in ("ao-workflows", "archive-ops"):
        _make_repository(PROJECT / "examples" / name, DEMO_DIR / "repositories" / name)
    settings = _chosen()
    repos.pull(repos.sources(settings))
    engine = choose(settings)
    with project_lock.held(settings) as lock:
        waiting.await_start(engine, lock)
        preflight.check(engine, [*preflight.START, *preflight.CAN_RUN])
        builds.build(engine)
        stack.up(engine, timeout=timeout, lock=lock)
    console.say()
    work = _next_work(settings)
    _show_path(settings, drop_work(engine, work), wait_for_arrival(engine, work))
    console.say(f"  Look around at {release.address(settings)}; to remove all of it: inv demo --down")


def _chosen() -> Settings:
    """The settings of this run, written for those that follow. Raises UserError, with nothing written, for bad ones."""
    file = DEMO_DIR / ".env"
    before = file.read_bytes() if file.is_file() else None
    files.write(file, _env_text().encode())
    try:
        settings = settings_of_demo()
        if settings.engine == "swarm":
            raise UserError("ENGINE", "the demo is for one host.", "Leave it unset, or ENGINE=compose.", USAGE)
    except UserError:
        file.unlink() if before is None else files.write(file, before)
        raise
    return settings


def remove() -> None:
    """Remove the demo: its services, its database, what was built, and its files."""
    if not DEMO_DIR.exists():
        console.done("There is no demo")
        return
    if (DEMO_DIR / ".env").exists():
        settings = settings_of_demo()
        with project_lock.held(settings):
            candidates = (engine_named(settings, name) for name in ("compose", "standalone"))
            for engine in [engine for engine in candidates if builds.has_ever_built(engine)]:
                engine.require()
                stack.down(engine, volumes=True, yes=True)
                engine.builder.remove_artifacts()
    files.purge(DEMO_DIR, "demo")
    console.done("Removed the demo: what ran, its database, what was built, files")


def _make_repository(sample: Path, target: Path) -> None:
    """A git repository of the sample as it is now; a changed sample becomes a new commit."""
    target.mkdir(parents=True, exist_ok=True)
    git = git_command.command(target, "-c", "user.name=demo", "-c", "user.email=demo@localhost")
    if not (target / ".git").exists():
        _git([*git, "init", "--quiet", "--initial-branch=main"])
    shutil.copytree(sample, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    _git([*git, "add", "--all"])
    if shell.capture([*git, "diff", "--cached", "--quiet"]).returncode:
        _git([*git, "commit", "--quiet", "--no-gpg-sign", "--message", "The sample as it is shipped"])


def _git(args: list[str]) -> None:
    result = shell.capture(args)
    if result.returncode:
        raise UserError(
            "demo", f"git could not make a sample repository ({result.stderr.strip()}).", "Check that git works here."
        )


def _port() -> int:
    """The usual port, or if it is taken any free one: the demo says which."""
    for port in (_USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("demo", "there is no free port on 127.0.0.1.", "Set AIRFLOW_PORT.")


def _env_text() -> str:
    earlier, _ = dotenv_file.read(DEMO_DIR / ".env")
    inherited = {name: os.environ.get(name) or earlier.get(name, "") for name in INHERITED}
    inherited["AIRFLOW_PORT"] = inherited["AIRFLOW_PORT"] or str(_port())
    lines = "".join(f"{name}={value}\n" for name, value in inherited.items() if value)
    image = default_project_name(Base(DEMO_DIR / ".env", {}))
    return f"""\
# Written by `inv demo`. Your own two repositories need no more settings than these.
AO_WORKFLOWS_URL=repositories/ao-workflows
ARCHIVE_OPS_URL=repositories/archive-ops
WORKFLOW_DEV_DIR=sources/ao-workflows
AO_DEV_DIR=sources/archive-ops
BUILD_DIR=build
AIRFLOW_IMAGE={image}
{lines}\
SECRET_DB_APPS__mysql__mySqlCnfPath=/run/secrets/drs_cnf
SECRET_DB_APPS__qa__server=qa
SECRET_DRS_CNF__qa__user=demo
SECRET_DRS_CNF__qa__password=not-a-real-password
SECRET_AWS__default__aws_access_key_id=not-a-real-key
SECRET_AWS__default__aws_secret_access_key=not-a-real-secret
SECRET_AWS__default__region_name=us-east-1
"""


def _next_work(settings: Settings) -> str:
    """A name that is not in the archive yet, so that each run shows a work of its own."""
    number = 1
    while (settings.arch_root / "Archive" / f"W0DEMO{number:02}").exists():
        number += 1
    return f"W0DEMO{number:02}"


def drop_work(engine: Engine, name: str) -> Path:
    """Zip a small work and move it, whole, into the incoming folder; the path of the zip."""
    incoming = engine.settings.arch_root / "sync-transfer"
    owner = engine.secret_owner.owner
    files.make_directory(incoming, "ARCH_ROOT", owner)
    zipped = incoming / f"{name}.zip"
    partial = zipped.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(f"{name}/dips.txt", f"{name}\n")
        for page in range(1, 4):
            archive.writestr(f"{name}/images/{name}-I1/I1{page:04}.txt", f"page {page} of {name}\n")
    if owner is not None and os.geteuid() == 0:
        os.chown(partial, owner, -1)
    partial.rename(zipped)
    return zipped


def wait_for_arrival(engine: Engine, name: str) -> Path:
    """The work's folder in the archive, once the DAG has recorded it. Raises UserError if that does not happen."""
    arrived = engine.settings.arch_root / "Archive" / name / "manifest-xxh64.txt"
    record = engine.settings.app_log_dir / "synced.jsonl"
    with console.step(f"Waiting until {name} has gone through the DAG and the script into the archive"):
        end = time.monotonic() + _ARRIVAL_SECONDS
        while not (arrived.is_file() and record.is_file() and name in record.read_text()):
            if time.monotonic() > end:
                running = [s for s in engine.states() if s.service == engine.task_service]
                if running:
                    raise health.error(engine, running[0], "has not run the sample DAG in time")
                raise UserError("demo", f"the {engine.task_service} is gone.", "Type: inv demo")
            time.sleep(health.POLL_SECONDS)
    return arrived.parent


def _show_path(settings: Settings, zipped: Path, archived: Path) -> None:
    shown = [
        f"host       {zipped}",
        "DAG        sample_sync: wait_for_zip → unpack → sync → record",
        "script     syncOneWork.sh, from the archive-ops repository",
        f"archive    {archived}",
        *(f"           {file.relative_to(archived)}" for file in sorted(archived.rglob("*")) if file.is_file()),
        f"record     {(settings.app_log_dir / 'synced.jsonl').read_text().splitlines()[-1]}",
    ]
    console.say("The work took this path:\n" + "\n".join(f"  {line}" for line in shown) + "\n")
