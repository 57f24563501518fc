"""The packages of the base image that an install changes, and which other packages of it then conflict."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_docker import console
from airflow_docker.errors import UserError
from airflow_docker.requirements.platforms import Platform
from airflow_docker.requirements.requirement_files import normal


@dataclass(frozen=True)
class Change:
    """A package that gets another version; ``broken`` are requirements of installed packages that it violates."""

    name: str
    old: str
    new: str
    broken: tuple[str, ...]


def changes(base: Platform, locked: dict[str, str]) -> list[Change]:
    """The changes that installing ``locked`` (name -> version) makes in ``base``."""
    before = {normal(name): version for name, version in base.packages.items()}
    after = {normal(name): version for name, version in locked.items()}
    new = {name: version for name, version in sorted(after.items()) if before.get(name, version) != version}
    needs = _needs(base, set(after))
    return [Change(name, before[name], version, _broken(needs.get(name, []), version)) for name, version in new.items()]


def _needs(base: Platform, resolved: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Name -> (package that needs it, specifier), for installed packages outside the lock, which is consistent."""
    from packaging.markers import default_environment
    from packaging.requirements import InvalidRequirement, Requirement

    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(base.architecture, base.architecture)
    environment = dict(default_environment()) | {
        "python_version": base.python, "python_full_version": f"{base.python}.0", "sys_platform": "linux",
        "platform_system": "Linux", "os_name": "posix", "platform_machine": machine, "extra": "",
    }  # fmt: skip
    needs: dict[str, list[tuple[str, str]]] = {}
    for who, requirements in base.requires.items():
        if normal(who) in resolved:
            continue
        for text in requirements:
            try:
                parsed = Requirement(text)
            except InvalidRequirement:
                continue
            if parsed.marker is None or parsed.marker.evaluate({k: str(v) for k, v in environment.items()}):
                needs.setdefault(normal(parsed.name), []).append((who, str(parsed.specifier)))
    return needs


def _broken(needs: list[tuple[str, str]], version: str) -> tuple[str, ...]:
    from packaging.specifiers import SpecifierSet

    if "://" in version:
        return ()  # the version behind a URL is known only after the install
    return tuple(f"{who} needs {spec}" for who, spec in sorted(needs)
                 if not SpecifierSet(spec).contains(version, prereleases=True))  # fmt: skip


def report(changed: list[Change], strict: bool) -> None:
    """Show the changes as a table on standard error. Raises UserError if ``strict`` and there are any."""
    if not changed:
        return
    console.warn("The install changes packages of the base image:")
    rows = [[c.name, c.old, c.new, "; ".join(c.broken)] for c in changed]
    console.table(["package", "in the image", "after", "conflicts with"], rows, on_stderr=True)
    if strict:
        names = ", ".join(c.name for c in changed)
        raise UserError(
            "--strict", f"the install would change {names}.", "Loosen the requirements, or leave --strict out."
        )
