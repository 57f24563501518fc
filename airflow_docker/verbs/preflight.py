"""What must hold before a verb does anything: each need, how it is checked, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_docker.engines import Engine


class Need(Enum):
    """A need, as the table in docs/concepts.md names it. The order is that of the checks."""

    OWN_STATE = "own STATE_DIR"
    ANSWER = "engine answers"
    ENGINE = "engine can run"
    FIT = "settings fit"
    UNDONE = "interrupted restore undone"
    WHOLE = "no interrupted upgrade"
    COMPATIBLE = "database not newer"
    SAME = "database of this version"
    ALONE = "no data on another engine"


CAN_RUN = (Need.ENGINE, Need.FIT)
START = (Need.OWN_STATE, Need.ANSWER, Need.UNDONE, Need.COMPATIBLE)
"""For `up`, which asks for CAN_RUN itself: what was started with the same settings has been found fit then."""


def check(engine: Engine, needs: Collection[Need]) -> None:
    """Raise UserError for the first need that does not hold. A restore that was interrupted is undone here."""
    checks = _checks()
    for need in Need:
        if need in needs:
            checks[need](engine)


def _checks() -> dict[Need, Callable[[Engine], None]]:
    from airflow_docker.database import db_version, replacement
    from airflow_docker.engines import choice, folders

    return {
        Need.OWN_STATE: lambda engine: folders.require_own_state(engine.settings),
        Need.ANSWER: lambda engine: engine.require_answer(),
        Need.ENGINE: lambda engine: engine.require(),
        Need.FIT: lambda engine: engine.require_fit(),
        Need.UNDONE: replacement.undo_interrupted,
        Need.WHOLE: db_version.require_whole,
        Need.COMPATIBLE: db_version.check_compatible,
        Need.SAME: db_version.require_same,
        Need.ALONE: choice.require_no_other_engine,
    }
