"""What runs an Airflow. Each module answers the same verbs over the same build directory and secrets."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any, Protocol

from airflow_docker import console
from airflow_docker.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_docker.bundle import Bundle
    from airflow_docker.health import ServiceState
    from airflow_docker.platforms import Platform
    from airflow_docker.secrets import Reader
    from airflow_docker.settings import Settings


class Store(Protocol):
    """The metadata database of a stack."""

    @property
    def kind(self) -> str: ...

    def query(self, sql: str) -> list[list[str]]:
        """What the metadata database answers, as text. Raises UserError if it cannot be asked."""

    @property
    def size_query(self) -> str:
        """Asks the database for its size in bytes."""

    def exists(self) -> bool:
        """True if there is one, whether anything runs or not."""

    def serving(self) -> AbstractContextManager[None]:
        """It answers for so long, whatever else runs."""

    def end_serving(self) -> None:
        """End what :meth:`serving` has started, in a run that could not do so, if nothing else runs."""

    def dump(self, file: Path) -> None:
        """Copy it as it is at one moment, while it is in use. Raises UserError if that fails."""

    def load(self, file: Path) -> None:
        """Put what :meth:`dump` wrote beside the database in use. Raises UserError if that is not an Airflow's."""

    def swap(self, password: str) -> None:
        """Use what was loaded, with this password if it has one; what was in use is kept aside."""

    def set_password(self, password: str) -> None:
        """Let in who has this password, if it asks for one at all."""

    def take_back(self, had: bool, password: str) -> None:
        """Undo :meth:`load` and :meth:`swap`, however far they came; if there was none (``had``), none is left."""

    def forget(self) -> None:
        """Destroy what is kept aside."""


class Engine(Protocol):
    """What the verbs need of an engine. An artifact is what it runs: an image, or an environment."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def reader(self) -> Reader:
        """Who reads the secrets, and where."""

    @property
    def store(self) -> Store: ...

    def require(self) -> None:
        """Raise UserError unless it can run here."""

    def require_fit(self) -> None:
        """Raise UserError unless it can run this version of Airflow."""

    # --- building ---

    @property
    def context(self) -> tuple[str, ...]:
        """What of BUILD_DIR an artifact is made from."""

    @property
    def purged(self) -> tuple[str, ...]:
        """What of BUILD_DIR goes when all is to be built anew."""

    @property
    def place(self) -> Path:
        """The folder of the lock and the manifest, in BUILD_DIR."""

    def platform(self) -> Platform:
        """What requirements are resolved for."""

    def fill(self) -> None:
        """Put into BUILD_DIR what this engine alone needs there."""

    def artifact(self, fingerprint: str) -> str:
        """The name that an artifact of this fingerprint has."""

    def has(self, artifact: str) -> bool:
        """True if it is built."""

    def build(self, bundle: Bundle, no_cache: bool) -> None:
        """Build the artifact. Raises UserError if that fails."""

    def claim(self, artifact: str) -> None:
        """Note that this project uses it now, and let go of those it used before."""

    def labels(self, artifact: str) -> dict[str, str] | None:
        """What it is made of, by label; None if it is not there. Raises UserError if it is not ours."""

    def inventory(self, artifact: str) -> dict[str, Any]:
        """What its Python has: see inventory.py. Raises UserError if it does not tell."""

    def unused(self, keep: str | None) -> list[tuple[str, int]]:
        """Artifacts of ours that nothing runs from, but for ``keep``: name, size in bytes."""

    def discard(self, artifact: str) -> None:
        """Remove one of them."""

    def remove_artifacts(self) -> None:
        """Remove all that this project has built."""

    # --- running ---

    def using(self, artifact: str) -> Engine:
        """The same engine, with the artifact that it runs."""

    @property
    def one_shot(self) -> tuple[str, ...]:
        """Services that do their work and end."""

    @property
    def renewed_while_running(self) -> tuple[str, ...]:
        """Keys that a start gives to the services one by one, so that nothing need be stopped for a new one."""

    @property
    def task_service(self) -> str:
        """The service that runs the tasks."""

    def services(self) -> list[str]:
        """All services, in the order in which they start."""

    def states(self) -> list[ServiceState]:
        """Every service that there is now."""

    def decides(self) -> str:
        """All that decides how the services run, as text; it changes when they must be made anew."""

    def starting(self, *, as_before: bool, workers: int = 0) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to bring everything up, ``as_before`` if nothing that decides has changed, with so many workers.

        What is given tells whether all has been done that was to be done, and raises UserError
        if it cannot be.
        """

    def stop(self, data: bool) -> None:
        """End everything; with ``data`` the database goes too. Raises UserError if that fails."""

    def data(self) -> list[str]:
        """What ``stop(data=True)`` would destroy."""

    def workers(self) -> int:
        """How many workers there are now. Raises UserError if the tasks have none."""

    def scale(self, workers: int) -> None:
        """Have so many; those that are too many finish their tasks first. Raises UserError if that fails."""

    # --- operating ---

    def execute(self, service: str, words: list[str]) -> int:
        """Run a command where this service runs, with the user's own terminal or pipes; its exit code."""

    def ask(self, service: str, words: list[str]) -> CompletedProcess[str]:
        """The same, with both outputs kept."""

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        """Show what services said; the exit code."""

    def restarting(self, services: list[str]) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to end and start these services, or start them where they do not run; see :meth:`starting`."""

    def parse_dags(self, *, apart: bool) -> CompletedProcess[str]:
        """Parse the DAG files, with nothing running: on standard output the JSON of docker/runtime/dags.py.

        They see the database of the stack if there is one, or, ``apart`` from it, an empty one that nobody keeps.
        """

    def take_key(self, name: str) -> CompletedProcess[str]:
        """Have docker/runtime/keys.py take a new key from its file into the database, which must be served."""

    def holder(self, port: int) -> str:
        """What of its own kind listens on a port of this machine; empty if it cannot tell."""

    def in_use(self) -> str | None:
        """The artifact that what runs was started from."""

    def last_lines(self, container: str, lines: int = 20) -> str:
        """The end of what a service said."""


def choose(settings: Settings, *, tell: bool = True) -> Engine:
    """The engine that ENGINE names, or the one that fits; one line says which and why, if ``tell``."""
    engine, why = decide(settings)
    if tell:
        console.say(f"· Engine: {engine.name} ({why})")
    return engine


def decide(settings: Settings) -> tuple[Engine, str]:
    """The engine, and why it is this one."""
    from airflow_docker.engines.compose import Compose
    from airflow_docker.engines.standalone import Standalone
    from airflow_docker.engines.swarm import Swarm

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
    from airflow_docker.engines.compose import Compose
    from airflow_docker.engines.standalone import Standalone
    from airflow_docker.engines.swarm import Swarm

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
