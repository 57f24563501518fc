"""The verbs of airflow-docker. `inv --list` shows them, `inv --help VERB` explains one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import Task, task

from airflow_docker.errors import USAGE, UserError, guarded

if TYPE_CHECKING:
    from airflow_docker.engines import Engine
    from airflow_docker.settings import Settings

HELP_TIMEOUT = "seconds to wait until all services are healthy"
DEFAULT_TIMEOUT = "300"
UPGRADE_TIMEOUT = "1800"
"""Migrating a large database takes long."""


def verb(group: str, default_flag: str = "", **options: Any) -> Callable[[Callable[..., None]], Task[Any]]:
    """An Invoke task that reports each error as a sentence; ``default_flag`` takes the arguments behind the verb."""

    def make(body: Callable[..., None]) -> Task[Any]:
        verb_task: Any = task(**options)(guarded(scrubbed(body)))
        verb_task.group, verb_task.default_flag = group, default_flag
        return cast(Task[Any], verb_task)

    return make


def scrubbed(body: Callable[..., None]) -> Callable[..., None]:
    """``body``, after removing secrets and the variables that name the repository of a git hook."""

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> None:
        from airflow_docker import scrubbed_env
        from airflow_docker.sources import remotes

        scrubbed_env.scrub()
        remotes.leave_surrounding_repository()
        body(*args, **kwargs)

    return run


def seconds(text: str) -> float:
    """The value of --timeout."""
    from airflow_docker.settings.types import is_count

    if not is_count(text) or int(text) == 0:
        raise UserError("--timeout", f"'{text}' is not a whole number of seconds.", "Say for instance 600.", USAGE)
    return float(text)


def engine_for(c: Context, notify: bool = False, **flags: str | None) -> Engine:
    """The engine that the settings name; with ``notify``, say which one it is, and why."""
    from airflow_docker.engines.choice import choose

    return choose(settings_for(c, **flags), notify=notify)


def settings_for(c: Context, **flags: str | None) -> Settings:
    """The settings, with the verb's flags on top."""
    from airflow_docker.settings import load

    refuse_dry_run(c)
    return load(flags=flags)


def refuse_dry_run(c: Context) -> None:
    if c.config.run.dry:
        raise UserError("--dry", "no verb has a dry run.", "To see what is set and from where: inv config", USAGE)


@verb("Build", help={"only": "one repository: ao-workflows or archive-ops"})
def pull(c: Context, only: str = "") -> None:
    """Clone or fast-forward both source repositories."""
    from airflow_docker.sources import repos

    repos.pull(repos.select(repos.sources(settings_for(c)), only))


@verb(
    "Build",
    help={
        "check": "write nothing; report missing, stale or too readable files (exit code 1)",
        "rotate": "generate this infrastructure key again, and restart what reads it",
    },
)
def secrets(c: Context, check: bool = False, rotate: str = "") -> None:
    """Write the secret files from the environment and .env."""
    from airflow_docker.verbs import rotation, stack

    if rotate and check:
        raise UserError("--check", "changes nothing, and --rotate does.", "Use one of them.", USAGE)
    engine = engine_for(c)
    if rotate:
        rotation.rotate(engine, rotate)
    else:
        (stack.check_secrets if check else stack.write_secrets)(engine)


@verb(
    "Build",
    help={
        "refresh": "remove the build context and start over",
        "requirements": "requirements file of the DAGs (default: DAG_REQUIREMENTS)",
        "build-dir": "folder of the build context (default: BUILD_DIR)",
        "no-cache": "build every layer again",
        "upgrade": "take the newest versions the requirements allow",
        "strict": "fail if the install would change packages of the base image",
    },
)
def build(
    c: Context, refresh: bool = False, requirements: str = "", build_dir: str = "", no_cache: bool = False,
    upgrade: bool = False, strict: bool = False,
) -> None:  # fmt: skip
    """Resolve the requirements, assemble the build context, build the image."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import builds

    engine = engine_for(c, notify=True, BUILD_DIR=str(flag_path("--build-dir", build_dir) or ""))
    chosen = flag_path("--requirements", requirements)
    builds.build(engine, refresh=refresh, no_cache=no_cache, upgrade=upgrade, strict=strict, chosen=chosen)


@verb("Build", help={"name": "an image that was built here (default: the last one)"})
def image(c: Context, name: str = "") -> None:
    """Show what an image was built from: commits, lock file, base image."""
    from airflow_docker.verbs import builds

    builds.show(engine_for(c), name)


@verb("Build", default_flag="file", help={"file": "file to write (default: standard output)"})
def sbom(c: Context, file: str = "") -> None:
    """Write a bill of materials (SBOM) of the last build, as CycloneDX JSON."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import sbom as sbom_verb

    sbom_verb.write(engine_for(c), flag_path("--file", file))


@verb(
    "Build",
    default_flag="file",
    iterable=["claim"],
    help={
        "file": "file to write (default: standard output)",
        "claim": "SETTING=CLAIM: an existing PersistentVolumeClaim for this folder; repeatable",
    },
)
def helm(c: Context, claim: list[str], file: str = "") -> None:
    """Write values for the official Helm chart, to run the last build on Kubernetes."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import helm as helm_verb

    helm_verb.write(engine_for(c), flag_path("--file", file), claim)


@verb(
    "Run",
    default=True,
    help={
        "timeout": HELP_TIMEOUT,
        "open": "open the web UI in a browser when all services are healthy",
        "no-build": "fail if there is no image yet, instead of building it",
        "workers": "number of workers, with CeleryExecutor (default: WORKERS)",
    },
)
def up(
    c: Context, timeout: str = DEFAULT_TIMEOUT, open: bool = False, no_build: bool = False, workers: str = ""
) -> None:
    """Do whatever is missing, start, wait until all services are healthy."""
    from airflow_docker.verbs import stack

    engine = engine_for(c, notify=True)
    stack.up(engine, timeout=seconds(timeout), no_build=no_build, open_page=open, workers=workers)


@verb("Run", help={"volumes": "destroy the database too", "yes": "do not ask"})
def down(c: Context, volumes: bool = False, yes: bool = False) -> None:
    """Stop the services. Data stays unless you add --volumes."""
    from airflow_docker.verbs import stack

    stack.down(engine_for(c, notify=True), volumes=volumes, yes=yes)


@verb(
    "Operate",
    default_flag="file",
    help={"file": "file to write (default: a new one in STATE_DIR/backups)", "encrypt": "encrypt with a passphrase"},
)
def backup(c: Context, file: str = "", encrypt: bool = False) -> None:
    """Write database, keys and settings into one file; services keep running."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import backup as backup_verb

    backup_verb.create(engine_for(c), flag_path("--file", file), encrypt=encrypt)


@verb(
    "Operate",
    default_flag="file",
    help={"file": "a file that inv backup wrote", "yes": "stop the stack, and replace its database and keys"},
)
def restore(c: Context, file: str, yes: bool = False) -> None:
    """Restore the database and the keys from a backup."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import backup as backup_verb

    backup_verb.restore(engine_for(c), flag_path("--file", file), yes=yes)


@verb("Run", help={"json": "as JSON, on standard output", "all": "all projects on this machine"})
def status(c: Context, json: bool = False, all: bool = False) -> None:
    """Show services, DAGs, disk usage. Exit code: 0 healthy, 3 not running, else 1."""
    if all:
        from airflow_docker.verbs import overview

        overview.report(json)
    else:
        from airflow_docker.verbs import status as status_verb

        status_verb.report(engine_for(c), as_json=json)


@verb(
    "Operate",
    default_flag="service",
    iterable=["service"],
    help={
        "service": "one service; repeatable (default: all)",
        "follow": "keep printing new lines",
        "tail": "only this number of last lines of each service",
        "since": "only lines since then: 10m, 2h, 3d, or a time",
    },
)
def logs(c: Context, service: list[str], follow: bool = False, tail: str = "", since: str = "") -> None:
    """Show the logs of the services."""
    from airflow_docker.verbs import operate

    operate.logs(engine_for(c), service, follow=follow, tail=tail, since=since)


@verb("Operate", default_flag="service", help={"service": "which service (default: scheduler)"})
def shell(c: Context, service: str = "") -> None:
    """Open a shell where a service runs."""
    from airflow_docker.verbs import operate

    operate.shell(engine_for(c), service)


@verb("Operate", help={"command": "one of Airflow's own commands with its arguments, in quotes"})
def airflow(c: Context, command: str) -> None:
    """Run one of Airflow's own commands: inv airflow "dags list"."""
    from airflow_docker.verbs import operate

    operate.airflow(engine_for(c), command)


@verb(
    "Operate",
    default_flag="service",
    iterable=["service"],
    help={"service": "one service; repeatable (default: all)", "timeout": HELP_TIMEOUT},
)
def restart(c: Context, service: list[str], timeout: str = DEFAULT_TIMEOUT) -> None:
    """Restart services; start those that do not run."""
    from airflow_docker.verbs import operate

    operate.restart(engine_for(c), service, seconds(timeout))


@verb(
    "Operate",
    default_flag="workers",
    help={"workers": "the new number of workers: inv scale 4", "timeout": HELP_TIMEOUT},
)
def scale(c: Context, workers: str, timeout: str = DEFAULT_TIMEOUT) -> None:
    """Change the number of workers (CeleryExecutor) while tasks run."""
    from airflow_docker.verbs import operate

    operate.scale(engine_for(c), workers, seconds(timeout))


@verb(
    "Operate",
    help={
        "run": "trigger this DAG and follow its tasks to the end",
        "conf": "configuration of the run, as JSON",
        "unpause": "unpause the DAG if it is paused",
        "follow": "trigger nothing; follow the run with this run id",
        "json": "as JSON, on standard output",
    },
)
def dags(
    c: Context, run: str = "", conf: str = "", unpause: bool = False, follow: str = "", json: bool = False
) -> None:
    """Parse every DAG; or trigger a run and follow it to its end."""
    from airflow_docker.verbs import dag_run
    from airflow_docker.verbs import dags as dags_verb

    if not run:
        for flag, value in (("--conf", conf), ("--unpause", unpause), ("--follow", follow)):
            if value:
                raise UserError(flag, "is for a run.", f"Name the DAG: inv dags --run DAG {flag}", USAGE)
        dags_verb.check(engine_for(c), json)
        return
    if json:
        raise UserError("--json", "is for the list of DAGs.", "Leave it out, or leave --run out.", USAGE)
    if follow and conf:
        raise UserError("--conf", "is for a new run, and --follow triggers none.", "Use one of them.", USAGE)
    if follow:
        dag_run.follow(engine_for(c), run, follow, unpause)
    else:
        dag_run.run(engine_for(c), run, conf, unpause)


@verb(
    "Operate",
    help={
        "images": "remove unused images and environments",
        "build": "remove the build context in BUILD_DIR",
        "downloads": "remove cached downloads",
        "logs": "remove logs of old runs",
        "older-than": "age in days from which logs are old (default: 30)",
        "yes": "do not ask",
    },
)
def clean(
    c: Context, images: bool = False, build: bool = False, downloads: bool = False, logs: bool = False,
    older_than: str = "30", yes: bool = False,
) -> None:  # fmt: skip
    """Show the disk usage; prune what you name."""
    from airflow_docker.verbs import clean as clean_verb

    named = {"images": images, "build": build, "downloads": downloads, "logs": logs}
    clean_verb.clean(engine_for(c), {kind for kind, chosen in named.items() if chosen}, older_than, yes)


@verb(
    "Operate",
    default_flag="version",
    help={"version": "a newer version of Airflow: inv upgrade 3.3.2", "timeout": HELP_TIMEOUT},
)
def upgrade(c: Context, version: str, timeout: str = UPGRADE_TIMEOUT) -> None:
    """Go to a newer Airflow, with a backup; roll back if it does not start."""
    from airflow_docker.verbs import upgrade as upgrade_verb

    engine_for(c, notify=True)
    upgrade_verb.upgrade(lambda version: engine_for(c, AIRFLOW_VERSION=version), version, seconds(timeout))


@verb("Check", help={"json": "as JSON"})
def config(c: Context, json: bool = False) -> None:
    """Show every setting with its value and where it comes from."""
    from airflow_docker.verbs import config as config_verb

    config_verb.show(settings_for(c), json)


@verb("Check", help={"json": "as JSON, on standard output"})
def doctor(c: Context, json: bool = False) -> None:
    """Check all that `up` needs; change nothing (exit code 1: something is wrong)."""
    from airflow_docker.verbs import doctor as doctor_verb

    refuse_dry_run(c)
    doctor_verb.report(as_json=json)


@verb("Try", help={"down": "remove the demo", "timeout": HELP_TIMEOUT})
def demo(c: Context, down: bool = False, timeout: str = DEFAULT_TIMEOUT) -> None:
    """Run the whole job on two sample repositories."""
    from airflow_docker.verbs import demo as demo_verb

    demo_verb.remove() if down else demo_verb.run(seconds(timeout))


@verb(
    "Develop",
    help={
        "only": "a folder or file under tests/",
        "k": "only tests whose name matches",
        "quick": "only the unit tests",
        "all": "every test, on every engine, as in CI",
        "trust": "only the tests of bad input, kills, faults, load and leaks, in full",
    },
)
def test(c: Context, only: str = "", k: str = "", quick: bool = False, all: bool = False, trust: bool = False) -> None:
    """Run the unit tests, and the demo on each engine that is there."""
    from airflow_docker.verbs import development

    chosen = [name for name, is_set in (("quick", quick), ("all", all), ("trust", trust)) if is_set]
    if len(chosen) > 1:
        raise UserError(f"--{chosen[1]}", f"cannot go with --{chosen[0]}.", "Type one of them.", USAGE)
    development.test(only, k, chosen[0] if chosen else "")


@verb(
    "Develop",
    help={"only": "only lines with one of these words in their name: cold_up,workers", "json": "as JSON"},
)
def bench(c: Context, only: str = "", json: bool = False) -> None:
    """Measure ratios against doing it by hand and the old way."""
    from airflow_docker.verbs import development

    development.bench(only, json)


@verb("Develop")
def lint(c: Context) -> None:
    """Check style, types and spelling."""
    from airflow_docker.verbs import development

    development.lint()


namespace = Collection(
    up, down, status, pull, secrets, build, image, sbom, helm, logs, shell, airflow, restart, scale, dags, clean,
    backup, restore, upgrade, doctor, config, demo, test, bench, lint,
)  # fmt: skip
