"""All settings, as a table or as JSON."""

from __future__ import annotations

import json

from airflow_docker import console
from airflow_docker.settings import Settings, names


def show(current: Settings, as_json: bool = False) -> None:
    """Every setting with value and source; secrets are masked."""
    values = gather(current)
    if as_json:
        console.out(json.dumps(values, indent=1))
    else:
        rows = [[name, entry["value"], entry["source"]] for name, entry in values.items()]
        console.table(["setting", "value", "from"], rows)


def gather(current: Settings) -> dict[str, dict[str, str]]:
    """Name -> value and source, with nothing secret in it."""
    rows = [(name, current.shown(name), current.sources[name]) for name in names()]
    rows += [(name, value, current.sources[name]) for name, value in sorted(current.airflow_options.items())]
    rows += [(name, str(value), "environment or .env") for name, value in current.secret_inputs.items()]
    return {name: {"value": value, "source": source} for name, value, source in rows}
