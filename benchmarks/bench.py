"""What this costs against doing it by hand or the old way: python benchmarks/bench.py [--json] [--only WORD,WORD]

Needs a Docker engine. The images are taken from AIRFLOW_BASE_IMAGE, POSTGRES_IMAGE and REDIS_IMAGE; the base
image that tests use is replaced by the fuller one, see images.py.
Each line is a ratio of medians taken in turn in one run; absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests"), str(HERE)]

import images  # noqa: E402
import standalone_up  # noqa: E402
import workers  # noqa: E402
from conftest import git  # noqa: E402
from measure import Result, compare, processor  # noqa: E402
from stack.conftest import ComposeProject, docker  # noqa: E402

from airflow_docker import PROJECT, console, project_state  # noqa: E402
from airflow_docker.engines.compose.engine import Compose  # noqa: E402

# The requirements of buda-base/ao-workflows, a set that moves boto3 in the base image.
REAL = "bdrc-bag==0.0.8a\nboto3~=1.21.21\nbdrc-volume-manifest-builder>=1.2.6\nbdrc-util>=1.0.11\nbotocore~=1.24.21\npyyaml\n"
REQUIREMENTS = "airflow-docker/StagingGlacierProcess-requirements.txt"
LATENCY = 0.3  # seconds
LONGEST = 120  # seconds that the old way gets to fail in
AIRFLOW_3 = "3.3.2"


def quietly(*args: str, env: dict[str, str] | None = None, fails: bool = False, cwd: Path | None = None) -> None:
    """Run to the end without a word; a failure that is not expected ends the benchmark."""
    try:
        result = subprocess.run(
            args, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=LONGEST if fails else None
        )
    except subprocess.TimeoutExpired:
        return
    if bool(result.returncode) != fails:
        sys.exit(f"{args}: exit code {result.returncode}\n{result.stdout}{result.stderr}")


class Bench:
    """A project with the real requirements, an empty tasks.py, and the old way's build folder."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder, self.runs = folder, runs
        self.images = {name: os.environ[name] for name in ("POSTGRES_IMAGE", "REDIS_IMAGE") if name in os.environ}
        if base := images.base():
            self.images["AIRFLOW_BASE_IMAGE"] = base
        self.project = ComposeProject(folder / "project", **self.images, AIRFLOW_IMAGE="airflow-docker-bench/ours")
        (self.project.folder / "remotes/ao-workflows" / REQUIREMENTS).write_text(REAL)
        git(self.project.folder / "remotes/ao-workflows", "commit", "--quiet", "--all", "--message", "real")
        (folder / "empty").mkdir()
        (folder / "empty" / "tasks.py").write_text("from invoke import task\n\n\n@task\ndef x(c):\n    pass\n")
        self.number = 0

    # --- the parts ---

    def inv(self, *args: str, fails: bool = False) -> None:
        command = [sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT), *args]
        quietly(*command, env=self.project.environ, fails=fails)

    def start(self) -> None:
        """What Invoke itself costs."""
        quietly(
            sys.executable,
            "-m",
            "invoke",
            "--search-root",
            str(self.folder / "empty"),
            "--list",
            cwd=self.folder / "empty",
        )

    def engine(self) -> Compose:
        settings = self.project.settings
        return Compose(settings, project_state.read(settings, "compose").build["artifact"])

    def compose(self, *args: str) -> None:
        quietly(*self.engine().command(*args), env=self.project.environ | self.engine().environment())

    def cached_build(self) -> None:
        overlay = self.project.settings.build_dir / "compose.build.yaml"
        env = self.project.environ | self.engine().environment() | {"AIRFLOW_DOCKER_PACKAGE_INDEX": ""}
        quietly(*self.engine().build_command(overlay), env=env)

    def old_way(self, version: str = "2.11.2", fails: bool = False) -> None:
        """The plain Dockerfile over the same scripts and requirements."""
        context, settings = self.folder / "old", self.project.settings
        shutil.rmtree(context, ignore_errors=True)
        shutil.copytree(settings.build_dir / "bin", context / "bin")
        shutil.copy(HERE / "old_way" / "Dockerfile", context)
        sync = (settings.build_dir / "bin" / "sync-requirements.txt").read_text()
        (context / "requirements.txt").write_text((settings.workflow_dev_dir / REQUIREMENTS).read_text() + sync)
        quietly(
            "docker", "build", "--no-cache", "--tag", "airflow-docker-bench/old",
            "--build-arg", f"AIRFLOW_BASE_IMAGE={settings.airflow_base_image}", "--build-arg", f"AIRFLOW_VERSION={version}",
            "--secret", f"id=ca,src={settings.extra_ca_bundle or '/dev/null'}", str(context), fails=fails,
        )  # fmt: skip

    def edit(self, file: Path, line: str) -> None:
        """Add a line that was never there before."""
        self.number += 1
        with file.open("a") as target:
            target.write(line.format(self.number) + "\n")

    # --- the comparisons ---

    def list_verbs(self) -> None:
        quietly(sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT), "--list")

    def listing(self) -> Result:
        return compare("inv --list", "an empty tasks.py", self.list_verbs, [self.start], 1.15, self.runs * 4)

    def of_processor(self) -> list[Result]:
        """What each verb takes itself where there is nothing to do."""
        settings = self.project.settings
        fetches = [lambda folder=folder: quietly("git", "-C", str(folder), "fetch", "--quiet")
                   for folder in (settings.workflow_dev_dir, settings.ao_dev_dir)]  # fmt: skip
        self.inv("up")
        base, runs = ("inv --list", self.list_verbs), self.runs * 4
        return [
            processor("build, nothing new", lambda: self.inv("build"), base, 2.0, runs),
            processor("pull, nothing new, without git's fetch", lambda: self.inv("pull"), base, 2.0, runs, fetches),
            processor("up, all is up", lambda: self.inv("up"), base, 3.5, runs),
            processor("status", lambda: self.inv("status"), base, 3.5, runs),
        ]

    def no_op_build(self) -> Result:
        return compare("build, nothing new", "start + cached compose build", lambda: self.inv("build"),
                       [self.start, self.cached_build], 1.0, self.runs * 3)  # fmt: skip

    def script(self) -> Result:
        file = self.project.settings.ao_dev_dir / "scripts/syncAnywhere/syncOneWork.sh"
        before = file.read_text()
        result = compare("build, one script changed", "the old way", lambda: self.inv("build"), [self.old_way], 1 / 20,
                         self.runs, before_ours=lambda: self.edit(file, "# {}"))  # fmt: skip
        file.write_text(before)  # a pull refuses local changes
        return result

    def requirement(self) -> Result:
        file = self.project.settings.workflow_dev_dir / REQUIREMENTS
        packages = iter(
            ["pyfiglet", "xmltodict==0.13.0", "inflection", "pycowsay", "roman", "num2words", "ftfy", "emoji"]
        )
        add = lambda: self.edit(file, next(packages))  # noqa: E731
        result = compare("build, one requirement added", "the old way", lambda: self.inv("build"), [self.old_way], 1 / 5,
                         self.runs, before_ours=add)  # fmt: skip
        file.write_text(REAL)
        return result

    def size(self) -> Result:
        """Bytes of our layers against the files that they had to add."""
        self.inv("build")
        name, base = self.engine().image, self.project.settings.airflow_base_image
        sizes = [int(docker("image", "inspect", "--format", "{{.Size}}", image)) for image in (name, base)]
        listed = [set(docker("run", "--rm", "--network=none", "--user=0:0", "--entrypoint=bash", image, "-c",
                             "find / -xdev -type f -printf '%s %i %p\\n' | sed 's/ [0-9]* / /'").splitlines())
                  for image in (name, base)]  # fmt: skip
        added = sum(int(line.split()[0]) for line in listed[0] - listed[1] if " /home/airflow/" in line)
        return Result(
            "bytes added to the image", "packages, compiled modules, scripts", sizes[0] - sizes[1], added, 1.10, 1, "B"
        )

    def conflict(self) -> Result:
        """The real requirements with Airflow 3, which they exclude through SQLAlchemy."""
        # The resolver asks an image for no more than its Airflow, Python, platform and packages.
        text = f"FROM {self.project.settings.airflow_base_image}\nLABEL org.apache.airflow.version={AIRFLOW_3}\n"
        command = ["docker", "build", "--quiet", "--tag", "airflow-docker-bench/three", "-"]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        before = dict(self.project.values)
        self.project.set(AIRFLOW_VERSION=AIRFLOW_3, AIRFLOW_BASE_IMAGE="airflow-docker-bench/three")
        result = compare("conflict explained", f"the failing build, ended after {LONGEST} s",
                         lambda: self.inv("build", fails=True), [lambda: self.old_way(AIRFLOW_3, fails=True)],
                         0.25, 1)  # fmt: skip
        self.project.values = before
        self.project.set()
        return result

    def pull(self) -> Result:
        with git_server(self.project.folder / "remotes") as address:
            settings = {"AO_WORKFLOWS_URL": f"{address}/ao-workflows/.git", "ARCHIVE_OPS_URL": f"{address}/archive-ops/.git",
                        "WORKFLOW_DEV_DIR": "slow/ao-workflows", "AO_DEV_DIR": "slow/archive-ops"}  # fmt: skip
            before = dict(self.project.values)
            self.project.set(**settings)
            self.inv("pull")
            fetches = [lambda name=name: quietly("git", "-C", str(self.project.folder / "slow" / name), "fetch", "--quiet")
                       for name in ("ao-workflows", "archive-ops")]  # fmt: skip
            result = compare("pull, nothing new, 300 ms away", "start + the slower git fetch", lambda: self.inv("pull"),
                             [self.start, *fetches], 1.2, self.runs * 2,
                             combine=lambda parts: parts[0] + max(parts[1:]), has_processor=False)  # fmt: skip
            self.project.values = before
            self.project.set()
            return result

    def cold_up(self) -> Result:
        down = lambda: self.inv("down", "--volumes", "--yes")  # noqa: E731
        self.inv("up")
        return compare("up, cold", "docker compose up --wait", lambda: self.inv("up"),
                       [lambda: self.compose("up", "--detach", "--no-build", "--wait", "webserver", "scheduler", "triggerer")],
                       1.10, self.runs, before_ours=down, before_theirs=down)  # fmt: skip

    def compiled(self) -> list[Result]:
        return images.compiled(self.project, self.engine(), self.inv, quietly, self.runs)

    def warm_standalone(self) -> Result:
        return standalone_up.warm_up(self.folder, self.runs, quietly)

    def workers(self) -> list[Result]:
        return workers.scaling(self.folder, self.images, quietly)

    def warm_up(self) -> Result:
        self.inv("up")
        return compare("up, all is up", "start + docker compose ps", lambda: self.inv("up"),
                       [self.start, lambda: self.compose("ps")], 2.0, self.runs * 3)  # fmt: skip


@contextmanager
def git_server(folder: Path) -> Iterator[str]:
    """Repositories over HTTP on loopback, each request answered after LATENCY."""
    backend = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            time.sleep(LATENCY)
            path, _, query = self.path.partition("?")
            length = self.headers.get("Content-Length", "0")
            environ = {**os.environ, "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                       "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": length,
                       "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                       "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                       "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", "")}  # fmt: skip
            body = self.rfile.read(int(length))
            output = subprocess.run(
                [f"{backend}/git-http-backend"], env=environ, input=body, capture_output=True
            ).stdout
            head, _, content = output.partition(b"\r\n\r\n")
            self.send_response(200)
            for line in head.decode().splitlines():
                self.send_header(*line.split(": ", 1))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> int:
    """Measure all, or what --only names; print a table or JSON. Exit code 1 if a limit is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or else all of ours is compiled at each start, and Invoke is not
    with tempfile.TemporaryDirectory(prefix="airflow-docker-bench-") as folder:
        bench = Bench(Path(folder), options.runs)
        try:
            sides: list[Callable[[], Result | list[Result]]] = [
                bench.listing, bench.no_op_build, bench.script, bench.requirement, bench.size, bench.conflict,
                bench.pull, bench.cold_up, bench.compiled, bench.warm_up, bench.of_processor, bench.warm_standalone,
                bench.workers,
            ]  # fmt: skip
            with_own_project: list[Callable[..., object]] = [bench.warm_standalone, bench.workers]
            results: list[Result] = []
            chosen = [side for side in sides if any(word in side.__name__ for word in options.only.split(","))]
            if not all(side in with_own_project for side in chosen):
                bench.inv("pull", "secrets", "build")
            for side in chosen:
                console.say(f"· measuring {side.__name__} …")
                measured = side()
                new = measured if isinstance(measured, list) else [measured]
                for result in new:  # what follows may fail
                    console.say("  " + " | ".join(row(result)))
                results += new
        finally:
            bench.project.remove()
            subprocess.run(
                ["docker", "image", "rm", "airflow-docker-bench/old", "airflow-docker-bench/three"],
                capture_output=True,
                check=False,
            )
    show(results, options.json)
    return 0 if all(result.reached for result in results) else 1


def show(results: list[Result], as_json: bool) -> None:
    """The table, or JSON, on standard output."""
    if as_json:
        console.out(json.dumps([{**vars(r), "ratio": r.ratio, "reached": r.reached} for r in results], indent=1))
        return
    console.table(
        ["what", "against", "ours", "theirs", "ratio", "at most", "processor", "runs", ""],
        [row(result) for result in results],
    )


def row(result: Result) -> list[str]:
    """A line of the table."""
    ours, theirs = (
        f"{value:.2f} s" if result.unit == "s" else f"{value / 1e6:.2f} MB" for value in (result.ours, result.theirs)
    )
    return [
        result.name, result.against, ours, theirs, f"{result.ratio:.3f}", f"{result.limit:.3g}",
        " : ".join(f"{seconds:.2f} s" for seconds in result.processor or ()), str(result.runs),
        "reached" if result.reached else "NOT reached",
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
