"""Virtual environments that a standalone Airflow runs from: one folder per fingerprint, as an image has a tag."""

from __future__ import annotations

import contextlib
import http.client
import json
import platform
import re
import shutil
import ssl
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow_docker import console, files, shell
from airflow_docker.building import bundle
from airflow_docker.building.manifest import Bundle, Manifest
from airflow_docker.engines import inventory
from airflow_docker.errors import UserError
from airflow_docker.requirements import indexes, lock_file, resolver
from airflow_docker.requirements.platforms import Platform
from airflow_docker.requirements.requirement_files import normal
from airflow_docker.settings import Settings

SCRIPTS, INSTALL_LOG = "scripts", "install.log"
_VENV, _USERS, _PART = "venv", "used-by", "part.lock"
_FETCH_SECONDS, _LARGEST = 5.0, 1 << 20
_PUBLISHED = "https://raw.githubusercontent.com/apache/airflow/constraints-{}/constraints-{}.txt"
"""Where Airflow says so:
https://airflow.apache.org/docs/apache-airflow/2.11.2/installation/installing-from-pypi.html"""
_REMEDIES = {
    "mysqlclient": "on Debian or Ubuntu: apt install build-essential pkg-config python3-dev default-libmysqlclient-dev;"
    " on macOS: brew install pkg-config mysql-client, and set PKG_CONFIG_PATH as it says",
    "psycopg2": "on Debian or Ubuntu: apt install build-essential python3-dev libpq-dev; on macOS: brew install libpq",
}
_OTHER_REMEDY = "a compiler and the headers that it names"


def python(environment: Path) -> Path:
    """The environment's interpreter."""
    return environment / _VENV / "bin" / "python"


def environment_of(interpreter: Path) -> Path:
    """The environment that :func:`python` gave this for."""
    return interpreter.parent.parent.parent


def is_complete(environment: Path) -> bool:
    """True if it was built to the end: the manifest is written last."""
    return (environment / bundle.MANIFEST).is_file() and python(environment).exists()


def labels(environment: Path) -> dict[str, str] | None:
    """Its manifest, as the labels of an image; None if it does not exist."""
    manifest = files.read_object(environment / bundle.MANIFEST, *Manifest.required())
    return Manifest(**manifest).labels() if manifest and is_complete(environment) else None


def inventory_of(environment: Path) -> dict[str, Any]:
    """The packages of its Python: see inventory.py. Raises UserError if that fails."""
    command = [str(python(environment)), "-I", "-c", inventory.SOURCE, str(environment / lock_file.LOCK)]
    result = shell.capture(command)
    if result.returncode:
        last_line = (result.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError(str(environment), f"cannot be inspected ({last_line}).", "Type: inv build --no-cache")
    packages: dict[str, Any] = json.loads(result.stdout)
    return packages


def python_for(airflow_version: str, running: tuple[int, int]) -> str:
    """The Python to install for, like ``3.11``: the running one, or the newest that this Airflow 2 supports.

    https://airflow.apache.org/docs/apache-airflow/2.11.2/installation/prerequisites.html
    """
    newest = (3, 11) if int(airflow_version.split(".")[1]) < 9 and airflow_version.startswith("2.") else (3, 12)
    return "{}.{}".format(*min(running, newest))


def platform_of(settings: Settings, work_dir: Path) -> Platform:
    """This machine, with the Python that an environment gets."""
    version = settings.airflow_version
    chosen = python_for(version, sys.version_info[:2])
    name = f"Python {chosen} on {platform.system()} {platform.machine()}"
    skipped = " ".join(sorted(settings.standalone_skip))
    tested = _tested(settings, chosen, work_dir / f"tested-{version}-{chosen}.txt")
    return Platform(name, f"{name} -{skipped}", "", version, chosen, {}, {}, "1970-01-01T00:00:00", tested)


def _tested(settings: Settings, chosen: str, cache: Path) -> dict[str, str]:
    """The versions in Airflow's own constraints, cached in ``cache``; none if they cannot be fetched."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        if not cache.is_file():
            text = _fetched(_PUBLISHED.format(settings.airflow_version, chosen), settings.extra_ca_bundle)
            if "flask" not in resolver.pins(text):  # a proxy's own page, perhaps
                return {}
            files.write(cache, text.encode())
        return resolver.pins(cache.read_text())
    return {}


def _fetched(address: str, bundle: Path | None) -> str:
    context = ssl.create_default_context()
    if bundle:
        context.load_verify_locations(bundle)
    with urllib.request.urlopen(address, timeout=_FETCH_SECONDS, context=context) as answer:  # noqa: S310
        return str(answer.read(_LARGEST).decode())


def warn_of_image_settings(settings: Settings) -> None:
    """Warn of what the settings want in an image and what is not installed on this machine."""
    tool = settings.audit_tool_deb or settings.audit_tool_url
    skipped = {*settings.standalone_skip}
    if tool and "audit-tool" not in skipped and shutil.which("audit-tool") is None:
        _warn_to_install(f"the audit tool ({Path(str(tool)).name}, a Debian package)", "./FILE.deb", "audit-tool")
    wanted = [name for name in settings.system_packages if normal(name) not in skipped and not _is_installed(name)]
    if wanted:
        _warn_to_install("SYSTEM_PACKAGES", " ".join(wanted), ",".join(wanted))


def _warn_to_install(what: str, package: str, skip: str) -> None:
    console.warn(
        f"{what}: install it yourself (sudo apt install {package} or similar), or do without: STANDALONE_SKIP={skip}"
    )


def _is_installed(package: str) -> bool:
    return shutil.which("dpkg-query") is not None and not shell.capture(["dpkg-query", "--show", package]).returncode


def build(settings: Settings, artifact: Bundle) -> None:
    """Create the environment of an assembled BUILD_DIR. Raises UserError naming what does not install here."""
    environment = Path(artifact.manifest.artifact)
    shutil.rmtree(environment, ignore_errors=True)  # of a run that was killed, or to be recreated
    environment.mkdir()
    mark_used(settings, environment)
    lock = environment / lock_file.LOCK
    lock.write_text(without((artifact.work_dir / lock_file.LOCK).read_text(), settings.standalone_skip))
    env = indexes.for_uv(settings, artifact.work_dir / resolver.CA_BUNDLE)
    _run(venv_command(environment, artifact.manifest.python), env, f"Python {artifact.manifest.python}")
    _install(environment, lock.read_text(), env, artifact.work_dir / INSTALL_LOG)
    for source, target in [(bundle.BIN, SCRIPTS), (bundle.HOME, bundle.HOME)]:
        shutil.copytree(settings.build_dir / source, environment / target)
    files.write(environment / bundle.MANIFEST, json.dumps(asdict(artifact.manifest), indent=1, sort_keys=True).encode())


def venv_command(environment: Path, python_version: str) -> list[str]:
    """Makes an empty environment; uv looks for that Python on this machine, and fetches it if there is none."""
    running = "{}.{}".format(*sys.version_info[:2])
    wanted = sys.executable if python_version == running else python_version
    return [resolver.uv(), "venv", "--quiet", "--no-project", "--python", wanted, str(environment / _VENV)]


def sync_command(environment: Path, lock: Path) -> list[str]:
    """Installs just what is locked, and none of it without a hash that fits."""
    return [
        resolver.uv(),
        "pip",
        "sync",
        "--quiet",
        "--require-hashes",
        "--python",
        str(python(environment)),
        str(lock),
    ]


def add_command(environment: Path, lock: Path) -> list[str]:
    """Installs what git references name, which have a commit for their hash; nothing is resolved again."""
    options = ["--quiet", "--no-deps", "--python", str(python(environment))]
    return [resolver.uv(), "pip", "install", *options, "--requirement", str(lock)]


def _install(environment: Path, lock: str, env: dict[str, str], log: Path) -> None:
    """Install all that is locked. Raises UserError naming what does not install here; uv's output goes to ``log``."""
    part = environment / _PART
    for command, text in zip((sync_command, add_command), resolver.split_git_references(lock), strict=True):
        part.write_text(text)
        result = shell.capture(command(environment, part), env=env) if text else None
        if result and result.returncode:
            files.write(log, result.stderr.encode())
            raise _unfit(environment, text, env, log)
    part.unlink()


def without(lock: str, skipped: tuple[str, ...]) -> str:
    """The lock without the packages to leave out."""
    remaining: list[str] = []
    skipping = False
    for line in lock.splitlines(keepends=True):
        if line[:1] not in (" ", "\t", "#", "\n", ""):
            skipping = normal(line.split("==")[0].split(" @ ")[0].strip()) in skipped
        if not skipping:
            remaining.append(line)
    return "".join(remaining)


def _run(command: list[str], env: dict[str, str], where: str) -> None:
    result = shell.capture(command, env=env)
    if result.returncode:
        what = f"no environment can be created with it.\n{result.stderr.strip()}\n"
        raise UserError(where, what, "Install that Python.")


def _unfit(environment: Path, lock: str, env: dict[str, str], log: Path) -> UserError:
    """Which packages have no wheel for this machine and cannot be built on it either, asked of uv one by one."""
    pins = {name: block for block in resolver.blocks(lock) for name in resolver.pins(block)}

    def fits(name: str, *options: str) -> bool:
        part = environment / f"{name}-{_PART}"
        part.write_text(pins[name])
        return not shell.capture([*add_command(environment, part), *options], env=env).returncode

    with ThreadPoolExecutor(8) as pool:
        has_wheel = dict(zip(pins, pool.map(lambda name: fits(name, "--dry-run", "--no-build"), pins), strict=True))
    # Compiling runs what was fetched, so its hash is required here too.
    unfit = [name for name, has_one in has_wheel.items() if not has_one and not fits(name, "--require-hashes")]
    if not unfit:
        console.say(log.read_text().rstrip())
        return UserError("inv build", "uv could not install the lock (see above).", "Fix that and try again.")
    remedies = "; ".join(f"{name} needs {_REMEDIES.get(name, _OTHER_REMEDY)}" for name in unfit)
    what = f"there is no wheel of it for this machine, and it cannot be compiled here (see {log})."
    return UserError(", ".join(unfit), what, f"Install what is missing ({remedies}), or do without: "
                     f"STANDALONE_SKIP={','.join(unfit)}")  # fmt: skip


def mark_used(settings: Settings, environment: Path) -> None:
    """Record that this project uses the environment; projects may share BUILD_DIR."""
    (environment / _USERS).mkdir(exist_ok=True)
    (environment / _USERS / settings.compose_project_name).touch()


def others_using(settings: Settings, environment: Path) -> list[str]:
    """The other projects that use an environment."""
    users = [user.name for user in sorted((environment / _USERS).glob("*"))]
    return [user for user in users if user != settings.compose_project_name]


def used_by(settings: Settings, work_dir: Path) -> list[Path]:
    """The environments that this project uses."""
    return [user.parent.parent for user in sorted(work_dir.glob(f"*/{_USERS}/{settings.compose_project_name}"))]


def release(settings: Settings, work_dir: Path, keep: tuple[str, ...]) -> None:
    """Release this project's environments except ``keep``; one that no project uses any more is removed."""
    for environment in used_by(settings, work_dir):
        if str(environment) in keep:
            continue
        (environment / _USERS / settings.compose_project_name).unlink()
        if not any((environment / _USERS).iterdir()):
            shutil.rmtree(environment)


def only_of(settings: Settings, work_dir: Path) -> list[Path]:
    """The environments that no other project uses."""
    folders = [f for f in sorted(work_dir.glob("*")) if f.is_dir() and re.fullmatch(r"[0-9a-f]{12}", f.name)]
    return [f for f in folders if not others_using(settings, f)]
