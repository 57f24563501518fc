"""The Postgres database of a stack on Swarm: the same programs, in the container on this host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from airflow_docker.engines.compose.postgres import Postgres, Stack

_SERVICE = "postgres"


class SwarmStack(Stack, Protocol):
    """What it needs besides on Swarm."""

    def start_alone(self, service: str) -> None: ...


@dataclass(frozen=True)
class SwarmPostgres(Postgres):
    """The database of one project."""

    stack: SwarmStack

    def client_command(self, program: str, *args: str) -> list[str]:
        command = [program, "--username=airflow", *args]
        return self.stack.exec_command(self.stack.container(_SERVICE), command, terminal=False)

    @contextlib.contextmanager
    def running_server(self) -> Iterator[None]:
        if any(state.service == _SERVICE and state.state == "running" for state in self.stack.states()):
            yield
            return
        try:
            self.stack.start_alone(_SERVICE)
            yield
        finally:
            self.stop_server()

    def stop_server(self) -> None:
        if {state.service for state in self.stack.states()} <= {_SERVICE}:
            self.stack.stop(data=False)
