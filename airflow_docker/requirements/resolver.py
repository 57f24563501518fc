"""Resolves requirements with uv, for the image's Python and platform."""

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
"""Certificates for uv, in the resolver's folder."""


@dataclass(frozen=True)
class Target:
    """The target of a resolution: a fixed Airflow, a Python like ``3.11``, a platform of uv (empty: this machine)."""

    airflow_version: str
    python: str
    platform: str

    @property
    def root(self) -> str:
        return f"apache-airflow=={self.airflow_version}"

    @property
    def companions(self) -> list[str]:
        """Packages that this Airflow does not include: from 3 on, the provider of users with passwords."""
        return [] if self.airflow_version.startswith("2.") else ["apache-airflow-providers-fab"]


def target_of(base: Platform) -> Target:
    """The target for a platform. Raises UserError for an unsupported architecture."""
    if not base.architecture:
        return Target(base.airflow_version, base.python, "")
    if base.architecture not in PLATFORMS:
        raise UserError(base.name, f"is built for {base.architecture}.", f"Name one for {' or '.join(PLATFORMS)}.")
    return Target(base.airflow_version, base.python, PLATFORMS[base.architecture])


def compile_command(target: Target, inputs: Path, constraints: list[str], output: Path) -> list[str]:
    """The command of a resolution; versions that ``output`` already pins are kept if possible."""
    return [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links",
        "--python-version", target.python, *(["--python-platform", target.platform] if target.platform else []),
        *(f"--constraints={constraint}" for constraint in constraints),
        "--output-file", str(output), str(inputs),
    ]  # fmt: skip


class Resolver:
    """Runs uv, each time in a temporary folder below ``folder``; several runs at once are possible."""

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

        Raises TimedOut after ``seconds``, UserError for any other failure of uv.
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
            if result.returncode not in (0, _NO_SOLUTION):  # the index or a URL does not answer, and the like
                raise UserError("requirements", f"cannot be resolved.\n{stderr}\n", "Fix that and try again.")
            return (None if result.returncode else output.read_text()), stderr


def uv() -> str:
    """The uv of our own environment, else the one on PATH."""
    own = Path(sys.executable).with_name("uv")
    return str(own) if own.exists() else "uv"


def blocks(text: str) -> list[str]:
    """Each requirement of a lock, with the lines of its hashes."""
    return re.findall(r"^[^\s#].*\n(?:[ \t].*\n)*", text, re.M)


def split_git_references(text: str) -> tuple[str, str]:
    """A lock in two parts: requirements with hashes, and git references, which have a commit instead."""
    by_commit = [block for block in blocks(text) if re.match(r"\S+ @ git\+", block)]
    return "".join(block for block in blocks(text) if block not in by_commit), "".join(by_commit)


def locked(text: str) -> dict[str, str]:
    """Name -> version of everything in a lock; for a package from a URL the version is that URL."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+) @ (\S+)", text, re.M)) | pins(text)


def pins(text: str) -> dict[str, str]:
    """Name -> version of each line ``name==version`` of a lock."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", text, re.M))
