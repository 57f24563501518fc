"""The number of tries, and the table of figures at the end, for docs/reliability.md and docs/security.md."""

import os

import pytest
from stack.conftest import pytest_generate_tests  # noqa: F401  on each engine, as there

TRUST = "TRUST"
"""An environment variable: "full" runs all tries, anything else the short form that CI always runs."""


def count(full, short):
    """The number of tries."""
    return full if os.environ.get(TRUST) == "full" else short


@pytest.fixture
def figure(record_property):
    """``figure(what, number)`` records a figure for the table at the end; numbers of the same ``what`` are added."""
    return lambda what, seen: record_property("figure", (what, seen))


def pytest_terminal_summary(terminalreporter):
    figures: dict[str, float | str] = {}
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    for what, seen in [noted for report in reports for name, noted in report.user_properties if name == "figure"]:
        before = figures.get(what)
        figures[what] = before + seen if isinstance(before, (int, float)) else seen
    if figures:
        terminalreporter.section("what was tried")
        for what, seen in figures.items():
            terminalreporter.write_line(
                f"{what:60} {seen:g}" if isinstance(seen, (int, float)) else f"{what:60} {seen}"
            )
