"""`inv doctor`: check all that `inv up` needs. Nothing is created, changed or pulled."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from airflow_docker import console, settings, shell
from airflow_docker.engines import Engine, choice
from airflow_docker.errors import FAILED, USAGE, UserError, guarded
from airflow_docker.findings import Check, Finding, ok, problem
from airflow_docker.settings import Settings
from airflow_docker.verbs.checks import machine, programs, project, remote

SECONDS = 5.0
"""How long one check may take."""
GRACE_SECONDS = 1.0
"""How much longer a check may take than its program, so that it can report that the program timed out."""
MARKS = {"ok": "✓", "warning": "!", "error": "✗", "skipped": "–"}  # noqa: RUF001


@dataclass(frozen=True)
class Result:
    """The name of a check, and its finding."""

    name: str
    finding: Finding


CHECKS = (
    Check("git", programs.git),
    Check("uv", programs.uv),
    Check("python", programs.python),
    Check("disk, BUILD_DIR", machine.build_disk),
    Check("disk, STATE_DIR", machine.state_disk),
    Check("disk, docker", machine.docker_disk, docker_only=True, asks_docker=True),
    Check("bind mounts", machine.bind_mounts, docker_only=True),
    Check("memory", machine.memory),
    Check("port", machine.port),
    Check("clock", machine.clock, asks_docker=True),
    Check("AIRFLOW_VERSION", project.airflow_version, asks_docker=True),
    Check("uid", project.uid),
    Check("folders", project.host_folders),
    Check("secrets", project.secrets),
    Check("BUILD_DIR", project.build_dir),
    Check("DAGS_DIR", project.dags),
    Check("ao-workflows", remote.workflows),
    Check("archive-ops", remote.archive_ops),
    Check("base image", remote.base_image, docker_only=True, asks_docker=True),
    Check("postgres image", remote.postgres_image, docker_only=True, asks_docker=True),
    Check("redis image", remote.redis_image, docker_only=True, asks_docker=True),
)


def report(*, as_json: bool) -> None:
    """Show the results. Raises UserError if something would stop `up`: exit code 2 for settings, else 1."""
    results = examine()
    wrong = [result.name for result in results if result.finding.state == "error"]
    if as_json:
        console.out(json.dumps({"ok": not wrong, "checks": [_as_json(result) for result in results]}, indent=2))
    else:
        _show(results)
    if wrong:
        code = USAGE if wrong == ["settings"] else FAILED
        raise UserError("inv doctor", f"not in order: {', '.join(wrong)}.", "Follow the remedies above.", code)


def examine() -> list[Result]:
    """Run every check that applies, in order; only that of the settings if they cannot be read."""
    try:
        current = settings.load()
    except UserError as error:
        return [Result("settings", problem(error))]
    try:
        with shell.within(SECONDS):
            engine, why = choice.decide(current)
    except UserError as error:
        return [Result("settings", _settings(current)), Result("engine", problem(error))]
    first = [Result("settings", _settings(current)), Result("engine", _engine(engine, why))]
    own = engine.checks()
    first += run(own[:1], current, engine)  # that of Docker, if the engine needs it
    is_docker_down = bool(own) and first[-1].finding.state == "error"
    chosen = [check for check in (*own[1:], *CHECKS) if not (check.docker_only and engine.name == "standalone")]
    rest = run([check for check in chosen if not (is_docker_down and check.asks_docker)], current, engine)
    by_name = {result.name: result for result in rest}
    skipped = Finding("skipped", "Docker does not answer.", "See the check of docker.")
    return first + [by_name.get(check.name, Result(check.name, skipped)) for check in chosen]


def run(checks: Sequence[Check], current: Settings, engine: Engine) -> list[Result]:
    """Run all ``checks`` at once. One that hangs is abandoned and reported; a bug in one is raised."""
    jobs = {check.name: _start_check(check, current, engine) for check in checks}
    wait(jobs.values(), SECONDS + GRACE_SECONDS)
    late = Finding("error", f"the check has not ended in {SECONDS:g} s.", "See whether a disk or a network hangs.")
    return [Result(name, job.result() if job.done() else late) for name, job in jobs.items()]


def _start_check(check: Check, current: Settings, engine: Engine) -> Future[Finding]:
    """Start a check in a thread that does not keep this program from ending."""
    job: Future[Finding] = Future()

    def work() -> None:
        try:
            with shell.within(SECONDS):
                job.set_result(guarded(check.function)(current, engine))
        except UserError as error:
            job.set_result(problem(error))
        except BaseException as defect:
            job.set_exception(defect)

    threading.Thread(target=work, daemon=True).start()
    return job


def _settings(current: Settings) -> Finding:
    if current.env_file.is_file():
        return ok(f"{current.env_file} and the environment")
    return ok(f"the environment alone; there is no {current.env_file}")


def _engine(engine: Engine, why: str) -> Finding:
    try:
        engine.require_fit()
        if engine.name == "standalone":  # the others have checks of their own for what they require
            engine.require()
    except UserError as error:
        return problem(error)
    return ok(f"{engine.name} ({why})")


def _as_json(result: Result) -> dict[str, Any]:
    finding = result.finding
    return {
        "name": result.name,
        "state": finding.state,
        "found": finding.detail,
        "remedy": finding.remedy or None,
    }


def _show(results: list[Result]) -> None:
    """The table, then the remedies. A skipped check needs none."""
    console.table(["check", "", "found"], [[r.name, MARKS[r.finding.state], r.finding.detail] for r in results])
    todo = [r for r in results if r.finding.state in ("warning", "error")]
    if todo:
        console.out("\nWhat to do:")
    for result in todo:
        console.out(f"{MARKS[result.finding.state]} {result.name}: {result.finding.remedy}")
