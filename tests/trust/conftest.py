"""How much is tried, and the table of figures at the end: those of docs/reliability.md and docs/security.md."""

import os

import pytest
from stack.conftest import pytest_generate_tests  # noqa: F401  on each engine, as there

TRUST = "TRUST"
"""An environment variable: "full" tries everything, anything else the shorter form that CI runs each time."""
_figures: dict[str, float | str] = {}


def count(full, short):
    """How many times to try."""
    return full if os.environ.get(TRUST) == "full" else short


@pytest.fixture
def figure():
    """``figure(what, number)`` notes what was seen; the same ``what`` again adds up. Shown when all has run."""

    def note(what: str, seen: float | str) -> None:
        before = _figures.get(what)
        _figures[what] = before + seen if isinstance(before, (int, float)) else seen

    return note


def pytest_terminal_summary(terminalreporter):
    if _figures:
        terminalreporter.section("what was tried")
        for what, seen in _figures.items():
            terminalreporter.write_line(
                f"{what:60} {seen:g}" if isinstance(seen, (int, float)) else f"{what:60} {seen}"
            )
