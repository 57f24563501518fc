"""One lock for both sets of requirements: resolved by uv for the image's Python and platform, pinned by hash."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from airflow_docker import files
from airflow_docker.errors import UserError
from airflow_docker.requirements import additions, conflicts, requirement_files
from airflow_docker.requirements.platforms import Platform
from airflow_docker.requirements.requirement_files import Requirement, normal
from airflow_docker.requirements.resolver import CA_BUNDLE, Resolver, Target, pins, target_of
from airflow_docker.settings import Settings

LOCK, _KEY = "requirements.lock", "requirements.key"
_OWN, _OWN_KEY = "requirements.own.lock", "requirements.own.key"
"""The lock before a trial of other requirements; it is restored afterwards."""
NOTES = (_KEY, CA_BUNDLE, _OWN, _OWN_KEY)
"""Files beside the lock that are not part of the image."""


def lock(
    settings: Settings, base: Platform, inputs: list[Path], directory: Path, upgrade: bool = False, trial: bool = False
) -> Path:
    """Resolve ``inputs`` into the lock in ``directory``; with unchanged inputs it stays the same, byte for byte.

    A ``trial`` starts from the present lock. The next run that is not a trial restores that lock first.

    Raises UserError for a line that cannot be read, or, naming files and lines, if there is no solution.
    """
    target = target_of(base)
    wanted = requirement_files.read(inputs)
    output = directory / LOCK
    for leftover in directory.glob(".resolving-*"):  # left by a killed run
        shutil.rmtree(leftover)
    key = _key(target, base, wanted, settings.airflow_constraints)
    if not trial and (directory / _OWN).is_file() and _text(directory / _OWN) != _text(output):
        files.write(output, (directory / _OWN).read_bytes())
        files.write(directory / _KEY, (directory / _OWN_KEY).read_bytes())
    if not upgrade and output.is_file() and _text(directory / _KEY) == key:
        return output
    # The resolver prefers locked versions, then those of the platform, so that as little as possible changes.
    known = {normal(n): v for n, v in (base.tested | base.packages).items()}
    preferred = known if upgrade else _preferred(known, pins(_text(output)), base.airflow_version)
    resolver = Resolver(settings, target, directory)
    began = time.monotonic()
    content = None if upgrade else _with_new_lines(resolver, directory, key, wanted, preferred)
    if content is None:
        content, stderr = resolver.solve(wanted, preferred)
        if content is None:
            raise conflicts.explain(resolver, wanted, stderr, time.monotonic() - began)
    locked = restrict_hashes(content, wanted).encode()
    for lock_name, key_name in [(LOCK, _KEY), *([] if trial else [(_OWN, _OWN_KEY)])]:
        files.write(directory / lock_name, locked)
        files.write(directory / key_name, key.encode())
    return output


def _with_new_lines(
    resolver: Resolver, directory: Path, key: str, wanted: list[Requirement], preferred: dict[str, str]
) -> str | None:
    """The present lock, extended; None unless there are only new lines, which change no locked version."""
    new = additions.new_lines(_text(directory / _KEY), key, wanted)
    return additions.extended(resolver, _text(directory / LOCK), new, wanted, preferred) if new else None


def keep_trial(directory: Path) -> None:
    """Keep the lock of the last trial: the next run starts from it."""
    for trial, own in ((LOCK, _OWN), (_KEY, _OWN_KEY)):
        files.write(directory / own, (directory / trial).read_bytes())


def _preferred(known: dict[str, str], locked: dict[str, str], airflow: str) -> dict[str, str]:
    """The platform's versions, and over them the locked ones if they are for the same Airflow.

    Versions locked for another Airflow may satisfy the declared bounds and still not work with it.
    """
    return known | locked if locked.get("apache-airflow") == airflow else known


def restrict_hashes(text: str, wanted: list[Requirement]) -> str:
    """The lock; a package whose requirement has hashes keeps only those.

    Raises UserError if none of them is a hash of the resolved version.
    """
    for requirement in [r for r in wanted if r.hashes and r.name]:
        block = re.compile(rf"^{re.escape(requirement.name)}(?:==| @ )[^\n]*\\\n((?:    --hash=[^\n]*\n)+)", re.M)
        match = block.search(text)
        hashes = [h for h in requirement.hashes if match and f"--hash={h}" in match[1]]
        if match and not hashes:
            what = f"no hash of '{requirement.text}' is one of the version that was resolved."
            raise UserError(requirement.where, what, "Pin the version that the hashes belong to.")
        if match:
            lines = " \\\n".join(f"    --hash={h}" for h in hashes) + "\n"
            text = text[: match.start(1)] + lines + text[match.end(1) :]
    return text


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _key(target: Target, base: Platform, wanted: list[Requirement], constraints: str) -> str:
    """The key of all inputs of a lock: requirements, constraints, platform and preferred versions."""
    content = Path(constraints).read_bytes() if constraints and "://" not in constraints else constraints
    return additions.key([target, base.packages, base.tested, content], wanted)
