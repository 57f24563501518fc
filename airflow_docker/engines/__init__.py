"""The engines that run Airflow. Each has the same operations, on the same BUILD_DIR and secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Protocol

from airflow_docker.building import bundle
from airflow_docker.building.manifest import Bundle
from airflow_docker.findings import Check
from airflow_docker.locks import Lock
from airflow_docker.secret_files import SecretOwner
from airflow_docker.settings import Settings


@dataclass(frozen=True)
class ServiceState:
    """A service at one moment: ``state``, ``health`` as the engine reports them, ``probe`` the health check's output.

    ``image`` is the name it was started from and ``image_id`` the id of that then; empty where there are no images.
    ``host`` is where it runs, if there are several.
    ``number`` distinguishes the containers of one service.
    ``crashed`` is when it last ended by itself and was started again, ``crash_code`` its exit code then, where that
    is known. ``out_of_memory`` is true if it has ended because memory ran out.
    """

    service: str
    container: str
    state: str
    health: str = ""
    exit_code: int = 0
    restarts: int = 0
    started: str = ""
    probe: str = ""
    image: str = ""
    image_id: str = ""
    host: str = ""
    number: int = 1
    crashed: str = ""
    crash_code: int | None = None
    out_of_memory: bool = False

    def has_not_started_since(self, before: dict[str, ServiceState]) -> bool:
        """True if the container ran, or had ended, ``before`` and has not been started again."""
        return self.container in before and self.started == before[self.container].started

    def forgiven(self, before: dict[str, ServiceState]) -> ServiceState:
        """Without the restarts since ``before``: their cause may have been fixed since."""
        return replace(self, restarts=before[self.container].restarts) if self.container in before else self


@dataclass(frozen=True)
class RunningProject:
    """A project of this machine: on which engine, its checkout or folder, the state of each of its services."""

    project: str
    engine: str
    where: str
    states: tuple[str, ...]


class Database(Protocol):
    """The metadata database of a stack."""

    @property
    def kind(self) -> str: ...

    def query(self, sql: str) -> list[list[str]]:
        """The rows that the metadata database returns, as text. Raises UserError if it cannot be queried."""

    def queries(self, *sql: str) -> list[list[list[str]]]:
        """The same for several queries, in one call."""

    @property
    def size_query(self) -> str:
        """The query for the size of the database in bytes."""

    def exists(self) -> bool:
        """True if there is one, whether anything runs or not."""

    def running_server(self) -> AbstractContextManager[None]:
        """The database server runs in this context, whatever else runs."""

    def stop_server(self) -> None:
        """Stop a server that an interrupted :meth:`running_server` has left, if nothing else runs."""

    def dump(self, file: Path) -> None:
        """Copy a consistent snapshot into ``file``, while it is in use. Raises UserError if that fails."""

    def load_beside(self, file: Path) -> None:
        """Load what :meth:`dump` wrote beside the database in use. Raises UserError if it is not Airflow's database."""

    def swap_in(self, password: str) -> None:
        """Replace the database in use by the loaded one, with this password if it has one; keep the old one."""

    def set_password(self, password: str) -> None:
        """Set the database's password, if it has one."""

    def rollback(self, had: bool, password: str) -> None:
        """Undo :meth:`load_beside` and :meth:`swap_in`, however far they came; without ``had`` no database is left."""

    def drop_backup(self) -> None:
        """Delete the old database that :meth:`swap_in` has kept."""


class Builder(bundle.Builder, Protocol):
    """Builds artifacts, and knows those that were built before. An artifact is an image, or an environment."""

    def has(self, artifact: str) -> bool:
        """True if it is built."""

    def build(self, bundle: Bundle, no_cache: bool) -> None:
        """Build the artifact. Raises UserError if that fails."""

    def mark_used(self, artifact: str) -> None:
        """Record that this project uses it now, and release those that it used before, but not the running one."""

    def labels(self, artifact: str) -> dict[str, str] | None:
        """Its labels; None if it does not exist. Raises UserError if it was not built by us."""

    def inventory(self, artifact: str) -> dict[str, Any]:
        """The packages of its Python: see inventory.py. Raises UserError if that fails."""

    def list_unused(self, keep: Collection[str | None]) -> list[tuple[str, int]]:
        """Our artifacts that nothing uses, except ``keep``: name, size in bytes."""

    def remove_artifact(self, artifact: str) -> None:
        """Remove one of them."""

    def remove_artifacts(self) -> None:
        """Remove all that this project has built."""


class Engine(Protocol):
    """Runs the services of a project, from an artifact; see ``builder`` and ``database``."""

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def secret_owner(self) -> SecretOwner:
        """The user who reads the secrets, and where."""

    @property
    def database(self) -> Database: ...
    @property
    def builder(self) -> Builder: ...

    def require_answer(self) -> None:
        """Raise UserError unless it can report the state of its services."""

    def require(self) -> None:
        """Raise UserError unless it can run here."""

    def require_fit(self) -> None:
        """Raise UserError unless it can run what the settings ask for."""

    def checks(self) -> tuple[Check, ...]:
        """What `inv doctor` looks at for this engine alone; that of Docker comes first."""

    def mounted_folders(self) -> dict[str, Path]:
        """The folders of this machine that containers are to see, by the settings that name them."""

    def require_bind_mounts(self) -> None:
        """Raise UserError unless containers see those folders."""

    # --- running ---

    def with_artifact(self, artifact: str) -> Engine:
        """The same engine, set to run this artifact."""

    @property
    def one_shot(self) -> tuple[str, ...]:
        """Services that run once and end."""

    @property
    def renewed_while_running(self) -> tuple[str, ...]:
        """Keys that a rolling start replaces, so that nothing has to be stopped for a new one."""

    @property
    def task_service(self) -> str:
        """The service that runs the tasks."""

    def services(self) -> list[str]:
        """All services, in the order in which they start."""

    def states(self) -> list[ServiceState]:
        """Every service that there is now."""

    def is_there(self) -> bool:
        """True if any of its containers or processes exist, also those that a killed run has left."""

    def config_digest(self) -> str:
        """Everything that determines how the services run, as text: a change means that they must be recreated."""

    def start_lock(self) -> Lock:
        """Held as long as a start or a stop is under way."""

    def starting(self, *, unchanged: bool, workers: int = 0) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to start everything; ``unchanged`` if :meth:`config_digest` is as before.

        With 0 ``workers`` the engine decides how many. Yields a function that returns True when the engine
        has finished, and raises UserError if it cannot finish.
        """

    def stop(self, data: bool) -> None:
        """Stop everything; with ``data`` delete the database too. Raises UserError if that fails."""

    def data(self) -> list[str]:
        """What ``stop(data=True)`` would delete."""

    def workers(self) -> int:
        """How many workers there are now. Raises UserError if the tasks have none."""

    def scale(self, workers: int) -> None:
        """Set the number of workers; those that are removed drain first. Raises UserError if that fails."""

    # --- operating ---

    def execute(self, service: str, args: list[str]) -> int:
        """Run a command where this service runs, with the user's own terminal or pipes; its exit code."""

    def ask(self, service: str, args: list[str]) -> CompletedProcess[str]:
        """The same, with both outputs captured."""

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        """Show the logs of services; the exit code."""

    def restarting(self, services: list[str]) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to restart these services, or to start those that do not run; see :meth:`starting`."""

    def parse_dags(self, *, isolated: bool) -> CompletedProcess[str]:
        """Parse the DAG files; nothing has to run. Standard output is the JSON of docker/runtime/dags.py.

        They use the stack's database if there is one, or, if ``isolated``, an empty temporary one.
        """

    def apply_key(self, name: str) -> CompletedProcess[str]:
        """Run docker/runtime/keys.py, which applies a new key from its file to the database; its server must run."""

    def report_killed(self) -> None:
        """Have the services that run tasks report their killed processes now: see crashes.py."""

    def written(self) -> list[tuple[str, int]]:
        """What services that import DAG files have written into their containers, as into /tmp: container, bytes."""

    def port_owner(self, port: int) -> str:
        """Which container listens on a port of this machine; empty if that is unknown."""

    def running_artifact(self) -> str | None:
        """The artifact of the running stack; None if nothing runs."""

    def last_lines(self, container: str, lines: int = 20) -> str:
        """The last lines of a service's log."""
