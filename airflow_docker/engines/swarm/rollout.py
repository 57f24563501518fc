"""A start on Swarm, which knows no order: first what the others need. If it fails, it is rolled back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from airflow_docker import console
from airflow_docker.engines import ServiceState, health
from airflow_docker.engines.swarm.stack import ONCE, ONE_SHOT, STORES, Config, subset
from airflow_docker.engines.swarm.tasks import ROLLED_BACK, Services
from airflow_docker.errors import UserError

ROLLBACK_SECONDS = 180.0
"""How long a rollback may take."""


class Deployer(Protocol):
    """Deploys and removes services of one project, and says how they are."""

    def deploy(self, stack: Config) -> None: ...
    def remove(self, names: Sequence[str]) -> None: ...
    def deployed(self) -> list[str]: ...
    def services_inspected(self) -> Services: ...
    def states(self) -> list[ServiceState]: ...
    def last_good(self) -> Config: ...
    def last_lines(self, container: str) -> str: ...


class Rollout:
    """One start, polled by :meth:`is_done`. With ``init`` the database is initialised before the rest starts."""

    def __init__(self, swarm: Deployer, full: Config, *, init: bool = True) -> None:
        self.swarm, self.full = swarm, full
        self._progress = self._steps(init)
        self._is_mixed = False
        """True if some may run in the new version and some in the one before."""

    def is_done(self) -> bool:
        """True if all is deployed and healthy. Raises UserError if Swarm has rolled a service back."""
        return next(self._progress, True)

    def _steps(self, init: bool) -> Iterator[bool]:
        """Yields False until the next step can be taken."""
        self._is_mixed = True
        if init:
            self.swarm.remove(ONE_SHOT)
            self.swarm.deploy(subset(self.full, STORES))
            while not self._have_converged(STORES):
                yield False
            self.swarm.deploy(subset(self.full, (*STORES, *ONE_SHOT)))
            while not self._is_initialised():
                yield False
        # Without init: deploying a job again would run it again.
        names = tuple(name for name in self.full["services"] if name not in ONE_SHOT)
        self.swarm.deploy(subset(self.full, names))
        remaining = (*self.full["services"], ONCE)
        self.swarm.remove([name for name in self.swarm.deployed() if name not in remaining])
        while not self._have_converged(names):
            yield False

    def _have_converged(self, names: tuple[str, ...]) -> bool:
        inspected = self.swarm.services_inspected()
        present = [name for name in names if name in self.full["services"]]
        for name in present:
            if name in inspected.services and inspected.update(name) in ROLLED_BACK:
                self._give_up(name, inspected)
        return all(name in inspected.services and inspected.has_converged(name) for name in present)

    def _is_initialised(self) -> bool:
        states = [state for state in self.swarm.states() if state.service in ONE_SHOT]
        return bool(states) and all(state.state == "exited" and state.exit_code == 0 for state in states)

    def rollback(self, failure: UserError) -> None:
        """Roll back after a failure that Swarm itself does not see, as a timeout, if another version ran before.

        Raises UserError with both reasons if the rollback fails.
        """
        good = self.swarm.last_good()
        is_same = json.dumps(good, sort_keys=True) == json.dumps(self.full, sort_keys=True)
        if not good or is_same or not self._is_mixed:
            return
        self._is_mixed = False
        try:
            with console.step("Rolling back to what ran before"):
                self._deploy_again(good)
        except UserError as second:
            raise UserError(failure.where, f"{failure.what} {second.where}: {second.what}", second.todo) from failure

    def _give_up(self, name: str, inspected: Services) -> None:
        """Swarm has rolled back one service; the others are rolled back too, so that all are of one version."""
        failed = inspected.last_failure(name)
        lines = self.swarm.last_lines(failed["ID"]) if failed else ""
        console.say(f"--- the last lines of the new {name} ---\n{lines or '(no output)'}\n---")
        what = "the new version did not become healthy and was rolled back."
        failure = UserError(name, what, "Fix that (its last log lines are above), then type: inv build up")
        self.rollback(failure)
        raise failure

    def _deploy_again(self, good: Config) -> None:
        names = tuple(name for name in good["services"] if name not in ONE_SHOT)
        self.swarm.deploy(subset(good, names))
        end = time.monotonic() + ROLLBACK_SECONDS
        while not all(self.swarm.services_inspected().has_converged(name) for name in names):
            if time.monotonic() > end:
                raise UserError("docker stack deploy", "the rollback has not finished yet.", "Look: inv status")
            time.sleep(health.POLL_SECONDS)
