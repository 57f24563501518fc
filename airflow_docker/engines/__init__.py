"""What runs an Airflow. Each engine answers the same verbs over the same build directory and secrets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Protocol

from airflow_docker.building.bundle import Builder
from airflow_docker.building.manifest import Bundle
from airflow_docker.secret_files import SecretOwner


@dataclass(frozen=True)
class ServiceState:
    """A service at one moment: ``state`` and ``health`` in the engine's words, ``probe`` what its check said last.

    ``image`` is the name it was started from and ``image_id`` what that was then; empty where there are no images.
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


class Database(Protocol):
    """The metadata database of a stack."""

    @property
    def kind(self) -> str: ...

    def query(self, sql: str) -> list[list[str]]:
        """What the metadata database answers, as text. Raises UserError if it cannot be asked."""

    def queries(self, *sql: str) -> list[list[list[str]]]:
        """The same for several questions, asked in one go."""

    @property
    def size_query(self) -> str:
        """Asks the database for its size in bytes."""

    def exists(self) -> bool:
        """True if there is one, whether anything runs or not."""

    def running_server(self) -> AbstractContextManager[None]:
        """It answers for so long, whatever else runs."""

    def stop_server(self) -> None:
        """End what :meth:`running_server` has started, in a run that could not do so, if nothing else runs."""

    def dump(self, file: Path) -> None:
        """Copy it as it is at one moment, while it is in use. Raises UserError if that fails."""

    def load_beside(self, file: Path) -> None:
        """Put what :meth:`dump` wrote beside the database in use. Raises UserError if that is not an Airflow's."""

    def swap_in(self, password: str) -> None:
        """Use what was loaded, with this password if it has one; what was in use is kept aside."""

    def set_password(self, password: str) -> None:
        """Let in who has this password, if it asks for one at all."""

    def rollback(self, had: bool, password: str) -> None:
        """Undo :meth:`load_beside` and :meth:`swap_in`, however far they came; without ``had`` no database is left."""

    def drop_backup(self) -> None:
        """Destroy what is kept aside."""


class Engine(Builder, Protocol):
    """What the verbs need of an engine. An artifact is what it runs: an image, or an environment."""

    @property
    def name(self) -> str: ...
    @property
    def secret_owner(self) -> SecretOwner:
        """Who reads the secrets, and where."""

    @property
    def database(self) -> Database: ...

    def require_answer(self) -> None:
        """Raise UserError unless it can be asked how what runs is."""

    def require(self) -> None:
        """Raise UserError unless it can run here."""

    def require_fit(self) -> None:
        """Raise UserError unless it can run what the settings ask for."""

    def mounted_folders(self) -> dict[str, Path]:
        """The folders of this machine that containers are to see, by the settings that name them."""

    def require_bind_mounts(self) -> None:
        """Raise UserError unless containers see those folders."""

    # --- building ---

    def has(self, artifact: str) -> bool:
        """True if it is built."""

    def build(self, bundle: Bundle, no_cache: bool) -> None:
        """Build the artifact. Raises UserError if that fails."""

    def mark_used(self, artifact: str) -> None:
        """Note that this project uses it now, and let go of those it used before."""

    def labels(self, artifact: str) -> dict[str, str] | None:
        """What it is made of, by label; None if it is not there. Raises UserError if it is not ours."""

    def inventory(self, artifact: str) -> dict[str, Any]:
        """What its Python has: see inventory.py. Raises UserError if that fails."""

    def list_unused(self, keep: str | None) -> list[tuple[str, int]]:
        """Artifacts of ours that nothing runs from, but for ``keep``: name, size in bytes."""

    def remove_artifact(self, artifact: str) -> None:
        """Remove one of them."""

    def remove_artifacts(self) -> None:
        """Remove all that this project has built."""

    # --- running ---

    def with_artifact(self, artifact: str) -> Engine:
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

    def is_there(self) -> bool:
        """True if anything of it runs or has run, be it what a run that was killed has left."""

    def config_digest(self) -> str:
        """Everything that determines how the services run, as text: a change means that they must be recreated."""

    def starting(self, *, unchanged: bool, workers: int = 0) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to bring everything up, ``unchanged`` if :meth:`config_digest` is as it was, with so many workers.

        Yields a function that returns True when the engine has finished, and raises UserError
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

    def execute(self, service: str, args: list[str]) -> int:
        """Run a command where this service runs, with the user's own terminal or pipes; its exit code."""

    def ask(self, service: str, args: list[str]) -> CompletedProcess[str]:
        """The same, with both outputs kept."""

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        """Show the logs of services; the exit code."""

    def restarting(self, services: list[str]) -> AbstractContextManager[Callable[[], bool]]:
        """Begin to end and start these services, or start them where they do not run; see :meth:`starting`."""

    def parse_dags(self, *, isolated: bool) -> CompletedProcess[str]:
        """Parse the DAG files, with nothing running: on standard output the JSON of docker/runtime/dags.py.

        They see the database of the stack if there is one, or, ``isolated`` from it, an empty one that nobody keeps.
        """

    def apply_key(self, name: str) -> CompletedProcess[str]:
        """Have docker/runtime/keys.py take a new key from its file into the database, which must be served."""

    def report_killed(self) -> None:
        """Have those that run tasks report now which of their processes were killed: see crashes.py."""

    def written(self) -> list[tuple[str, int]]:
        """What services that import DAG files have written into their own files, as into /tmp: name of each, bytes."""

    def port_owner(self, port: int) -> str:
        """What of its own kind listens on a port of this machine; empty if that is unknown."""

    def running_artifact(self) -> str | None:
        """The artifact that what runs was started from."""

    def last_lines(self, container: str, lines: int = 20) -> str:
        """The last lines of a service's log."""
