"""The verbs of airflow-docker. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import Task, task

from airflow_docker.errors import USAGE, UserError, guarded

if TYPE_CHECKING:
    from airflow_docker.engines import Engine
    from airflow_docker.settings import Settings

HELP_TIMEOUT = "seconds to wait until all is healthy"
DEFAULT_TIMEOUT = "300"


def verb(**options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """A task whose failures are sentences."""
    return lambda body: task(**options)(guarded(body))


def seconds(text: str) -> float:
    """The value of --timeout."""
    if not text.isdecimal() or int(text) == 0:
        raise UserError("--timeout", f"'{text}' is not a whole number of seconds.", "Say for instance 600.", USAGE)
    return float(text)


def engine_for(c: Context, **flags: str | None) -> Engine:
    """The engine that the settings name."""
    from airflow_docker.engines import choose

    return choose(settings_for(c, **flags))


def settings_for(c: Context, **flags: str | None) -> Settings:
    """The settings, with the verb's flags on top."""
    from airflow_docker.settings import load

    if c.config.run.dry:
        raise UserError("--dry", "no verb has a dry run.", "To see what is set and from where: inv config", USAGE)
    return load(flags=flags)


@verb(help={"only": "one repository: ao-workflows or archive-ops"})
def pull(c: Context, only: str = "") -> None:
    """Clone or fast-forward both source repositories."""
    from airflow_docker import stack

    stack.pull(settings_for(c), only)


@verb(help={"check": "write nothing; say what is missing, stale or too readable (exit code 1)"})
def secrets(c: Context, check: bool = False) -> None:
    """Write the secret files from the environment and .env."""
    from airflow_docker import stack

    (stack.check_secrets if check else stack.write_secrets)(engine_for(c))


@verb(
    help={
        "refresh": "purge what was built and start over",
        "requirements": "file of DAG requirements (default: DAG_REQUIREMENTS)",
        "build-dir": "folder to assemble the image in (default: BUILD_DIR)",
        "no-cache": "build every layer anew",
        "upgrade": "take the newest versions the requirements allow",
        "strict": "fail if the install would change what the base image has",
    }
)
def build(
    c: Context, refresh: bool = False, requirements: str = "", build_dir: str = "", no_cache: bool = False,
    upgrade: bool = False, strict: bool = False,
) -> None:  # fmt: skip
    """Assemble the build folder, resolve the requirements, build the image."""
    from airflow_docker import builds
    from airflow_docker.settings import flag_path

    engine = engine_for(c, BUILD_DIR=str(flag_path("--build-dir", build_dir) or ""))
    chosen = flag_path("--requirements", requirements)
    builds.build(engine, refresh=refresh, no_cache=no_cache, upgrade=upgrade, strict=strict, requirements=chosen)


@verb(help={"name": "any image of ours (default: the one built last)"})
def image(c: Context, name: str = "") -> None:
    """Show what an image is made of: commits, lock, base image."""
    from airflow_docker import builds

    builds.show(engine_for(c), name)


@verb(
    default=True,
    help={
        "timeout": HELP_TIMEOUT,
        "open": "open the web page when all is healthy",
        "no-build": "fail if there is no image yet, instead of building it",
    },
)
def up(c: Context, timeout: str = DEFAULT_TIMEOUT, open: bool = False, no_build: bool = False) -> None:
    """Do whatever is missing, start, and wait until all is healthy."""
    from airflow_docker import stack

    stack.up(engine_for(c), timeout=seconds(timeout), no_build=no_build, open_page=open)


@verb(help={"volumes": "destroy the database too", "yes": "do not ask"})
def down(c: Context, volumes: bool = False, yes: bool = False) -> None:
    """Stop. The data stays unless told otherwise."""
    from airflow_docker import stack

    stack.down(engine_for(c), volumes=volumes, yes=yes)


@verb(help={"file": "where to (default: a new file in STATE_DIR/backups)", "encrypt": "with a passphrase"})
def backup(c: Context, file: str = "", encrypt: bool = False) -> None:
    """Write database, keys and settings into one file; all goes on running."""
    from airflow_docker import backup as copy
    from airflow_docker.settings import flag_path

    copy.create(engine_for(c), flag_path("--file", file), encrypt=encrypt)


@verb(help={"file": "what inv backup wrote", "yes": "stop what runs, and replace what there is"})
def restore(c: Context, file: str, yes: bool = False) -> None:
    """Bring back the database and the keys of a backup."""
    from airflow_docker import backup as copy
    from airflow_docker.settings import flag_path

    copy.restore(engine_for(c), flag_path("--file", file), yes=yes)


@verb(help={"json": "as JSON, on standard output"})
def status(c: Context, json: bool = False) -> None:
    """Say what runs and how it is (exit code 0: healthy, 3: not running, 1: not well)."""
    from airflow_docker import status as look

    look.report(engine_for(c), as_json=json)


@verb(help={"json": "as JSON"})
def config(c: Context, json: bool = False) -> None:
    """Show every setting with its value and where it comes from."""
    from airflow_docker import report

    report.settings(settings_for(c), as_json=json)


@verb(help={"down": "remove all of the demo", "timeout": HELP_TIMEOUT})
def demo(c: Context, down: bool = False, timeout: str = DEFAULT_TIMEOUT) -> None:
    """See it work: the whole job on two sample repositories."""
    from airflow_docker import demo as sample

    sample.remove() if down else sample.run(seconds(timeout))


@verb(help={"only": "a folder or file under tests/", "k": "run the tests whose name matches"})
def test(c: Context, only: str = "", k: str = "") -> None:
    """Run the tests."""
    from airflow_docker import development

    development.test(only, k)


@verb(help={"only": "measure what has this word in its name", "json": "as JSON"})
def bench(c: Context, only: str = "", json: bool = False) -> None:
    """Measure ratios against doing it by hand and the old way."""
    from airflow_docker import development

    development.bench(only, json)


@verb()
def lint(c: Context) -> None:
    """Check style and types."""
    from airflow_docker import development

    development.lint()


namespace = Collection(pull, secrets, build, image, up, down, backup, restore, status, config, demo, test, bench, lint)
