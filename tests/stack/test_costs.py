"""Cost of a verb that has nothing to do: started programs and imported modules, as time depends on the machine."""

import re
import shutil
from collections import Counter

import pytest

from stack.conftest import INV, run

ON = ("compose",)
HEAVY = {"git", "rich", "pooch", "requests", "psutil", "cryptography", "packaging"}
"""Modules that few runs need and that are slow to import."""
OTHERS = {f"airflow_docker.engines.{name}.engine" for name in ("standalone", "swarm")}
DOCKER = {
    "build": ["image inspect", "image inspect"],
    "pull": [],
    "status": ["version", "ps", "inspect", "ps", "exec"],
    "up": ["version", "image inspect", "ps", "inspect", "ps", "exec"],
}
"""No CLI plugin (docker compose): starting one takes as long as four of these."""
GIT = {
    "build": {"status": 4, "log": 2},  # again once it holds the lock of BUILD_DIR
    "pull": {"--version": 1, "rev-parse": 2, "status": 2, "remote": 2, "config": 2, "fetch": 2, "for-each-ref": 2},
    "status": {"status": 2},
    "up": {"diff": 2},
}
"""Of both repositories together, which run in parallel."""


@pytest.fixture
def spent(stack, tmp_path):
    """``spent(verb)``: the docker and git commands that it runs, in order, and the modules that it imports."""
    for name in ("docker", "git"):
        script = f'#!/bin/sh\necho "$*" >>"{tmp_path}/{name}.log"\nexec "{shutil.which(name)}" "$@"\n'
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)

    def of(verb):
        environ = stack.environ
        overrides = {"PATH": f"{tmp_path}:{environ['PATH']}", "PYTHONPROFILEIMPORTTIME": "1"}
        result = run(*INV, verb, env=environ | overrides)
        assert result.returncode == 0, result.stdout + result.stderr
        log_files = [tmp_path / f"{name}.log" for name in ("docker", "git")]
        docker, git = (file.read_text().splitlines() if file.exists() else [] for file in log_files)
        return docker, git, set(re.findall(r"^import time:.*\| +(\S+)$", result.stderr, re.M))

    return of


@pytest.mark.parametrize("verb", DOCKER)
def test_where_there_is_nothing_to_do_little_is_started_and_loaded(spent, verb):
    docker, git, modules = spent(verb)
    assert [re.match(r"(image )?\S+", line)[0] for line in docker] == DOCKER[verb]
    assert Counter(re.match(r"(-C .*/(ao-workflows|archive-ops) )?(\S+)", line)[3] for line in git) == GIT[verb]
    assert "airflow_docker.settings" in modules
    assert not modules & (HEAVY | OTHERS)
