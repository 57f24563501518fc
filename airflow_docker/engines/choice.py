"""Which engine runs a project, and whether another one has data of it too."""

from __future__ import annotations

from airflow_docker import console, project_state
from airflow_docker.engines import Engine, RunningProject
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings

ENGINES = ("compose", "standalone", "swarm")


def choose(settings: Settings, *, notify: bool = True) -> Engine:
    """The engine that ENGINE names, or the one that fits; one line says which and why, if ``notify``."""
    engine, why = decide(settings)
    if notify:
        console.say(f"· Engine: {engine.name} ({why})")
    return engine


def decide(settings: Settings) -> tuple[Engine, str]:
    """The engine, and why it is this one."""
    if settings.engine != "auto":
        return engine_named(settings, settings.engine), "as ENGINE says"
    has_run = {name for name in ENGINES if _has_run(settings, name)}
    if "swarm" in has_run:
        raise UserError("ENGINE", "this project runs on swarm, which auto never chooses.", "Set ENGINE=swarm in .env.")
    return _compose_again(settings) if has_run == {"compose"} else _either(settings, has_run)


def engine_named(settings: Settings, name: str) -> Engine:
    """The engine of this name; the others are not even imported."""
    if name == "compose":
        from airflow_docker.engines.compose.engine import Compose

        return Compose(settings)
    if name == "swarm":
        from airflow_docker.engines.swarm.engine import Swarm

        return Swarm(settings)
    from airflow_docker.engines.standalone.engine import Standalone

    return Standalone(settings)


def all_projects() -> list[RunningProject]:
    """Every project of ours that runs on this machine."""
    from airflow_docker.engines.compose import projects as compose_projects
    from airflow_docker.engines.standalone import projects as standalone_projects
    from airflow_docker.engines.swarm import projects as swarm_projects

    return [*compose_projects.projects(), *swarm_projects.projects(), *standalone_projects.projects()]


def _compose_again(settings: Settings) -> tuple[Engine, str]:
    """It could run this project when that was started: only check that it answers."""
    engine = engine_named(settings, "compose")
    try:
        engine.require_answer()
    except UserError as reason:
        raise _runs_on_compose(reason) from None
    return engine, "it was up here last"


def _either(settings: Settings, has_run: set[str]) -> tuple[Engine, str]:
    """Standalone if it is up, or was last; else compose, if that can run here."""
    from airflow_docker.engines.compose.engine import Compose
    from airflow_docker.engines.standalone.engine import Standalone

    compose, standalone = Compose(settings), Standalone(settings)
    if standalone.is_up():
        return standalone, "it is up"
    if has_run == {"standalone"}:
        return standalone, "it was up here last"
    reason = compose.problem()
    if reason is None:
        return compose, "Docker answers"
    if "compose" in has_run:
        raise _runs_on_compose(reason)
    return standalone, reason.what.rstrip(".")


def _runs_on_compose(reason: UserError) -> UserError:
    return UserError("ENGINE", f"this project runs on compose, and {reason.what}", reason.todo)


def require_no_other_engine(engine: Engine) -> None:
    """Raise UserError if another engine has a database of this project: it is written with the same keys."""
    others = [engine_named(engine.settings, name) for name in ENGINES if name != engine.name]
    for other in [one for one in others if _has_database(one)]:
        problem = f"this project has a database on {other.name} too, written with the keys that would be replaced."
        todo = f"Back that up and destroy it (ENGINE={other.name} inv down --volumes), or give it a .env of its own."
        raise UserError(str(engine.settings.secrets_dir), problem, todo)


def _has_database(engine: Engine) -> bool:
    try:
        return engine.database.exists()
    except UserError:  # it cannot run here
        return _has_run(engine.settings, engine.name)


def _has_run(settings: Settings, engine: str) -> bool:
    """True if it was started, and not brought down since: two engines must not run one project's DAGs."""
    return bool(project_state.read(settings, engine).started)
