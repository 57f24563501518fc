"""What `inv doctor` looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from airflow_docker.errors import UserError, UserErrors

State = Literal["ok", "warning", "error", "skipped"]


@dataclass(frozen=True)
class Finding:
    """How a thing is: an ``error`` would stop `inv up`. Whatever is not ok has a ``remedy``."""

    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One check: a function of settings and engine that changes nothing.

    ``asks_docker`` if it needs an answer of Docker, ``docker_only`` if it is for engines that run containers.
    """

    name: str
    function: Callable[[Any, Any], Finding]
    docker_only: bool = False
    asks_docker: bool = False


def ok(detail: str) -> Finding:
    """A finding of what is as it should be."""
    return Finding("ok", detail)


def problem(error: UserError, state: State = "error") -> Finding:
    """What an error says, as a finding."""
    return problems(error.errors if isinstance(error, UserErrors) else [error], state)


def problems(errors: Sequence[UserError], state: State = "error") -> Finding:
    """What several errors say, as one finding; a remedy that several share is given once."""
    remedies = dict.fromkeys(error.todo for error in errors if error.todo)
    return Finding(state, " ".join(f"{e.where}: {e.what}" for e in errors), " ".join(remedies) or "Fix that.")
