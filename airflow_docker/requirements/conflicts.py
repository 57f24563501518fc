"""Explains why requirements have no solution: which exclude each other, in which lines, and what would help."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from airflow_docker.errors import UserError
from airflow_docker.requirements.requirement_files import Requirement
from airflow_docker.requirements.resolver import Resolver, pins
from airflow_docker.shell import TimedOut

_LOOK_SECONDS, _TRY_SECONDS = 1.0, 12.0
"""Minimum time limits. A subset without a solution fails in about the time of the complete set (limit: 1.5 times
that). A subset with a solution may take longer to resolve (limit: 3 times that)."""


def explain(resolver: Resolver, wanted: list[Requirement], stderr: str, seconds: float) -> UserError:
    """The error for a set that uv could not solve in ``seconds``; ``stderr`` has its reasons."""
    conflicting = _smallest(resolver, wanted, stderr, max(_LOOK_SECONDS, 1.5 * seconds))
    if conflicting is None:
        return UserError("requirements", f"exclude each other.\n{stderr}\n", "Loosen one of them.")
    try_seconds = max(_TRY_SECONDS, 3 * seconds)
    with ThreadPoolExecutor(4) as pool:
        reasons = pool.submit(resolver.solve, conflicting)
        airflow = pool.submit(_without_airflow, resolver, conflicting, try_seconds)
        remedies = list(
            pool.map(
                lambda r: _loosen(resolver, conflicting, r, try_seconds), [r for r in conflicting if r.text != r.name]
            )
        )
    lines = [f"  {r.text}    ({r.where})" for r in conflicting]
    if airflow.result() is not None:
        lines.insert(0, f"  {resolver.target.root}    (AIRFLOW_VERSION)")
        remedies += [f"Or set AIRFLOW_VERSION to {airflow.result()}, which fits."] if airflow.result() else []
    chain = [f"  {line.strip()}" for line in reasons.result()[1].splitlines()]
    what = [
        "these exclude each other:" if len(lines) > 1 else "this cannot be satisfied:",
        *lines,
        f"For Python {resolver.target.python} the resolver says:",
        *chain,
    ]
    return UserError(
        conflicting[-1].where if conflicting else "AIRFLOW_VERSION", "\n".join(what) + "\n", " ".join(remedies)
    )


def _smallest(resolver: Resolver, wanted: list[Requirement], stderr: str, seconds: float) -> list[Requirement] | None:
    """A minimal set without a solution; None if none is found within the time limit.

    The names in uv's output are only the first guess; each requirement is then left out to see if it matters.
    """
    names = set(re.findall(r"[a-z0-9][a-z0-9-]*", stderr.lower().replace("_", "-").replace(".", "-")))
    named = [r for r in wanted if r.name in names or not r.name]
    conflicting = next((some for some in (named, wanted) if _is_unsolvable(resolver, some, seconds)), None)
    if conflicting is None:
        return None
    for requirement in list(conflicting):
        rest = [r for r in conflicting if r is not requirement]
        if rest and _is_unsolvable(resolver, rest, seconds):
            conflicting = rest
    return conflicting


def _is_unsolvable(resolver: Resolver, some: list[Requirement], seconds: float, root: str | None = None) -> bool:
    try:
        return resolver.solve(some, root=root, seconds=seconds)[0] is None
    except TimedOut:
        return False


def _without_airflow(resolver: Resolver, conflicting: list[Requirement], seconds: float) -> str | None:
    """None if Airflow is not part of the conflict; else a fitting Airflow of the other major version, or "".

    Searching all versions would take long: every release has its own requirements.
    """
    if _is_unsolvable(resolver, conflicting, _LOOK_SECONDS, root=""):
        return None
    line = ">=3" if resolver.target.airflow_version.startswith("2.") else "<3"
    try:
        lock = resolver.solve(conflicting, root=f"apache-airflow{line}", seconds=seconds)[0]
    except TimedOut:
        return ""
    return pins(lock or "").get("apache-airflow", "")


def _loosen(resolver: Resolver, conflicting: list[Requirement], requirement: Requirement, seconds: float) -> str:
    """Advice to loosen a requirement, with the version that this would give if it is found in time."""
    loose = replace(requirement, text=requirement.name or requirement.text, hashes=())
    try:
        others = [r for r in conflicting if r is not requirement]
        lock = resolver.solve([*others, loose], seconds=seconds)[0]
        version = pins(lock or "").get(requirement.name, "")
    except TimedOut:
        version = ""
    suffix = f" (without its bounds: {version})" if version else ""
    return f"Loosen '{requirement.text}' in {requirement.where}{suffix}."
