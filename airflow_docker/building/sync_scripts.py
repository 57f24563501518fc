"""The sync scripts of archive-ops, collected as regular files with plain modes."""

from __future__ import annotations

import shutil
from pathlib import Path

from airflow_docker import console, shell
from airflow_docker.errors import UserError

COPY_SCRIPTS = ("scripts/syncAnywhere/deployment/copyLinksToBin", "scripts/deployments/copyLinksToBin")
"""Where archive-ops keeps the script that fills a folder with the sync scripts."""
SCRIPTS = "scripts/syncAnywhere"
_COPY_SECONDS = 300.0


def collect(archive_ops: Path, target: Path) -> None:
    """Replace ``target`` by the sync scripts; scripts that archive-ops no longer has are gone.

    Raises UserError, and leaves the old ``target``, if the scripts cannot be collected.
    """
    temporary = target.parent / ".scripts"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed run
    collected, clean, replaced = temporary / "collected", temporary / "clean", temporary / "replaced"
    collected.mkdir(parents=True)
    try:
        script = next((f for name in COPY_SCRIPTS if (f := archive_ops / name).is_file()), None)
        if script:
            _run(script, collected)
        else:
            _copy_without_script(archive_ops / SCRIPTS, collected)
        _copy_real(collected, clean, (collected.resolve(), archive_ops.resolve()))
        if target.exists():
            target.rename(replaced)
        clean.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(script: Path, target: Path) -> None:
    """Run copyLinksToBin. It reads a line and changes directory, so its target must be absolute."""
    result = shell.capture([str(script), str(target.resolve())], cwd=script.parent, stdin="\n", timeout=_COPY_SECONDS)
    if result.returncode:
        last_line = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()[-1]
        todo = "Run it by hand and fix it."
        raise UserError(str(script), f"ended with exit code {result.returncode} ({last_line}).", todo)


def _copy_without_script(scripts: Path, target: Path) -> None:
    entries = sorted(scripts.iterdir()) if scripts.is_dir() else []
    executables = [file for file in entries if file.is_file() and file.stat().st_mode & 0o100]
    for file in executables:
        (target / file.name).symlink_to(file.absolute())  # checked and copied with the rest
    candidates = " or ".join(COPY_SCRIPTS)
    console.warn(f"archive-ops has no {candidates}; took the {len(executables)} executable files of {SCRIPTS} instead.")


def _copy_real(source: Path, target: Path, allowed: tuple[Path, Path], within: tuple[Path, ...] = ()) -> None:
    """Copy a tree, with links resolved and modes 0755 or 0644. No link may lead out of ``allowed``."""
    target.mkdir()
    target.chmod(0o755)  # whatever the umask is: the containers' user must be able to enter
    for entry in sorted(source.iterdir()):
        real = _resolved(entry, allowed, (*within, source.resolve()))
        if real.is_dir():
            _copy_real(real, target / entry.name, allowed, (*within, source.resolve()))
        else:
            shutil.copyfile(real, target / entry.name)
            (target / entry.name).chmod(0o755 if real.stat().st_mode & 0o100 else 0o644)


def _resolved(entry: Path, allowed: tuple[Path, Path], within: tuple[Path, ...]) -> Path:
    where = f"bin/{entry.name}"
    try:
        real = entry.resolve(strict=True)
    except (OSError, RuntimeError):  # the target is missing, or links form a loop
        raise UserError(where, "is a link to a file that does not exist.", "Fix it in archive-ops.") from None
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise UserError(where, f"is a link out of archive-ops, to {real}.", "Put the file itself there.")
    if real in within:
        raise UserError(where, f"is a link to a folder that contains it, {real}.", "Take it out of archive-ops.")
    return real
