"""uv, asked for the versions that satisfy a set of requirements, for the image's Python and platform."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import shell
from airflow_docker.errors import UserError
from airflow_docker.requirements import indexes
from airflow_docker.requirements.platforms import Platform
from airflow_docker.requirements.requirement_files import Requirement
from airflow_docker.settings import Settings

# Docker's architecture names -> uv's target platforms; the official image is Debian 12 with glibc 2.36.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
_NO_SOLUTION = 1
"""uv's exit code for requirements that exclude each other; 2 is any other failure."""
CA_BUNDLE = "ca-bundle.pem"
"""Certificates for uv, in the folder that the resolver works in."""


@dataclass(frozen=True)
class Target:
    """What is resolved for: an Airflow that does not move, a Python ``3.11``, a platform of uv (nothing: this one)."""

    airflow_version: str
    python: str
    platform: str

    @property
    def root(self) -> str:
        return f"apache-airflow=={self.airflow_version}"

    @property
    def companions(self) -> list[str]:
        """What this Airflow does not bring along: from 3 on, users with passwords."""
        return [] if self.airflow_version.startswith("2.") else ["apache-airflow-providers-fab"]


def target_of(base: Platform) -> Target:
    """The target that a platform is. Raises UserError for an architecture that nothing is made for."""
    if not base.architecture:
        return Target(base.airflow_version, base.python, "")
    if base.architecture not in PLATFORMS:
        raise UserError(base.name, f"is made for {base.architecture}.", f"Name one for {' or '.join(PLATFORMS)}.")
    return Target(base.airflow_version, base.python, PLATFORMS[base.architecture])


def compile_command(target: Target, inputs: Path, constraints: list[str], output: Path) -> list[str]:
    """The resolution; what ``output`` already pins is kept where the inputs allow it."""
    return [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links",
        "--python-version", target.python, *(["--python-platform", target.platform] if target.platform else []),
        *(f"--constraints={constraint}" for constraint in constraints),
        "--output-file", str(output), str(inputs),
    ]  # fmt: skip


class Resolver:
    """Runs uv over sets of requirements, each in a temporary folder below ``folder``; several may run at once."""

    def __init__(self, settings: Settings, target: Target, folder: Path) -> None:
        self.target, self.folder = target, folder
        constraints = settings.airflow_constraints
        self.constraints = [constraints] if constraints and "://" not in constraints else []
        self.remote = (
            f"-c {constraints}\n" if "://" in constraints else ""
        )  # may hold a password: not for an argument list
        self.env = indexes.for_uv(settings, folder / CA_BUNDLE)

    def solve(
        self, wanted: list[Requirement], preferred: dict[str, str] | None = None, *,
        root: str | None = None, seconds: float | None = None,
    ) -> tuple[str | None, str]:  # fmt: skip
        """The lock's text (None without a solution) and uv's standard error. ``root`` replaces the fixed Airflow.

        Raises TimedOut after ``seconds``, UserError if uv could not do its work.
        """
        roots = [self.target.root, *self.target.companions] if root is None else [root]
        lines = [*roots, *(r.text for r in wanted if not r.constraint)]
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".resolving-") as folder:
            inputs, constraints, output = (Path(folder, name) for name in ("in", "constraints", "out"))
            inputs.write_text("\n".join(lines) + "\n")
            constraints.write_text(self.remote + "".join(f"{r.text}\n" for r in wanted if r.constraint))
            output.write_text("".join(f"{name}=={version}\n" for name, version in sorted((preferred or {}).items())))
            command = compile_command(self.target, inputs, [str(constraints), *self.constraints], output)
            result = shell.capture([uv(), *command[1:]], env=self.env, timeout=seconds)
            stderr = result.stderr.strip()
            if result.returncode not in (0, _NO_SOLUTION):  # no index, a URL that gives nothing, and the like
                raise UserError("requirements", f"cannot be resolved.\n{stderr}\n", "Fix that and try again.")
            return (None if result.returncode else output.read_text()), stderr


def uv() -> str:
    """The uv of our own environment, or else the one on PATH."""
    own = Path(sys.executable).with_name("uv")
    return str(own) if own.exists() else "uv"


def blocks(text: str) -> list[str]:
    """Each requirement of a lock, with the lines of its hashes."""
    return re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, re.M)


def split_git_references(text: str) -> tuple[str, str]:
    """A lock in two: what must have hashes, and git references, which have a commit instead."""
    by_commit = [block for block in blocks(text) if re.match(r"\S+ @ git\+", block)]
    return "".join(block for block in blocks(text) if block not in by_commit), "".join(by_commit)


def locked(text: str) -> dict[str, str]:
    """Name -> version of everything in a lock; what comes from a URL has that for its version."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+) @ (\S+)", text, re.M)) | pins(text)


def pins(text: str) -> dict[str, str]:
    """Name -> version of each line ``name==version`` of a lock."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", text, re.M))
