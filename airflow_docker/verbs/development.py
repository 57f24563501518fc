"""The verbs for those who work on this project itself."""

from __future__ import annotations

import sys

from airflow_docker import PROJECT, console, files, scrubbed_env, shell
from airflow_docker.errors import UserError
from airflow_docker.requirements import indexes, resolver

TOOLS = PROJECT / "requirements-dev.txt"
FOLDERS = {
    "quick": ["tests/unit"],
    "": ["tests/unit", "tests/stack/test_demo.py"],
    "all": [],
    "trust": ["tests/trust", "tests/job", "tests/stack/test_base_images.py"],
}
"""What each kind of `inv test` runs, below the folder of the project."""


def test(only: str, k: str, kind: str) -> None:
    """Run pytest; its exit code is ours. Needs nothing installed but what `./inv` installs.

    ``kind`` is one of :data:`FOLDERS`. Where CI=true in the environment the usual kind is "all". Tests run two at a
    time, in the groups of tests/conftest.py; those of "trust" and what ``only`` and ``k`` select, one at a time.
    """
    _install_tools()
    environ = scrubbed_env.original()
    is_chosen = bool(only or k)
    if not kind and (is_chosen or environ.get("CI") == "true"):
        kind = "all"
    if not kind:
        console.say("· Running the unit tests, and the demo's job on each engine that is here")
    folders = [only] if only else FOLDERS[kind]
    processes = [] if is_chosen or kind == "trust" else ["--numprocesses=2", "--dist=loadgroup"]
    selected = ["-k", k] if k else []
    _run(
        [sys.executable, "-m", "pytest", *processes, *folders, *selected], {"TRUST": "full"} if kind == "trust" else {}
    )
    if not kind:
        console.say("· Left out: all that starts other stacks (failures, backup, upgrade, several hosts, the web UI).")
        console.say("  To run every test, which takes about an hour: inv test --all")


def lint() -> None:
    """Run ruff, mypy and codespell."""
    _install_tools()
    _run([sys.executable, "-m", "ruff", "check", "."])
    _run([sys.executable, "-m", "ruff", "format", "--check", "."])
    _run([sys.executable, "-m", "mypy"])
    _run([sys.executable, "-m", "codespell_lib"])


def _run(args: list[str], env: dict[str, str] | None = None) -> None:
    code = shell.stream(args, env=scrubbed_env.original() | (env or {}), cwd=PROJECT)
    if code:
        raise UserError(shell.show(args[1:]), f"ended with exit code {code}.", "", code)


def _install_tools() -> None:
    """Put the pinned tools into the environment this runs in, if they are not there yet."""
    from pathlib import Path

    stamp = Path(sys.prefix, ".requirements-dev.txt")
    if stamp.is_file() and stamp.read_bytes() == TOOLS.read_bytes():
        return
    with console.step("Installing the test tools"):
        command = [resolver.uv(), "pip", "install", "--quiet", "--require-hashes", "--python", sys.executable]
        result = shell.capture(
            [*command, "--requirement", str(TOOLS)], env=scrubbed_env.original() | indexes.variables()
        )
        if result.returncode:
            raise UserError("requirements-dev.txt", f"cannot be installed.\n{result.stderr.strip()}\n", "Try again.")
    files.write(stamp, TOOLS.read_bytes())


def bench(only: str, as_json: bool) -> None:
    """Run the benchmark."""
    _install_tools()
    chosen = [*(["--json"] if as_json else []), *(["--only", only] if only else [])]
    _run([sys.executable, "benchmarks/bench.py", *chosen])
