"""What compiling costs and saves: starts and commands on an image of ours, on the same one not compiled, and on it
with all of its modules compiled."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import Result, spent
from stack.conftest import TEST_IMAGES, ComposeProject, docker, until

from airflow_docker.engines.compose.engine import Compose

BUILD = Path(__file__).resolve().parent.parent / "tests" / "images" / "build"
BYTES = 150e6
"""What compiling may add."""
LIBRARIES = "/home/airflow/.local/lib"
NOT_COMPILED = f"RUN find {LIBRARIES} -name '*.pyc' -delete\n"
ALL_COMPILED = f"RUN python -m compileall -q --invalidation-mode unchecked-hash {LIBRARIES} || true\n"
READ = f"find {LIBRARIES} -type f -exec cat {{}} + > /dev/null"
"""A disk that is read for the first time is slow, and that is nobody's merit."""
SERVICES = ("webserver", "scheduler", "triggerer")


def base() -> str | None:
    """AIRFLOW_BASE_IMAGE; for what tests use in place of an official image the fuller one, with all its providers."""
    image = os.environ.get("AIRFLOW_BASE_IMAGE")
    if not image or not image.startswith(TEST_IMAGES):
        return image
    built = subprocess.run([str(BUILD), "full"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.search(r"AIRFLOW_FULL_IMAGE=(\S+)", built)[1]


@contextmanager
def variant(image: str, name: str, step: str) -> Iterator[str]:
    """The image with one step more."""
    tag = f"airflow-docker-bench/{name}-{os.getpid()}"  # not another run's
    command = ["docker", "build", "--quiet", "--tag", tag, "-"]
    subprocess.run(command, input=f"FROM {image}\n{step}", text=True, check=True, capture_output=True)
    try:
        yield tag
    finally:
        subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)


def compiled(
    project: ComposeProject, engine: Compose, inv: Callable[..., None], quietly: Callable[..., None], runs: int
) -> list[Result]:
    """Cold starts in turn, `airflow version` in what has been started, and the bytes."""
    with variant(engine.image, "bare", NOT_COMPILED) as bare, variant(engine.image, "all", ALL_COMPILED) as everything:
        times: dict[str, list[float]] = {name: [] for name in ("ours", bare, everything)}
        versions: dict[str, list[float]] = {name: [] for name in times}
        for image in (engine.image, bare, everything):
            docker("run", "--rm", "--network=none", "--entrypoint=bash", image, "-c", READ)
        for run in range(runs):
            for name in (*times, *times)[run % 3 : run % 3 + 3]:  # each is first once, second once, and last
                inv("down", "--volumes", "--yes")
                start = _start(project, engine.with_artifact(name), quietly) if name != "ours" else lambda: inv("up")
                times[name].append(spent(start).wall)
                command = ["docker", "exec", project.container("scheduler"), "airflow", "version"]
                versions[name].append(
                    statistics.median(spent(lambda command=command: quietly(*command)).wall for _ in range(3))
                )
        inv("down", "--volumes", "--yes")
    medians = {name: statistics.median(values) for name, values in times.items()}
    version = {name: statistics.median(values) for name, values in versions.items()}
    return [
        Result("up, cold", "docker compose up, nothing compiled", medians["ours"], medians[bare], 1.0, runs),
        Result("up, cold", "docker compose up, all compiled", medians["ours"], medians[everything], 1.1, runs),
        Result("airflow version, by docker exec", "nothing compiled", version["ours"], version[bare], 1.0, runs),
        Result("bytes that compiling adds", "150 MB", _bytes(engine.image), BYTES, 1.0, 1, "B"),
    ]


def _start(project: ComposeProject, engine: Compose, quietly: Callable[..., None]) -> Callable[[], None]:
    """Until all are healthy. What is not compiled may be unhealthy before, for which `--wait` gives up."""
    command = engine.command("up", "--detach", "--no-build", *SERVICES)

    def start() -> None:
        quietly(*command, env=project.environ | engine.environment())
        until(lambda: all(_is_healthy(project.container(service)) for service in SERVICES), 900)

    return start


def _is_healthy(container: str) -> bool:
    return docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"


def _bytes(image: str) -> int:
    """All compiled files: the base image has none."""
    command = f"find {LIBRARIES} -name '*.pyc' -printf '%s\\n' | paste -sd+ | xargs -I SUM bash -c 'echo $((SUM))'"
    return int(docker("run", "--rm", "--network=none", "--entrypoint=bash", image, "-c", command))
