"""Verbs for a project that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_docker.cli.verb import DEFAULT_TIMEOUT, HELP_TIMEOUT, Mode, seconds, verb
from airflow_docker.errors import USAGE, UserError
from airflow_docker.verbs.preflight import Need

if TYPE_CHECKING:
    from airflow_docker.engines import Engine
    from airflow_docker.locks import Lock


@verb(
    "Operate",
    needs=[Need.ENGINE],
    default_flag="service",
    iterable=["service"],
    help={
        "service": "one service; repeatable (default: all)",
        "follow": "keep printing new lines",
        "tail": "only this number of last lines of each service",
        "since": "only lines since then: 10m, 2h, 3d, or a time",
    },
)
def logs(engine: Engine, service: list[str], follow: bool = False, tail: str = "", since: str = "") -> None:
    """Show the logs of the services."""
    from airflow_docker.verbs import operate

    operate.logs(engine, service, follow=follow, tail=tail, since=since)


@verb("Operate", needs=[Need.ENGINE], default_flag="service", help={"service": "which service (default: scheduler)"})
def shell(engine: Engine, service: str = "") -> None:
    """Open a shell where a service runs."""
    from airflow_docker.verbs import operate

    operate.shell(engine, service)


@verb(
    "Operate",
    needs=[Need.ENGINE],
    help={"command": "one of Airflow's own commands with its arguments, in quotes"},
)
def airflow(engine: Engine, command: str) -> None:
    """Run one of Airflow's own commands: inv airflow "dags list"."""
    from airflow_docker.verbs import operate

    operate.airflow(engine, command)


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.FIT, Need.UNDONE, Need.SAME],
    locks=True,
    default_flag="service",
    iterable=["service"],
    help={"service": "one service; repeatable (default: all)", "timeout": HELP_TIMEOUT},
)
def restart(engine: Engine, lock: Lock, service: list[str], timeout: str = DEFAULT_TIMEOUT) -> None:
    """Restart services; start those that do not run."""
    from airflow_docker.verbs import operate

    operate.restart(engine, service, seconds(timeout), lock)


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.UNDONE, Need.SAME],
    locks=True,
    default_flag="workers",
    help={"workers": "the new number of workers: inv scale 4", "timeout": HELP_TIMEOUT},
)
def scale(engine: Engine, lock: Lock, workers: str, timeout: str = DEFAULT_TIMEOUT) -> None:
    """Change the number of workers (CeleryExecutor) while tasks run."""
    from airflow_docker.verbs import operate

    operate.scale(engine, workers, seconds(timeout), lock)


def _for_a_run(run: str, conf: str, unpause: bool, follow: str, json: bool) -> None:
    if not run:
        for flag, value in (("--conf", conf), ("--unpause", unpause), ("--follow", follow)):
            if value:
                raise UserError(flag, "is for a run.", f"Name the DAG: inv dags --run DAG {flag}", USAGE)
    elif json:
        raise UserError("--json", "is for the list of DAGs.", "Leave it out, or leave --run out.", USAGE)
    elif follow and conf:
        raise UserError("--conf", "is for a new run, and --follow triggers none.", "Use one of them.", USAGE)


@verb(
    "Operate",
    needs=[Need.OWN_STATE, Need.ENGINE, Need.FIT, Need.COMPATIBLE],
    modes={"run": Mode((Need.OWN_STATE, Need.ENGINE, Need.SAME))},
    require=_for_a_run,
    help={
        "run": "trigger this DAG and follow its tasks to the end",
        "conf": "configuration of the run, as JSON",
        "unpause": "unpause the DAG if it is paused",
        "follow": "trigger nothing; follow the run with this run id",
        "json": "as JSON, on standard output",
    },
)
def dags(
    engine: Engine, run: str = "", conf: str = "", unpause: bool = False, follow: str = "", json: bool = False
) -> None:
    """Parse every DAG; or trigger a run and follow it to its end."""
    from airflow_docker.verbs import dag_run
    from airflow_docker.verbs import dags as dags_verb

    if follow:
        dag_run.follow(engine, run, follow, unpause)
    elif run:
        dag_run.run(engine, run, conf, unpause)
    else:
        dags_verb.check(engine, json)
