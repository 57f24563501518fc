"""``.venv``, the virtual environment that ``inv`` runs in: created, or updated to requirements.txt.

Any Python runs this, with the standard library only: ``python -I bootstrap.py``.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent
WANTED = PROJECT / "requirements.txt"
VENV = PROJECT / ".venv"
PYTHON, MARKER, STAMP = VENV / "bin" / "python", VENV / ".made-by-airflow-docker", VENV / ".requirements.txt"
_HAS_ITS_PACKAGES = "import os, sys, sysconfig; sys.exit(not os.path.isdir(sysconfig.get_path('purelib')))"


def bring_up_to_date() -> None:
    """Create or update ``.venv``, one run at a time. It is recreated only if it is broken."""
    with (PROJECT / ".venv.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run, which creates .venv …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a network file system without locks
        works = _works()
        if works and STAMP.is_file() and STAMP.read_bytes() == WANTED.read_bytes():
            return  # another run has done it
        if not works:
            say(f"creating .venv with Python {platform.python_version()} (once) …")
            _purge()
            _make()
        else:
            say("updating .venv to requirements.txt …")
        _install()


def _works() -> bool:
    return MARKER.is_file() and PYTHON.exists() and _run(str(PYTHON), "-I", "-c", _HAS_ITS_PACKAGES)


def _purge() -> None:
    """Empty ``.venv``. The marker goes last, so that after a kill the folder is still known as ours."""
    entries = list(VENV.iterdir()) if VENV.is_dir() else []
    is_foreign = entries or (os.path.lexists(VENV) and not VENV.is_dir())
    if is_foreign and not MARKER.exists():
        fail(f"{VENV} was not created by this script. Move it away, or run inv in an environment of your own.")
    for entry in [one for one in entries if one != MARKER]:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    MARKER.unlink(missing_ok=True)


def _make() -> None:
    VENV.mkdir(exist_ok=True)
    MARKER.touch()
    options = [] if importlib.util.find_spec("ensurepip") else ["--without-pip"]  # Debian without python3-venv
    if options and not _has_pip(sys.executable):
        fail("this Python has neither venv nor pip. On Debian or Ubuntu: apt install python3-venv")
    if not _run(sys.executable, "-m", "venv", *options, str(VENV)):
        fail("the environment could not be created (see above).")
    # Link to the full name, python3.11: another version under the short name would not find the packages.
    real = PYTHON.resolve()
    PYTHON.unlink()
    PYTHON.symlink_to(real)


def _has_pip(python: str) -> bool:
    return _run(python, "-m", "pip", "--version", quiet=True)


def _install() -> None:
    own = [str(PYTHON), "-m", "pip"]
    pip = own if _has_pip(str(PYTHON)) else [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    options = ["--quiet", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    if not _run(*pip, "install", *options, "--requirement", str(WANTED)):
        fail(
            "the packages of requirements.txt could not be installed (see above). Check your connection and try again."
        )
    # In an activated environment, too, `inv` is this project's script and not Invoke's.
    inv = VENV / "bin" / "inv"
    inv.write_text(f'#!/bin/sh\nexec {shlex.quote(str(PROJECT / "inv"))} "$@"\n')
    inv.chmod(0o755)
    STAMP.write_bytes(WANTED.read_bytes())


def _run(*command: str, quiet: bool = False) -> bool:
    shown = subprocess.DEVNULL if quiet else None
    return not subprocess.run(command, stdin=subprocess.DEVNULL, stdout=shown, stderr=shown, check=False).returncode


def say(text: str) -> None:
    print(f"inv: {text}", file=sys.stderr)


def fail(text: str) -> NoReturn:
    sys.exit(f"inv: {text}")


if __name__ == "__main__":
    try:
        bring_up_to_date()
    except KeyboardInterrupt:
        say("interrupted. Run it again to continue.")
        sys.exit(130)
    except OSError as problem:
        fail(f"{problem.filename or VENV}: {problem.strerror or problem}. Fix that and run it again.")
