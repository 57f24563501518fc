"""Disk usage, and pruning: only what is named, only after asking, never what is in use."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import console, files
from airflow_docker.building import audit_tool, bundle
from airflow_docker.engines import Engine
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings.types import is_count
from airflow_docker.verbs import builds
from airflow_docker.verbs.status import megabytes

IMAGES, BUILD, DOWNLOADS, LOGS = KINDS = ("images", "build", "downloads", "logs")
_COUNT_SECONDS = 60.0  # how long sizes are counted


@dataclass(frozen=True)
class Leftover:
    """Something that can be removed: its kind, its name (an image, a folder, a file), its size in bytes."""

    kind: str
    name: str
    size: int


def clean(engine: Engine, kinds: set[str], older_than: str, yes: bool) -> None:
    """Show what can be removed; remove what is of ``kinds``, after confirmation or with ``yes``."""
    if not is_count(older_than):
        raise UserError("--older-than", f"'{older_than}' is not a number of days.", "Say for instance 30.", USAGE)
    entries = list(leftovers(engine, int(older_than)))
    _show(entries)
    _show_containers(engine)
    chosen = [leftover for leftover in entries if leftover.kind in kinds]
    if not kinds and entries:
        console.say("To remove some of it: inv clean --images --build --downloads --logs, or one of these")
    if not chosen:
        return
    total = megabytes(sum(leftover.size for leftover in chosen))
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("inv clean", "there is no terminal to ask on.", "Say --yes if you mean it.", USAGE)
        if not console.confirm(f"Remove {len(chosen)} of these ({total})?"):
            raise UserError("inv clean", "not confirmed.", "Nothing was removed.")
    _remove(engine, chosen, int(older_than))
    console.done(f"Removed {len(chosen)}: {total}")


def leftovers(engine: Engine, days: int) -> Iterator[Leftover]:
    """All that nothing uses; logs only if they are older than ``days``."""
    settings, end = engine.settings, time.monotonic() + _COUNT_SECONDS
    for name, size in engine.builder.list_unused(_in_use(engine)):
        yield Leftover(IMAGES, name, size)
    assembled = [settings.build_dir / name for name in engine.builder.generated_files]
    if (settings.build_dir / files.MARKER).is_file() and any(entry.exists() for entry in assembled):
        yield Leftover(BUILD, str(settings.build_dir), sum(_size(entry, end) for entry in assembled))
    if (cache := audit_tool.cache_folder()).is_dir():
        for file in sorted(cache.iterdir()):
            yield Leftover(DOWNLOADS, str(file), file.stat().st_size)
    for folder in _log_folders(settings.logs_dir):
        if _is_old(folder, days):
            yield Leftover(LOGS, str(folder), _size(folder, end))


def _in_use(engine: Engine) -> set[str | None]:
    """The artifacts that this project uses; on Swarm the containers may be on other hosts only."""
    return {builds.last_artifact(engine), engine.running_artifact()}


def _is_old(folder: Path, days: int) -> bool:
    return _newest(folder) < time.time() - days * 86400


def _newest(folder: Path) -> float:
    """The time of its newest file, or of the folder itself, in seconds since 1970."""
    return max((f.stat().st_mtime for f in folder.rglob("*") if f.is_file()), default=folder.stat().st_mtime)


def _log_folders(logs: Path) -> Iterator[Path]:
    """Airflow's folders per DAG run and per day of parsing; nothing else is removed as a log."""
    yield from sorted(logs.glob("dag_id=*/run_id=*"))
    for parser in ("scheduler", "dag_processor"):  # in Airflow 2, in Airflow 3
        yield from sorted(folder for folder in logs.glob(f"{parser}/[0-9]*-*") if not folder.is_symlink())


def _size(entry: Path, end: float) -> int:
    return (files.size_of(entry, end) or 0) if entry.is_dir() else entry.stat().st_size if entry.is_file() else 0


def _show(entries: list[Leftover]) -> None:
    if not entries:
        console.done("There is nothing to remove")
        return
    rows = []
    for kind in KINDS:
        of_kind = [leftover for leftover in entries if leftover.kind == kind]
        shown = of_kind if len(of_kind) <= 10 else of_kind[:9]
        rows += [[kind, leftover.name, megabytes(leftover.size)] for leftover in shown]
        if hidden := of_kind[len(shown) :]:
            rows.append([kind, f"and {len(hidden)} more", megabytes(sum(leftover.size for leftover in hidden))])
    console.table(["kind", "name", "size"], rows)


def _show_containers(engine: Engine) -> None:
    """What tasks have written in their container, such as in /tmp: in use, and removed with the container."""
    rows = [[name, megabytes(size)] for name, size in engine.written()]
    if rows:
        console.out("")
        console.table(["in a container (inv down empties it)", "size"], rows)


def _remove(engine: Engine, chosen: list[Leftover], days: int) -> None:
    kinds = {leftover.kind for leftover in chosen}
    if kinds & {IMAGES, BUILD}:
        with bundle.held(engine.settings):  # no build may run meanwhile
            if IMAGES in kinds:
                still = {name for name, _ in engine.builder.list_unused(_in_use(engine))}
                for leftover in [leftover for leftover in chosen if leftover.kind == IMAGES and leftover.name in still]:
                    engine.builder.remove_artifact(leftover.name)
            if BUILD in kinds:
                files.empty(engine.settings.build_dir, "BUILD_DIR", engine.builder.generated_files)
    for leftover in chosen:
        if leftover.kind == DOWNLOADS:
            Path(leftover.name).unlink(missing_ok=True)
        elif leftover.kind == LOGS and _is_old(Path(leftover.name), days):  # a run may have been repeated since
            shutil.rmtree(leftover.name)
