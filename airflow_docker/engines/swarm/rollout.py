"""A start on Swarm, which has no order of its own: what the others need first, and back again if it goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_docker import console
from airflow_docker.engines import health
from airflow_docker.engines.swarm.stack import ONCE, ONE_SHOT, STORES, Config, subset
from airflow_docker.engines.swarm.tasks import ROLLED_BACK, Services
from airflow_docker.errors import UserError

if TYPE_CHECKING:
    from airflow_docker.engines.swarm.engine import Swarm

ROLLBACK_SECONDS = 180.0
"""How long all may take to be as it was."""


class Rollout:
    """One start, looked at again and again. With ``init`` the database is prepared before the rest comes."""

    def __init__(self, swarm: Swarm, full: Config, *, init: bool = True) -> None:
        self.swarm, self.full = swarm, full
        self._looks = self._steps(init)
        self._is_mixed = False
        """True if some may run in the new version and some in the one before."""

    def is_done(self) -> bool:
        """True if all has been done. Raises UserError if Swarm has taken a new version back."""
        return next(self._looks, True)

    def _steps(self, init: bool) -> Iterator[bool]:
        """Gives False until the next step can be taken."""
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
        """After a failure that Swarm itself has not seen, as of a wait that has ended: what ran before, if that is so.

        Raises UserError with both reasons if that is not back soon.
        """
        good = self.swarm.last_good()
        is_same = json.dumps(good, sort_keys=True) == json.dumps(self.full, sort_keys=True)
        if not good or is_same or not self._is_mixed:
            return
        self._is_mixed = False
        try:
            with console.step("Putting back what ran before"):
                self._deploy_again(good)
        except UserError as second:
            raise UserError(failure.where, f"{failure.what} {second.where}: {second.what}", second.todo) from failure

    def _give_up(self, name: str, inspected: Services) -> None:
        """Swarm has put back one service; the others are put back too, so that all are of one version."""
        failed = inspected.last_failure(name)
        lines = self.swarm.last_lines(failed["ID"]) if failed else ""
        console.say(f"--- the last lines of the new {name} ---\n{lines or '(no output)'}\n---")
        what = "the new version did not become healthy, and what ran before is back."
        failure = UserError(name, what, "Fix that (its last log lines are above), then type: inv build up")
        self.rollback(failure)
        raise failure

    def _deploy_again(self, good: Config) -> None:
        names = tuple(name for name in good["services"] if name not in ONE_SHOT)
        self.swarm.deploy(subset(good, names))
        end = time.monotonic() + ROLLBACK_SECONDS
        while not all(self.swarm.services_inspected().has_converged(name) for name in names):
            if time.monotonic() > end:
                raise UserError("docker stack deploy", "what ran before is not back yet.", "Look: inv status")
            time.sleep(health.POLL_SECONDS)
