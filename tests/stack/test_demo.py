"""`inv demo` in a copy of this checkout, and `inv demo --down`, which leaves nothing."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import git, snapshot

from airflow_docker import PROJECT
from airflow_docker.engines.standalone import processes
from airflow_docker.settings import Base, default_project_name
from stack.conftest import ENGINES, docker, free_port, run


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that a clone has."""
    copy = tmp_path / "checkout"
    listed = git(PROJECT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in listed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).exists():
            shutil.copy2(PROJECT / name, copy / name)
    return copy


def of_the_demo(checkout):
    """Docker objects with the demo's name or label; not the build cache."""
    name = default_project_name(Base(checkout / ".demo" / ".env", {}))
    kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"], ["image", "ls", "--all"])
    shown = "\n".join(docker(*kind, "--format", "{{json .}}") for kind in kinds)
    return [line for line in shown.splitlines() if name in line]


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"AIRFLOW_VERSION": "latest"}, "AIRFLOW_VERSION: 'latest'"), ({"ENGINE": "swarm"}, "ENGINE: the demo is for")],
)
def test_a_setting_that_is_none_is_not_remembered(checkout, bad, message):
    tried = run("./inv", "demo", cwd=checkout, env=os.environ | bad, stdin=subprocess.DEVNULL)
    assert (tried.returncode, message in tried.stderr) == (2, True), tried.stderr
    assert not (checkout / ".demo" / ".env").exists()
    assert run("./inv", "demo", "--down", cwd=checkout, stdin=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_the_demo_shows_the_path_of_a_work_and_leaves_nothing(checkout, engine, request):
    images = request.getfixturevalue("images") if engine == "compose" else {}
    chosen = {"ENGINE": engine, "AIRFLOW_PORT": str(free_port())}
    environ = os.environ | images | chosen | {"WORKFLOW_DEV_DIR": "/no/where"}
    files_before = snapshot(checkout)
    try:
        first = run("./inv", "demo", cwd=checkout, env=environ, stdin=subprocess.DEVNULL)
        assert first.returncode == 0, first.stdout + first.stderr
        output = first.stdout + first.stderr
        archived = re.search(r"^ +archive +(/.*)$", output, re.M)[1]
        assert sorted(os.listdir(archived)) == ["dips.txt", "images", "manifest-xxh64.txt"]
        assert archived.startswith(str(checkout / ".demo"))
        assert f"Engine: {engine} (" in output
        assert engine == "standalone" or len(of_the_demo(checkout)) > len(["container", "volume", "network", "image"])
        environ = {name: value for name, value in environ.items() if name not in {**images, **chosen}}  # it saved them
        second = run("./inv", "demo", cwd=checkout, env=environ, stdin=subprocess.DEVNULL)
        assert "Already up and healthy" in second.stderr and "W0DEMO02" in second.stderr, second.stderr
    finally:
        down = run("./inv", "demo", "--down", cwd=checkout, env=environ, stdin=subprocess.DEVNULL)
    assert down.returncode == 0, down.stdout + down.stderr
    assert engine == "standalone" or of_the_demo(checkout) == []
    assert not processes.tagged(str(checkout / ".demo" / ".state" / "standalone"))
    left = {name: entry for name, entry in snapshot(checkout).items() if not re.match(r"\.venv|.*__pycache__", name)}
    assert left == files_before
    assert "There is no demo" in run("./inv", "demo", "--down", cwd=checkout, env=environ).stderr
