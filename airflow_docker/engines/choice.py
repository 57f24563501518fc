"""Which engine runs a project, and whether another one has data of it too."""

from __future__ import annotations

from pathlib import Path

from airflow_docker import console
from airflow_docker.engines import Engine
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings


def choose(settings: Settings, *, tell: bool = True) -> Engine:
    """The engine that ENGINE names, or the one that fits; one line says which and why, if ``tell``."""
    engine, why = decide(settings)
    if tell:
        console.say(f"· Engine: {engine.name} ({why})")
    return engine


def decide(settings: Settings) -> tuple[Engine, str]:
    """The engine, and why it is this one."""
    from airflow_docker.engines.compose.engine import Compose
    from airflow_docker.engines.standalone.engine import Standalone
    from airflow_docker.engines.swarm.engine import Swarm

    compose, standalone = Compose(settings), Standalone(settings)
    named: dict[str, Engine] = {"compose": compose, "standalone": standalone, "swarm": Swarm(settings)}
    engine: Engine
    if settings.engine != "auto":
        engine, why = named[settings.engine], "as ENGINE says"
    elif _has_run(settings, "swarm"):
        raise UserError("ENGINE", "this project runs on swarm, which auto never means.", "Set ENGINE=swarm in .env.")
    elif standalone.is_up():
        engine, why = standalone, "it is up"
    elif _has_run(settings, "standalone") and not _has_run(settings, "compose"):
        engine, why = standalone, "it was up here last"
    elif reason := compose.problem():
        if _has_run(settings, "compose"):
            raise UserError("ENGINE", f"this project runs on compose, and {reason.what}", reason.todo)
        engine, why = standalone, reason.what.rstrip(".")
    else:
        engine, why = compose, "Docker answers"
    return engine, why


def require_alone(engine: Engine) -> None:
    """Raise UserError if another engine has a database of this project: it is written with the same keys."""
    from airflow_docker.engines.compose.engine import Compose
    from airflow_docker.engines.standalone.engine import Standalone
    from airflow_docker.engines.swarm.engine import Swarm

    all_engines: list[Engine] = [made(engine.settings) for made in (Compose, Standalone, Swarm)]
    for other in [one for one in all_engines if one.name != engine.name and _has_database(one)]:
        problem = f"this project has a database on {other.name} too, written with the keys that would be replaced."
        todo = f"Back that up and destroy it (ENGINE={other.name} inv down --volumes), or give it a .env of its own."
        raise UserError(str(engine.settings.secrets_dir), problem, todo)


def _has_database(engine: Engine) -> bool:
    try:
        return engine.store.exists()
    except UserError:  # it cannot run here
        return _has_run(engine.settings, engine.name)


def _has_run(settings: Settings, engine: str) -> bool:
    """True if it was up, and has not been brought down for good: two engines must not run one project's DAGs."""
    return started_file(settings, engine).is_file()


def started_file(settings: Settings, engine: str) -> Path:
    """Notes with which settings a stack was started; it is there until the stack is brought down."""
    return settings.state_dir / f"up.{engine}"
