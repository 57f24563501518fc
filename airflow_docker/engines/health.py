"""Waiting until all services are healthy, and giving up at once when one of them cannot become so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_docker import console
from airflow_docker.engines import Engine, ServiceState, crashes
from airflow_docker.errors import UserError

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Verdict:
    """``ready`` and ``waiting`` are services; ``failed`` is the first that cannot become ready, ``reason`` why."""

    ready: tuple[str, ...]
    waiting: tuple[str, ...]
    failed: ServiceState | None = None
    reason: str = ""

    @property
    def all_ready(self) -> bool:
        return not self.waiting and self.failed is None


def judge(
    states: Sequence[ServiceState], services: Sequence[str], one_shot: Sequence[str], before: dict[str, ServiceState]
) -> Verdict:
    """What the states mean. ``before`` maps containers that existed already to their states then."""
    ready: list[str] = []
    waiting: list[str] = []
    for service in services:
        matching = [state for state in states if state.service == service]
        for state in matching:
            if reason := _failure(state, service in one_shot, before):
                return Verdict(tuple(ready), (), state, reason)
        if matching and all(_is_ready(state, service in one_shot) for state in matching):
            ready.append(service)
        else:
            waiting.append(service)
    return Verdict(tuple(ready), tuple(waiting))


def current_verdict(engine: Engine, states: Sequence[ServiceState]) -> Verdict:
    """What the states mean at this moment; earlier restarts do not count."""
    return judge(states, engine.services(), engine.one_shot, {state.container: state for state in states})


def describe_problems(engine: Engine) -> str:
    """What is not healthy at this moment, as text; empty if all is."""
    states = engine.states()
    if not states:
        return "nothing runs"
    verdict = current_verdict(engine, states)
    if verdict.failed:
        return f"{verdict.failed.service} {verdict.reason}"
    return " and ".join(f"{service} is not ready" for service in verdict.waiting)


def _is_ready(state: ServiceState, one_shot: bool) -> bool:
    if one_shot:
        return state.state == "exited" and state.exit_code == 0
    return state.state == "running" and state.health in ("healthy", "")


def _failure(state: ServiceState, one_shot: bool, before: dict[str, ServiceState]) -> str:
    """Why this service cannot become ready, or nothing."""
    if state.state in ("exited", "dead") and (state.exit_code or not one_shot):
        return f"has ended with exit code {state.exit_code}"
    is_new = state.container not in before
    earlier = 0 if is_new else before[state.container].restarts  # earlier restarts do not count
    if state.restarts > earlier or (state.state == "restarting" and is_new):
        return f"crashes (exit code {state.exit_code}) and is started again and again"
    if state.health == "unhealthy":
        return f"is unhealthy ({state.probe or 'its health check printed nothing'})"
    return ""


def wait(
    engine: Engine, *, timeout: float, before: dict[str, ServiceState], is_done: Callable[[], bool],
    only: Sequence[str] = (),
) -> None:  # fmt: skip
    """Return when all services, or those in ``only``, are ready; print each as it becomes ready.

    ``timeout`` is in seconds. ``is_done`` returns True when the engine has finished its part, and
    may raise; until then a container of ``before`` does not count, as it may yet be replaced.
    Raises UserError as soon as a service has failed, or when time is up; its last log lines are shown.
    """
    began = time.monotonic()
    services = only or engine.services()
    announced: set[str] = set()
    is_rebased = False
    while True:
        is_settled = is_done()
        current = engine.states()
        if is_settled and not is_rebased:  # what crashed because another service was missing has that now
            before = before | {s.container: s for s in current if s.container in before}
            is_rebased = True
        states = current if is_settled else [s.forgiven(before) for s in current if not s.has_not_started_since(before)]
        verdict = judge(states, services, engine.one_shot, before)
        for service in [s for s in verdict.ready if s not in announced]:
            announced.add(service)
            outcome = "has done its work" if service in engine.one_shot else "is healthy"
            console.done(f"{service} {outcome} ({time.monotonic() - began:.1f} s)")
        if verdict.failed:
            raise error(engine, verdict.failed, verdict.reason)
        if verdict.all_ready and is_settled:
            return
        if time.monotonic() - began > timeout:
            raise _late(engine, verdict.waiting, timeout)
        time.sleep(POLL_SECONDS)


def error(engine: Engine, state: ServiceState, reason: str) -> UserError:
    """The error for a service at fault, after its last lines have been shown."""
    lines = engine.last_lines(state.container)
    console.say(f"--- the last lines of {state.service} ---\n{lines or '(no output)'}\n---")
    what = " ".join([f"the service {reason}.", *crashes.of_failed(engine, state)])
    return UserError(state.service, what, f"Read on: inv logs {state.service}")


def _late(engine: Engine, waiting: Sequence[str], timeout: float) -> UserError:
    matching = [state for state in engine.states() if state.service == waiting[0]]
    state = next((s for s in matching if not _is_ready(s, s.service in engine.one_shot)), None)
    if state is None:
        return UserError(
            waiting[0], f"was not started within {timeout:g} s.", "Give it more time: inv up --timeout 900"
        )
    condition = ", ".join(filter(None, (state.state, state.health, state.probe)))
    return error(
        engine, state, f"is not healthy after {timeout:g} s (it is {condition}); also waiting: {len(waiting) - 1}"
    )
