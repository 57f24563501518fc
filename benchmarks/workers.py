"""The time that N workers take for N times as many tasks, against the time of one: tasks that do nothing but sleep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from conftest import git
from measure import Result
from stack.conftest import ComposeProject
from trust.many import Many

from airflow_docker import PROJECT

COUNTS = (1, 2, 4)
AT_ONCE = 2  # tasks per worker: what is measured is how they are handed out, and not how many cores there are
SECONDS = 30.0  # so long that the start of a task, some seconds of a core, does not count for much
ROUNDS = 4  # tasks one after the other in each place
LIMIT = 1 / 0.9
_END_SECONDS = 900.0  # seconds for one measurement


def scaling(folder: Path, images: dict[str, str], quietly: Callable[..., None]) -> list[Result]:
    """One stack, whose workers become more by `inv scale`; from the start of the first task to the end of the last."""
    project = ComposeProject(
        folder / "workers", **images, AIRFLOW_IMAGE="airflow-docker-bench/workers", EXECUTOR="CeleryExecutor",
        AIRFLOW__CELERY__WORKER_CONCURRENCY=str(AT_ONCE),
    )  # fmt: skip
    dags = project.folder / "remotes/ao-workflows"
    (dags / project.settings.dags_dir / "sample_sync.py").write_text("# its sensor would take one of the places\n")
    git(dags, "commit", "--quiet", "--all", "--message", "no sample")

    def inv(*args: str) -> None:
        command = [sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT), *args]
        quietly(*command, env=project.environ)

    try:
        inv("up")
        one_worker, *more = [_measure(project, inv, workers) for workers in COUNTS]
        return [
            Result(f"{workers} workers, {workers} times the tasks", "1 worker", seconds, one_worker, LIMIT, 1)
            for workers, seconds in zip(COUNTS[1:], more, strict=True)
        ]
    finally:
        project.remove()


def _measure(project: ComposeProject, inv: Callable[..., None], workers: int) -> float:
    """Seconds from the first start to the last end, as the database has them."""
    inv("scale", str(workers))
    name = f"sleep{workers}"
    many = Many(project, tasks=workers * AT_ONCE * ROUNDS, seconds=SECONDS, at_once=64, name=name)
    many.deploy()
    many.begin(name)
    if many.wait_for_end(name, _END_SECONDS) != "success":
        sys.exit(f"{name}: not all tasks have succeeded")
    query = "select extract(epoch from max(end_date) - min(start_date)) from task_instance"
    return float(project.sql(f"{query} where run_id = '{name}'"))
