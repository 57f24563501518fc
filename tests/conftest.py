"""What the tests share: settings in a temporary place, and git repositories that are really there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_docker import PROJECT
from airflow_docker.settings import load

# Here and not in a folder's own conftest.py, so that a stack is started once for all folders.
pytest_plugins = ["stack.fixtures", "wheel_index"]


def pytest_configure():
    """Ctrl-C is tried: a job in the background has it ignored, and all that is started from there too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items):
    """One after the other what shares a stack, or comes from one module and starts its own; all else as it comes."""
    for item in items:
        folder, *_, module = item.path.relative_to(PROJECT / "tests").with_suffix("").parts
        shared = item.callspec.params.get("stack") if hasattr(item, "callspec") else None
        if shared or (folder != "unit" and module != "test_bad_input"):
            item.add_marker(pytest.mark.xdist_group(shared or module))


INV = [sys.executable, str(PROJECT / "airflow_docker"), "--search-root", str(PROJECT)]


@pytest.fixture
def make_settings(tmp_path):
    """Settings from lines of a .env in a temporary folder, and from nothing else."""

    def make(text="", **environ):
        file = tmp_path / ".env"
        file.write_text(text)
        return load(file, environ)

    return make


def git(folder, *args):
    """Run git as somebody, without the user's own configuration."""
    environ = os.environ | {
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@localhost",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@localhost", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    result = subprocess.run(["git", "-C", str(folder), *args], env=environ, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


class Remote:
    """A bare repository and a work tree to add commits to it."""

    def __init__(self, folder: Path):
        self.bare, self.tree = folder / "remote.git", folder / "tree"
        self.bare.mkdir(parents=True)
        self.tree.mkdir()
        git(self.bare, "init", "--quiet", "--bare", "--initial-branch=main")
        git(self.tree, "init", "--quiet", "--initial-branch=main")
        git(self.tree, "remote", "add", "origin", str(self.bare))
        self.commit("first")

    def commit(self, content, file="file.txt", branch="main"):
        (self.tree / file).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / file).write_text(content)
        git(self.tree, "add", "--all")
        git(self.tree, "commit", "--quiet", "--message", content[:20])
        git(self.tree, "push", "--quiet", "origin", f"HEAD:{branch}")
        return git(self.tree, "rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path):
    return Remote(tmp_path / "remote")


def snapshot(folder):
    """Every entry below a folder with mode and content, to compare before and after."""
    entries = {}
    for entry in sorted(folder.rglob("*")):
        kind = "link" if entry.is_symlink() else "dir" if entry.is_dir() else "file" if entry.is_file() else "other"
        content = str(entry.readlink()) if kind == "link" else entry.read_bytes() if kind == "file" else b""
        entries[str(entry.relative_to(folder))] = (kind, entry.lstat().st_mode, content)
    return entries
