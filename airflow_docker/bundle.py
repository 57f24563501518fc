"""BUILD_DIR: everything that goes into the image, assembled, fingerprinted and described."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_docker import console, files, images, repos, requirements, shell
from airflow_docker.errors import UserError
from airflow_docker.settings import PROJECT, Settings

COPY_SCRIPTS = ("scripts/syncAnywhere/deployment/copyLinksToBin", "scripts/deployments/copyLinksToBin")
"""Where archive-ops keeps the script that fills a folder with the sync scripts."""
SYNC_SCRIPTS, SYNC_REQUIREMENTS = "scripts/syncAnywhere", "scripts/syncAnywhere/requirements.txt"
BIN, MANIFEST = "bin", "manifest.json"
CONTEXT = (BIN, "Dockerfile", "runtime", requirements.LOCK)
"""What of BUILD_DIR the image is made from."""
_COPY_SECONDS = 300.0


@dataclass(frozen=True)
class Manifest:
    """What an image is made of; ``image`` is its name with the fingerprint as the tag."""

    image: str
    fingerprint: str
    base_image: str
    base_image_id: str
    airflow_version: str
    python: str
    lock_sha256: str
    repositories: dict[str, dict[str, str | bool]]


@dataclass(frozen=True)
class Bundle:
    """An assembled BUILD_DIR and what the install will replace in the base image."""

    directory: Path
    manifest: Manifest
    changed: dict[str, tuple[str, str]]


def assemble(settings: Settings, *, refresh: bool = False, upgrade: bool = False, chosen: Path | None = None) -> Bundle:
    """Fill BUILD_DIR from both checkouts; ``chosen`` replaces DAG_REQUIREMENTS, ``refresh`` starts from nothing.

    Raises UserError, with what was there before unharmed, if a checkout, a file or a solution is missing.
    """
    directory = settings.build_dir
    checkouts = [_checkout(source) for source in repos.sources(settings)]
    inputs = [dag_requirements(settings, chosen)]
    files.claim(directory, "BUILD_DIR")
    with files.locked(directory / files.LOCK, "BUILD_DIR"):
        if refresh:
            files.empty(directory, "BUILD_DIR")
        base = images.base(settings.airflow_base_image, settings.airflow_version, directory / "base-image.json")
        with console.step("Collecting the sync scripts"):
            collect_scripts(settings, directory)
        inputs += sync_requirements(settings, directory)
        with console.step("Resolving the requirements"):
            lock = requirements.lock(settings, base, inputs, directory, upgrade)
        _copy_own(directory)
        fingerprint = fingerprint_of(directory, base.id)
        manifest = Manifest(
            image=f"{settings.airflow_image}:{fingerprint[:12]}", fingerprint=fingerprint, base_image=base.name,
            base_image_id=base.id, airflow_version=base.airflow_version, python=base.python,
            lock_sha256=hashlib.sha256(lock.file.read_bytes()).hexdigest(), repositories=dict(checkouts),
        )  # fmt: skip
        files.write(directory / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode())
    return Bundle(directory, manifest, lock.changed)


def fingerprint_of(directory: Path, base_image_id: str) -> str:
    """SHA-256 over the sorted (path, executable or not, bytes) of what the image is made from, and its base image."""
    digest = hashlib.sha256(base_image_id.encode())
    for file in _context_files(directory):
        content = file.read_bytes()
        executable = bool(file.stat().st_mode & 0o100)
        digest.update(f"\0{file.relative_to(directory)}\0{executable}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _context_files(directory: Path) -> Iterator[Path]:
    for name in sorted(CONTEXT):
        entry = directory / name
        yield from sorted(f for f in entry.rglob("*") if f.is_file()) if entry.is_dir() else [entry]


def _checkout(source: repos.Source) -> tuple[str, dict[str, str | bool]]:
    if repos.is_missing(source):
        raise UserError(source.path_setting, f"there is no checkout at {source.path}.", "Type: inv pull")
    args = ["git", "-C", str(source.path)]
    commit = shell.capture([*args, "rev-parse", "HEAD"])
    if commit.returncode:
        what = f"{source.path} is not a git repository with a commit."
        raise UserError(source.path_setting, what, "Move it away and type: inv pull")
    dirty = bool(shell.capture([*args, "status", "--porcelain", "--untracked-files=no"]).stdout.strip())
    return source.name, {"url": source.url, "commit": commit.stdout.strip(), "dirty": dirty}


def dag_requirements(settings: Settings, chosen: Path | None) -> Path:
    """The file ``chosen`` (relative to the current folder), or DAG_REQUIREMENTS (relative to WORKFLOW_DEV_DIR)."""
    file = chosen.absolute() if chosen else settings.workflow_dev_dir / Path(settings.dag_requirements).expanduser()
    if not file.is_file():
        where = "--requirements" if chosen else "DAG_REQUIREMENTS"
        raise UserError(where, f"there is no file {file}.", "Correct the path; an empty file will do.")
    return file


def sync_requirements(settings: Settings, directory: Path) -> list[Path]:
    """What the sync scripts' Python needs: the list copyLinksToBin left, or the one in the repository, or none."""
    found = [directory / BIN / "sync-requirements.txt", settings.ao_dev_dir / SYNC_REQUIREMENTS]
    return [file for file in found if file.is_file()][:1]


def collect_scripts(settings: Settings, directory: Path) -> None:
    """Put the sync scripts into bin/ as real files, and nothing else; what archive-ops dropped is gone."""
    temporary = directory / ".scripts"
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    collected, clean, replaced = temporary / "collected", temporary / BIN, temporary / "replaced"
    collected.mkdir(parents=True)
    try:
        script = next((f for name in COPY_SCRIPTS if (f := settings.ao_dev_dir / name).is_file()), None)
        if script:
            _run_copy_script(script, collected)
        else:
            _copy_without_script(settings.ao_dev_dir / SYNC_SCRIPTS, collected)
        _copy_real(collected, clean, [collected.resolve(), settings.ao_dev_dir.resolve()])
        if (directory / BIN).exists():
            (directory / BIN).rename(replaced)
        clean.rename(directory / BIN)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run_copy_script(script: Path, target: Path) -> None:
    result = shell.capture([str(script), str(target.resolve())], cwd=script.parent, stdin="\n", timeout=_COPY_SECONDS)
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(
            str(script), f"ended with exit code {result.returncode} ({said}).", "Run it by hand and mend it."
        )


def _copy_without_script(scripts: Path, target: Path) -> None:
    found = (
        [f for f in sorted(scripts.iterdir()) if f.is_file() and f.stat().st_mode & 0o100] if scripts.is_dir() else []
    )
    for file in found:
        shutil.copy2(file, target)
    looked = " or ".join(COPY_SCRIPTS)
    console.warn(f"archive-ops has no {looked}; took the {len(found)} executable files of {SYNC_SCRIPTS} instead.")


def _copy_real(source: Path, target: Path, allowed: list[Path]) -> None:
    """Copy a tree with links resolved and modes reduced to executable or not. No link may lead out of ``allowed``."""
    target.mkdir()
    for entry in sorted(source.iterdir()):
        real = entry.resolve()
        if not real.exists():
            raise UserError(f"bin/{entry.name}", "is a link to a file that does not exist.", "Mend it in archive-ops.")
        if not any(real.is_relative_to(folder) for folder in allowed):
            raise UserError(
                f"bin/{entry.name}", f"is a link out of archive-ops, to {real}.", "Put the file itself there."
            )
        if real.is_dir():
            _copy_real(real, target / entry.name, allowed)
        else:
            shutil.copyfile(real, target / entry.name)
            (target / entry.name).chmod(0o755 if real.stat().st_mode & 0o100 else 0o644)


def _copy_own(directory: Path) -> None:
    """The Dockerfile and what the containers run of ours."""
    own = PROJECT / "docker"
    (directory / "runtime").mkdir(exist_ok=True)
    files.write(directory / "Dockerfile", (own / "Dockerfile").read_bytes())
    files.write(directory / ".dockerignore", ("*\n" + "".join(f"!{name}\n" for name in CONTEXT)).encode())
    for file in sorted((own / "runtime").iterdir()):
        if file.is_file():
            files.write(directory / "runtime" / file.name, file.read_bytes())
