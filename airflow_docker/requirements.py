"""Both requirement sets become one lock: resolved by uv for the image's Python and platform, pinned by hash."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import files, indexes, shell
from airflow_docker.errors import UserError
from airflow_docker.images import BaseImage
from airflow_docker.settings import Settings

# Docker's architecture names -> uv's target platforms; the official image is Debian 12 with glibc 2.36.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
LOCK, _ROOT, _NEW, _KEY = "requirements.lock", "airflow.in", "requirements.new", "requirements.key"


@dataclass(frozen=True)
class Lock:
    """The resolved set: ``changed`` maps what the image has in another version to (old, new)."""

    file: Path
    changed: dict[str, tuple[str, str]]


def compile_command(inputs: list[Path], root: Path, output: Path, base: BaseImage, upgrade: bool = False) -> list[str]:
    """The resolution; what ``output`` already pins is kept where the inputs allow it."""
    return [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links",
        "--python-version", base.python, "--python-platform", PLATFORMS[base.architecture],
        "--output-file", str(output), *(["--upgrade"] if upgrade else []), str(root), *map(str, inputs),
    ]  # fmt: skip


def lock(settings: Settings, base: BaseImage, inputs: list[Path], directory: Path, upgrade: bool = False) -> Lock:
    """Resolve ``inputs`` with Airflow's version as a fixed root into ``directory``; unchanged inputs keep the lock.

    Raises UserError with the resolver's own explanation if there is no solution.
    """
    output, new, root = directory / LOCK, directory / _NEW, directory / _ROOT
    key = _key(inputs, base)
    if not upgrade and output.is_file() and _text(directory / _KEY) == key:
        return Lock(output, changes(base.packages, pins(output.read_text())))
    files.write(root, f"apache-airflow=={base.airflow_version}\n".encode())
    # What the image has is what the resolver should prefer: the less changes in it, the better.
    preferred = dict(base.packages) if upgrade else base.packages | pins(_text(output))
    files.write(new, "".join(f"{name}=={version}\n" for name, version in sorted(preferred.items())).encode())
    command = compile_command(inputs, root, new, base, upgrade)
    result = shell.capture([uv(), *command[1:]], env=indexes.for_uv(settings))
    content = new.read_bytes()
    new.unlink()
    if result.returncode:
        names = ", ".join(map(str, inputs)) or "the requirements"
        what = f"no set of versions fits Airflow {base.airflow_version} and all of them.\n{result.stderr.strip()}\n"
        raise UserError(names, what, "Loosen one of the requirements named above.")
    files.write(output, content)
    files.write(directory / _KEY, key.encode())
    return Lock(output, changes(base.packages, pins(content.decode())))


def uv() -> str:
    """The uv of our own environment, or else the one on PATH."""
    ours = Path(sys.executable).with_name("uv")
    return str(ours) if ours.exists() else "uv"


def pins(text: str) -> dict[str, str]:
    """Name -> version of each line ``name==version`` of a lock."""
    found = {}
    for line in text.splitlines():
        name, equals, rest = line.partition("==")
        if equals and not line.startswith((" ", "#")):
            found[name.partition("[")[0]] = rest.split()[0].rstrip("\\;")
    return found


def changes(installed: Mapping[str, str], locked: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What an install of ``locked`` replaces: name -> (version in the image, version in the lock)."""
    has = {_normal(name): version for name, version in installed.items()}
    found = {name: (has[_normal(name)], version) for name, version in sorted(locked.items()) if _normal(name) in has}
    return {name: versions for name, versions in found.items() if versions[0] != versions[1]}


def _normal(name: str) -> str:
    """PEP 503: runs of ``-``, ``_`` and ``.`` are the same, and so is case."""
    return "-".join(filter(None, name.lower().replace("_", "-").replace(".", "-").split("-")))


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _key(inputs: list[Path], base: BaseImage) -> str:
    digest = hashlib.sha256(base.id.encode())
    for file in inputs:
        digest.update(str(file.name).encode() + b"\0" + _with_includes(file) + b"\0")
    return digest.hexdigest()


def _with_includes(file: Path, seen: frozenset[Path] = frozenset()) -> bytes:
    """The bytes of a requirements file and of all it includes by ``-r`` or ``-c``."""
    content = file.read_bytes()
    for line in content.decode("utf-8-sig", "replace").splitlines():
        option, _, name = line.strip().replace("=", " ", 1).partition(" ")
        included = file.parent / name.strip()
        if option in ("-r", "-c", "--requirement", "--constraint") and included.is_file() and included not in seen:
            content += b"\0" + _with_includes(included, seen | {file, included})
    return content
