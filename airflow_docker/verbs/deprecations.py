"""What the DAGs use that a newer Airflow has removed or deprecated, by ruff's AIR rules. Nothing is changed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import console, shell
from airflow_docker.errors import UserError

_COMPLETED = (0, 1)
"""ruff's exit codes without and with violations; 2 is a failure."""


@dataclass(frozen=True)
class Deprecation:
    """A violation: ``file:line``, the rule (https://docs.astral.sh/ruff/rules/#airflow-air), and its message."""

    location: str
    rule: str
    message: str


def command(folder: Path, python: str) -> list[str]:
    """Checks every file for Python ``3.11``. AIR001, on names of variables, is a matter of taste."""
    options = ["--isolated", "--no-cache", "--no-respect-gitignore", "--select", "AIR", "--ignore", "AIR001"]
    target = f"py{python.replace('.', '')}"
    return [sys.executable, "-m", "ruff", "check", *options, "--output-format", "json", "--target-version", target,
            str(folder)]  # fmt: skip


def find_deprecations(folder: Path, python: str) -> list[Deprecation]:
    """All violations, by file and line. Raises UserError if ruff fails."""
    result = shell.capture(command(folder, python))
    if result.returncode not in _COMPLETED:
        last_line = (result.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError("ruff", f"cannot look for deprecations ({last_line}).", "Try it by hand.")
    deprecations = [item for item in json.loads(result.stdout) if str(item["code"]).startswith("AIR")]
    deprecations.sort(key=lambda item: (item["filename"], item["location"]["row"], item["location"]["column"]))
    return [
        Deprecation(
            f"{os.path.relpath(item['filename'], folder)}:{item['location']['row']}", item["code"], item["message"]
        )
        for item in deprecations
    ]


def report(folder: Path, python: str, version: str) -> None:
    """Print them on standard error, if there are rules for this Airflow version. They do not stop an upgrade."""
    if version.startswith("2."):  # the rules are on what Airflow 3 has changed
        return
    try:
        deprecations = find_deprecations(folder, python)
    except UserError as error:
        console.warn(error.text)
        return
    if not deprecations:
        console.done("The DAGs use nothing that is known to be deprecated")
        return
    console.warn("The DAGs use what Airflow has moved or removed. This does not stop the upgrade:")
    console.table(
        ["DAG file", "rule", "what"],
        [[item.location, item.rule, item.message] for item in deprecations],
        on_stderr=True,
    )
