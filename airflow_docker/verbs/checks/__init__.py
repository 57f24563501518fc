"""What `inv doctor` looks at: small functions of (settings, engine) that change nothing, each with one finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_docker.errors import UserError

State = Literal["ok", "warning", "error", "skipped"]


@dataclass(frozen=True)
class Finding:
    """How a thing is: an ``error`` would stop `inv up`. Whatever is not ok has a ``remedy``."""

    state: State
    detail: str
    remedy: str = ""


def ok(detail: str) -> Finding:
    return Finding("ok", detail)


def problem(error: UserError, state: State = "error") -> Finding:
    """What an error says, as a finding."""
    from airflow_docker.errors import UserErrors

    return problems(error.errors if isinstance(error, UserErrors) else [error], state)


def problems(errors: Sequence[UserError], state: State = "error") -> Finding:
    """What several errors say, as one finding; a remedy that several share is given once."""
    remedies = dict.fromkeys(error.todo for error in errors if error.todo)
    return Finding(state, " ".join(f"{e.where}: {e.what}" for e in errors), " ".join(remedies) or "Fix that.")
