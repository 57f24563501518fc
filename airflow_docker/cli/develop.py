"""Verbs for work on airflow-docker itself."""

from __future__ import annotations

from airflow_docker.cli.verb import verb
from airflow_docker.errors import USAGE, UserError


@verb(
    "Develop",
    help={
        "only": "a folder or file under tests/",
        "k": "only tests whose name matches",
        "quick": "only the unit tests",
        "all": "every test, on every engine, as in CI",
        "trust": "only the tests of bad input, kills, faults, load and leaks, in full",
    },
)
def test(only: str = "", k: str = "", quick: bool = False, all: bool = False, trust: bool = False) -> None:
    """Run the unit tests, and the demo on each engine that is there."""
    from airflow_docker.verbs import development

    chosen = [name for name, is_set in (("quick", quick), ("all", all), ("trust", trust)) if is_set]
    if len(chosen) > 1:
        raise UserError(f"--{chosen[1]}", f"cannot go with --{chosen[0]}.", "Type one of them.", USAGE)
    development.test(only, k, chosen[0] if chosen else "")


@verb(
    "Develop",
    help={"only": "only lines with one of these words in their name: cold_up,workers", "json": "as JSON"},
)
def bench(only: str = "", json: bool = False) -> None:
    """Measure ratios against doing it by hand and the old way."""
    from airflow_docker.verbs import development

    development.bench(only, json)


@verb("Develop")
def lint() -> None:
    """Check style, types and spelling."""
    from airflow_docker.verbs import development

    development.lint()
