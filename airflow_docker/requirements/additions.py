"""Adds the packages of new requirements to a lock without resolving everything again."""

from __future__ import annotations

import hashlib
from collections import Counter

from airflow_docker.requirements.requirement_files import Requirement, normal
from airflow_docker.requirements.resolver import Resolver, blocks, locked


def key(platform: object, wanted: list[Requirement]) -> str:
    """A hash of each input of a lock: one line for the platform, one for each requirement.

    Comments, line numbers and the order of files do not count. Hashed, as requirements may hold passwords.
    """
    return "".join(f"{line}\n" for line in [_hash(platform), *sorted(map(_hash_of, wanted))])


def new_lines(before: str, now: str, wanted: list[Requirement]) -> list[Requirement] | None:
    """The requirements that the key ``now`` has in addition to ``before``; None if anything else differs."""
    old, new = before.splitlines(), now.splitlines()
    added_hashes = Counter(new[1:]) - Counter(old[1:])
    if old[:1] != new[:1] or Counter(old[1:]) - Counter(new[1:]):
        return None
    added = [requirement for requirement in wanted if _hash_of(requirement) in added_hashes]
    return None if any(requirement.constraint for requirement in added) else added


def extended(
    resolver: Resolver, lock: str, new: list[Requirement], wanted: list[Requirement], preferred: dict[str, str]
) -> str | None:
    """The lock, extended by what the ``new`` lines need; None if that would change a locked version.

    The new lines are resolved alone, with the locked versions preferred. That visits every package that they
    need, so if no locked version has changed, old and new are consistent.
    """
    content, _ = resolver.solve([*new, *(r for r in wanted if r.constraint)], preferred, root="")
    if content is None:
        return None
    before, after = locked(lock), locked(content)
    if any(before.get(name, version) != version for name, version in after.items()):
        return None
    all_of_them = {_name(block): block for block in [*blocks(content), *blocks(lock)]}
    return "".join(block for _, block in sorted(all_of_them.items()))


def _name(block: str) -> str:
    return normal(block.partition("=")[0].partition(" ")[0])


def _hash_of(requirement: Requirement) -> str:
    return _hash((requirement.text, requirement.constraint, requirement.hashes))


def _hash(what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()
