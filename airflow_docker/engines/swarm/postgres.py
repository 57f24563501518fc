"""The Postgres database of a stack on Swarm: the same programs, in the container on this host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_docker.engines.compose.postgres import Postgres

if TYPE_CHECKING:
    from airflow_docker.engines.swarm.engine import Swarm

_SERVICE = "postgres"


@dataclass(frozen=True)
class SwarmPostgres(Postgres):
    """The database of one project."""

    compose: Swarm

    def client_command(self, program: str, *args: str) -> list[str]:
        command = [program, "--username=airflow", *args]
        return self.compose.exec_command(self.compose.container(_SERVICE), command, terminal=False)

    @contextlib.contextmanager
    def running_server(self) -> Iterator[None]:
        if any(state.service == _SERVICE and state.state == "running" for state in self.compose.states()):
            yield
            return
        try:
            self.compose.start_alone(_SERVICE)
            yield
        finally:
            self.stop_server()

    def stop_server(self) -> None:
        if {state.service for state in self.compose.states()} <= {_SERVICE}:
            self.compose.stop(data=False)
