"""Both requirement sets become one lock: resolved by uv for the image's Python and platform, pinned by hash."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import conflicts, files, indexes, requirement_files, shell
from airflow_docker.errors import UserError
from airflow_docker.images import BaseImage
from airflow_docker.requirement_files import Requirement, normal
from airflow_docker.settings import Settings

# Docker's architecture names -> uv's target platforms; the official image is Debian 12 with glibc 2.36.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
LOCK, _KEY = "requirements.lock", "requirements.key"
NOTES = (_KEY, "ca-bundle.pem")
"""What stands beside the lock without being part of the image."""


@dataclass(frozen=True)
class Target:
    """What is resolved for: an Airflow that does not move, a Python ``3.11``, a platform of uv."""

    airflow_version: str
    python: str
    platform: str

    @property
    def root(self) -> str:
        return f"apache-airflow=={self.airflow_version}"


def target_of(base: BaseImage) -> Target:
    """The target that an image is. Raises UserError for an architecture there is no platform for."""
    if base.architecture not in PLATFORMS:
        raise UserError(base.name, f"is made for {base.architecture}.", f"Name one for {' or '.join(PLATFORMS)}.")
    return Target(base.airflow_version, base.python, PLATFORMS[base.architecture])


def compile_command(target: Target, inputs: Path, constraints: list[str], output: Path) -> list[str]:
    """The resolution; what ``output`` already pins is kept where the inputs allow it."""
    return [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links",
        "--python-version", target.python, "--python-platform", target.platform,
        *(f"--constraints={constraint}" for constraint in constraints),
        "--output-file", str(output), str(inputs),
    ]  # fmt: skip


def lock(settings: Settings, base: BaseImage, inputs: list[Path], directory: Path, upgrade: bool = False) -> Path:
    """Resolve ``inputs`` into the lock in ``directory``; unchanged inputs keep it, byte for byte.

    Raises UserError for a line that cannot be read, or, naming files and lines, if there is no solution.
    """
    target = target_of(base)
    wanted = requirement_files.read(inputs)
    output = directory / LOCK
    for left in directory.glob(".resolving-*"):  # of a run that was killed
        shutil.rmtree(left)
    key = _key(target, base, wanted, settings.airflow_constraints)
    if not upgrade and output.is_file() and _text(directory / _KEY) == key:
        return output
    # What is locked, and else what the image has, is what the resolver should prefer: so the least changes.
    preferred = {normal(n): v for n, v in base.packages.items()} | ({} if upgrade else pins(_text(output)))
    resolver = Resolver(settings, target, directory)
    began = time.monotonic()
    content, said = resolver.solve(wanted, preferred)
    if content is None:
        raise conflicts.explain(resolver, wanted, said, time.monotonic() - began)
    files.write(output, restrict_hashes(content, wanted).encode())
    files.write(directory / _KEY, key.encode())
    return output


class Resolver:
    """Runs uv over sets of requirements, each in a temporary folder below ``folder``; several may run at once."""

    def __init__(self, settings: Settings, target: Target, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.constraints = [settings.airflow_constraints] if settings.airflow_constraints else []
        self.env = indexes.for_uv(settings, folder / NOTES[1])

    def solve(
        self, wanted: list[Requirement], preferred: dict[str, str] | None = None, *,
        root: str | None = None, seconds: float | None = None,
    ) -> tuple[str | None, str]:  # fmt: skip
        """The lock's text (None without a solution) and what uv said. ``root`` replaces the fixed Airflow.

        Raises TimedOut after ``seconds``.
        """
        lines = [self.target.root if root is None else root, *(r.text for r in wanted if not r.constraint)]
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".resolving-") as folder:
            inputs, constraints, output = (Path(folder, name) for name in ("in", "constraints", "out"))
            inputs.write_text("\n".join(lines) + "\n")
            constraints.write_text("".join(f"{r.text}\n" for r in wanted if r.constraint))
            output.write_text("".join(f"{name}=={version}\n" for name, version in sorted((preferred or {}).items())))
            command = compile_command(self.target, inputs, [str(constraints), *self.constraints], output)
            result = shell.capture([uv(), *command[1:]], env=self.env, timeout=seconds)
            return (None if result.returncode else output.read_text()), result.stderr.strip()


def uv() -> str:
    """The uv of our own environment, or else the one on PATH."""
    ours = Path(sys.executable).with_name("uv")
    return str(ours) if ours.exists() else "uv"


def pins(text: str) -> dict[str, str]:
    """Name -> version of each line ``name==version`` of a lock."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)", text, re.M))


def restrict_hashes(text: str, wanted: list[Requirement]) -> str:
    """The lock with only those hashes of a package that its requirement names, where it names some.

    Raises UserError if none of them is a hash of the version chosen.
    """
    for requirement in [r for r in wanted if r.hashes and r.name]:
        block = re.compile(rf"^{re.escape(requirement.name)}[^\n]*\\\n((?:    --hash=[^\n]*\n)+)", re.M)
        found = block.search(text)
        kept = [h for h in requirement.hashes if found and f"--hash={h}" in found[1]]
        if found and not kept:
            what = f"no hash of '{requirement.text}' is one of the version that was resolved."
            raise UserError(requirement.where, what, "Pin the version that the hashes belong to.")
        if found:
            hashes = " \\\n".join(f"    --hash={h}" for h in kept) + "\n"
            text = text[: found.start(1)] + hashes + text[found.end(1) :]
    return text


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _key(target: Target, base: BaseImage, wanted: list[Requirement], constraints: str) -> str:
    """Of all that decides a lock: what is asked for, and what is preferred; comments, places and order of files not."""
    asked = sorted((r.text, r.constraint, r.hashes) for r in wanted)
    given = Path(constraints).read_text() if constraints and "://" not in constraints else constraints
    return hashlib.sha256(repr([target, base.packages, asked, given]).encode()).hexdigest()
