"""Verbs that start and stop a project, and show how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_docker.cli.verb import DEFAULT_TIMEOUT, HELP_TIMEOUT, Mode, seconds, verb
from airflow_docker.verbs.preflight import START, Need

if TYPE_CHECKING:
    from airflow_docker.engines import Engine
    from airflow_docker.locks import Lock


@verb(
    "Run",
    needs=START,
    locks=True,
    notify=True,
    default=True,
    help={
        "timeout": HELP_TIMEOUT,
        "open": "open the web UI in a browser when all services are healthy",
        "no-build": "fail if there is no image yet, instead of building it",
        "workers": "number of workers, with CeleryExecutor (default: WORKERS)",
    },
)
def up(
    engine: Engine, lock: Lock, timeout: str = DEFAULT_TIMEOUT, open: bool = False, no_build: bool = False,
    workers: str = "",
) -> None:  # fmt: skip
    """Do whatever is missing, start, wait until all services are healthy."""
    from airflow_docker.verbs import stack

    stack.up(engine, timeout=seconds(timeout), no_build=no_build, open_page=open, workers=workers, lock=lock)


@verb(
    "Run",
    needs=[Need.OWN_STATE, Need.ENGINE],
    locks=True,
    ends_start=True,
    notify=True,
    help={"volumes": "destroy the database too", "yes": "do not ask"},
)
def down(engine: Engine, volumes: bool = False, yes: bool = False) -> None:
    """Stop the services. Data stays unless you add --volumes."""
    from airflow_docker.verbs import stack

    stack.down(engine, volumes=volumes, yes=yes)


@verb(
    "Run",
    needs=[Need.ANSWER],
    modes={"all": Mode(is_global=True)},
    help={"json": "as JSON, on standard output", "all": "all projects on this machine"},
)
def status(engine: Engine | None, json: bool = False, all: bool = False) -> None:
    """Show services, DAGs, disk usage. Exit code: 0 healthy, 3 not running, else 1."""
    if engine is None:
        from airflow_docker.verbs import overview

        overview.report(json)
    else:
        from airflow_docker.verbs import status as status_verb

        status_verb.report(engine, as_json=json)


@verb("Try", help={"down": "remove the demo", "timeout": HELP_TIMEOUT})
def demo(down: bool = False, timeout: str = DEFAULT_TIMEOUT) -> None:
    """Run the whole job on two sample repositories."""
    from airflow_docker.verbs import demo as demo_verb

    demo_verb.remove() if down else demo_verb.run(seconds(timeout))
