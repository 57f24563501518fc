"""Verbs that check settings and machine, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_docker.cli.verb import verb

if TYPE_CHECKING:
    from airflow_docker.settings import Settings


@verb("Check", help={"json": "as JSON"})
def config(settings: Settings, json: bool = False) -> None:
    """Show every setting with its value and where it comes from."""
    from airflow_docker.verbs import config as config_verb

    config_verb.show(settings, json)


@verb("Check", help={"json": "as JSON, on standard output"})
def doctor(json: bool = False) -> None:
    """Check all that `up` needs; change nothing (exit code 1: something is wrong)."""
    from airflow_docker.verbs import doctor as doctor_verb

    doctor_verb.report(as_json=json)
