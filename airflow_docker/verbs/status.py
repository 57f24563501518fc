"""`inv status`: services, DAGs, disk usage, as a table or as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_docker import console, files, secret_files
from airflow_docker.database import db_version
from airflow_docker.engines import Engine, ServiceState, crashes, folders, health, release
from airflow_docker.errors import FAILED, UserError, raise_all
from airflow_docker.sources import checkouts, repos
from airflow_docker.verbs import builds, first_parse

NOT_RUNNING = 3
"""The exit code when nothing runs, as in the init scripts of the Linux Standard Base."""
_DISK_SECONDS = 0.7
"""How long files are counted; a network mount with thousands of them is not waited for."""


def report(engine: Engine, *, as_json: bool) -> None:
    """Show the status. Raises UserError: exit code 3 if nothing runs, 1 if something is wrong."""
    status = gather(engine)
    if as_json:
        console.out(json.dumps(status, indent=2))
    else:
        _show(status)
    name = engine.settings.compose_project_name
    if status["state"] == "not running":
        raise UserError(name, "is not running.", "Type: inv up", NOT_RUNNING)
    if status["disk"]["full"]:
        raise_all(folders.full(engine.settings))
    db_version.check_compatible(engine)  # of other services than the settings name, none is looked for
    errors = [UserError(one["where"], one["what"], one["todo"]) for one in status["problems"]]
    if status["state"] == "unhealthy":
        errors.insert(0, UserError(name, "not all services are well.", "Type: inv up", FAILED))
    if _import_errors(status):
        errors.append(UserError(name, f"{_summary(status)}.", "Fix what is named above, then look again: inv dags"))
    raise_all(errors)


def gather(engine: Engine) -> dict[str, Any]:
    """The status, in the form that docs/daily.md describes."""
    settings = engine.settings
    with ThreadPoolExecutor() as pool:
        disk = pool.submit(_disk, engine)
        repositories = pool.submit(_repositories, engine)
        states = engine.states()
        verdict = health.current_verdict(engine, states)
        full = [error.where for error in folders.full(settings)]
        state = "healthy" if verdict.all_ready and not full else "unhealthy"
        dags, size = _dags(engine) if states else (None, None)
        build_record = builds.read_record(engine)
        return {
            "project": settings.compose_project_name,
            "engine": engine.name,
            "state": state if states else "not running",
            "address": release.address(settings),
            "problems": [_problem(e) for e in crashes.recent(engine, states)] if states else [],
            "services": [_service(s) for s in in_order(states, engine.services())],
            "built": {"name": build_record.get("artifact"), "at": build_record.get("built")} if build_record else None,
            "repositories": repositories.result(),
            "secrets": _secrets(engine),
            "dags": dags,
            "disk": {"database": size, **disk.result(), "full": full},
        }


def in_order(states: Sequence[ServiceState], services: Sequence[str]) -> list[ServiceState]:
    """Sorted in the order of start; services that the settings no longer have come last."""
    position = {service: number for number, service in enumerate(services)}
    return sorted(states, key=lambda state: (position.get(state.service, len(position)), state.service, state.number))


def _problem(error: UserError) -> dict[str, str]:
    return {"where": error.where, "what": error.what, "todo": error.todo}


def _service(state: ServiceState) -> dict[str, Any]:
    return {
        "name": state.service,
        "number": state.number,
        "state": state.state,
        "health": state.health or None,
        "since": state.started or None,
        "restarts": state.restarts,
        "exit_code": state.exit_code,
        "image": state.image or None,
        "image_id": state.image_id or None,
        "host": state.host or None,
        "reason": state.probe if state.health not in ("healthy", "") else None,
    }


def _repositories(engine: Engine) -> dict[str, Any]:
    """For each repository the commit of the last build and that of the checkout."""
    revisions = builds.read_record(engine).get("revisions", {})
    repositories = {}
    for source in repos.sources(engine.settings):
        built = revisions.get(source.name)
        try:
            head = checkouts.head(source)
            is_behind = built and built != head.commit
            behind = checkouts.commits_since(source, built) if is_behind else 0 if built else None
            repositories[source.name] = {"built": built, "checkout": head.commit, "behind": behind, "dirty": head.dirty}
        except UserError:  # no checkout yet
            repositories[source.name] = {"built": built, "checkout": None, "behind": None, "dirty": None}
    return repositories


def _secrets(engine: Engine) -> str:
    try:
        states = secret_files.check(engine.settings, engine.secret_owner)
    except (UserError, OSError):  # the latter where SECRETS_DIR is, as it should be, closed to who asks
        return "unusable"
    if all(s.problem == "missing" for s in states):
        return "missing"
    return "stale" if any(s.problem for s in states) else "fresh"


def _dags(engine: Engine) -> tuple[dict[str, Any] | None, int | None]:
    """DAGs, import errors and runs from the database, and its size; None if it cannot be queried."""
    since = (datetime.now(UTC) - timedelta(hours=24)).strftime("%Y-%m-%d %H:%M:%S+00:00")
    try:
        loaded, errors, runs, size = engine.database.queries(
            f"SELECT count(*) FROM dag WHERE {release.of(engine.settings).is_known}",  # noqa: S608
            first_parse.QUERY,
            f"SELECT state, count(*) FROM dag_run WHERE start_date > '{since}' GROUP BY state",  # noqa: S608
            engine.database.size_query,
        )
    except UserError:
        return None, None
    listed = first_parse.from_rows(errors, engine.settings.workflow_dev_dir / engine.settings.dags_dir)
    runs_by_state = {state: int(count) for state, count in sorted(runs)}
    return {"loaded": int(loaded[0][0]), "import_errors": listed, "runs_24h": runs_by_state}, int(size[0][0])


def _disk(engine: Engine) -> dict[str, int | None]:
    settings, end = engine.settings, time.monotonic() + _DISK_SECONDS
    return {"logs": files.size_of(settings.logs_dir, end), "build": files.size_of(settings.build_dir, end)}


def _import_errors(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    return parsed["dags"]["import_errors"] if parsed["dags"] else []


def _show(status: dict[str, Any]) -> None:
    console.out(f"{status['project']} ({status['engine']}): {_summary(status)}, {status['address']}")
    if services := status["services"]:
        labels = names([(s["name"], s["number"]) for s in services])
        rows = [_row(name, s) for name, s in zip(labels, services, strict=True)]
        where = "host" if any(s["host"] for s in services) else ""
        console.table(["service", "state", "health", "since", "restarts", where, ""], rows)
    console.out("")
    console.table(["", ""], [[name, value] for name, value in _facts(status) if value])


def _summary(status: dict[str, Any]) -> str:
    """The state in the first line: services that are healthy now may have crashed recently."""
    state = str(status["state"])
    if state == "healthy" and status["problems"]:
        state = f"running, with problems ({len(status['problems'])})"
    return ", ".join(filter(None, (state, first_parse.summary(_import_errors(status)))))


def names(services: Sequence[tuple[str, int]]) -> list[str]:
    """Labels of services, from name and number: ``worker-2`` if there are several, as in `inv logs`."""
    count = Counter(name for name, _ in services)
    return [f"{name}-{number}" if count[name] > 1 else name for name, number in services]


def _row(name: str, service: dict[str, Any]) -> list[str]:
    rest = [service[key] or "" for key in ("host", "reason")]
    return [name, service["state"], service["health"] or "", ago(service["since"]), str(service["restarts"]), *rest]


def _facts(status: dict[str, Any]) -> list[tuple[str, str]]:
    built, dags, disk = status["built"], status["dags"], status["disk"]
    facts = [("built", f"{built['name']}, {ago(built['at'])} ago" if built else "nothing yet")]
    facts += [(name, _repository(r)) for name, r in status["repositories"].items()]
    facts.append(("secrets", status["secrets"]))
    if dags:
        facts.append(("dags", f"{dags['loaded']} loaded, {len(dags['import_errors'])} import errors"))
        facts += [("", f"{first_parse.location(e)}: {e['error']}") for e in dags["import_errors"]]
        facts.append(("runs, 24 h", ", ".join(f"{n} {state}" for state, n in dags["runs_24h"].items()) or "none"))
    sizes = ", ".join(f"{name} {megabytes(size)}" for name, size in disk.items() if isinstance(size, int))
    return [*facts, ("disk", sizes)]


def _repository(repository: dict[str, Any]) -> str:
    if repository["checkout"] is None:
        return "no checkout yet: inv pull"
    parts = [repository["checkout"][:10]]
    if repository["dirty"]:
        parts.append("with local changes")
    if repository["behind"]:
        commits = "1 commit" if repository["behind"] == 1 else f"{repository['behind']} commits"
        parts.append(f"what was built is {commits} behind: inv build up")
    return ", ".join(parts)


def megabytes(size: int) -> str:
    """A size in bytes as text, in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def ago(stamp: str | None) -> str:
    """The time since ``stamp`` (ISO 8601, UTC), in the largest unit that fits."""
    if not stamp or stamp.startswith("0001"):
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp[:19] + "+00:00")).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(seconds, 0)} s"
