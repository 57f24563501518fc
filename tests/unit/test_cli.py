"""The command line as a user meets it: sentences and exit codes, no traceback."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import INV

from airflow_docker import PROJECT, __version__
from airflow_docker.requirements import resolver


@pytest.fixture
def inv(tmp_path):
    """Run a verb with a .env of its own; exit code and output."""

    def run(*args, env="", **environ):
        (tmp_path / ".env").write_text(env)
        command = [*INV, *args]
        environment = os.environ | {"ENV_FILE": str(tmp_path / ".env")} | environ
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=tmp_path
        )
        output = result.stdout + result.stderr
        assert "Traceback" not in output, output
        return result.returncode, output

    return run


@pytest.mark.parametrize(
    ("args", "env", "code", "message"),
    [
        (["config"], "AIRFLOW_PORT=x\n", 2, "AIRFLOW_PORT: 'x' is not"),
        (["up", "--timeout", "soon"], "", 2, "--timeout: 'soon' is not a whole number of seconds."),
        (["build", "--build-dir", "~nobody-here/x"], "", 2, "--build-dir: '~nobody-here/x' names a home directory"),
        (["test", "--quick", "--all"], "", 2, "--all: cannot go with --quick."),
        (["pull", "--only", "x"], "", 2, "--only: there is no repository 'x'"),
        (["build"], "WORKFLOW_DEV_DIR=none\n", 1, "WORKFLOW_DEV_DIR: there is no checkout at"),
        (["secrets", "--check"], "", 1, "not all secrets are in order. Type: inv secrets"),
        (["--dry", "pull"], "", 2, "--dry: no verb has a dry run."),
        (["secrets"], "SECRETS_DIR=/proc/x/y\n", 1, "SECRETS_DIR: /proc/x cannot be created"),
        (["restore", "none.backup"], "ENGINE=standalone\n", 1, "none.backup: there is no such file."),
        (["restore", "--file", ""], "ENGINE=standalone\n", 2, "--file: it names nothing."),
        (["backup"], "ENGINE=standalone\n", 1, "inv backup: there is no database yet"),
        (["helm"], "ENGINE=standalone\n", 1, "inv helm: Kubernetes runs images, and standalone builds none."),
        (["helm", "--claim", "STATE_DIR=x"], "ENGINE=compose\n", 2, "--claim: 'STATE_DIR=x' is for none of"),
        (["nonsense"], "", 2, "inv: No idea what 'nonsense' is. See: inv --list"),
    ],
)
def test_each_mistake_is_one_sentence(inv, args, env, code, message):
    exit_code, output = inv(*args, env=env)
    assert (exit_code, message in output) == (code, True), output


@pytest.mark.parametrize("wrong", ["another hash", "no hash", ""])
def test_our_own_packages_are_installed_with_the_hashes_that_stand_there_or_not_at_all(tmp_path, wrong):
    (tmp_path / "airflow_docker").mkdir()
    for file in ("inv", "airflow_docker/bootstrap.py"):
        shutil.copy(PROJECT / file, tmp_path / file)
    package = re.search(r"^invoke==\S+( \\\n    --hash=\S+)+\n", (PROJECT / "requirements.txt").read_text(), re.M)[0]
    bad = {"another hash": re.sub(r"[0-9a-f]{64}", "0" * 64, package), "no hash": package.split(" ")[0] + "\n"}
    (tmp_path / "requirements.txt").write_text(bad.get(wrong, package))
    result = subprocess.run(
        [tmp_path / "inv"], capture_output=True, text=True, env=os.environ | {"PYTHON": sys._base_executable}
    )
    installed = list((tmp_path / ".venv").glob("lib/python*/site-packages/invoke"))
    assert ("could not be installed (see above)" in result.stderr) == bool(wrong), result.stderr
    assert (installed == []) == bool(wrong)


def test_the_tools_of_the_tests_are_installed_with_hashes_too():
    for file in ("requirements.txt", "requirements-dev.txt"):
        for block in resolver.blocks((PROJECT / file).read_text()):
            assert "--hash=sha256:" in block, (file, block)


def test_config_masks_secrets_and_shows_sources(inv):
    env = "SECRET_AWS__default__key=hunter2\nAO_WORKFLOWS_URL=https://me:hunter2@h/x.git\nAIRFLOW__A__B=1\n"
    code, text = inv("config", env=env, TZ="UTC", AIRFLOW__A__B="2")
    assert code == 0 and "hunter2" not in text
    rows = [line.split() for line in text.splitlines()]
    for row in (["TZ", "UTC", "environment"], ["AIRFLOW_PORT", "8089", "default"], ["AIRFLOW__A__B", "2", "environment"],
                ["AO_WORKFLOWS_URL", "https://***@h/x.git", ".env"]):  # fmt: skip
        assert row in rows
    import json

    code, text = inv("config", "--json", env=env)
    assert json.loads(text)["SECRET_AWS__default__key"]["value"] == "***"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_what_the_system_refuses_is_a_sentence(inv, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    tmp_path.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & 0o001 and str(parent).startswith("/tmp"):
            parent.chmod(0o711)
    code = (
        "import os, sys, invoke; os.setgid(1000); os.setuid(1000);"
        "sys.argv = ['inv', '--search-root', sys.argv[1], *sys.argv[2:]]; invoke.program.run()"
    )
    (tmp_path / ".env").write_text(f"SECRETS_DIR={tmp_path}/closed/s\n")
    command = [sys.executable, "-c", code.replace("invoke.program", "__import__('invoke.main').main.program")]
    environ = os.environ | {"ENV_FILE": str(tmp_path / ".env"), "HOME": "/tmp"}
    if subprocess.run(["setpriv", "--reuid=1000", "--clear-groups", "test", "-x", sys.executable]).returncode:
        pytest.skip("another user cannot run this Python")
    result = subprocess.run([*command, str(PROJECT), "secrets"], env=environ, capture_output=True, text=True)
    assert result.returncode == 1 and "permission denied" in result.stderr.lower(), result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_terminal_has_no_letter_for_is_escaped(inv):
    code, output = inv("config", env="LOGS_DIR=/ы\n", PYTHONIOENCODING="latin-1")
    assert (code, r"/\u044b" in output) == (0, True)


def test_the_version_is_ours_with_that_of_invoke(inv):
    assert inv("--version") == (0, f"airflow-docker {__version__} (Invoke {importlib.metadata.version('invoke')})\n")


def test_several_verbs_in_a_row_and_from_another_folder(inv):
    code, text = inv("config", "secrets", env="")
    assert code == 0 and "wrote db_apps.config" in text


def test_a_full_disk_is_a_sentence_even_when_nobody_knows_which_file():
    import errno

    from airflow_docker.errors import UserError, guarded

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="the disk: there is no room left .No space left on device.. Free some"):
        guarded(full)()


@pytest.mark.parametrize("keeps", [True, False])
def test_compiled_modules_are_kept_unless_python_is_not_to(inv, tmp_path, monkeypatch, keeps):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    none = {} if keeps else {"PYTHONDONTWRITEBYTECODE": "1"}
    inv("config", PYTHONPYCACHEPREFIX=str(tmp_path / "compiled"), **none)
    compiled = {file.name.partition(".")[0] for file in (tmp_path / "compiled").rglob("*.pyc")}
    assert ({"tasks", "config", "console"} <= compiled) == keeps


def test_a_pull_with_nothing_new_loads_no_gitpython(inv, remote, tmp_path):
    env = "".join(f"{name}_URL={remote.bare}\n" for name in ("AO_WORKFLOWS", "ARCHIVE_OPS"))
    assert inv("pull", env=env)[0] == 0
    code, output = inv("pull", env=env, PYTHONPROFILEIMPORTTIME="1")
    assert code == 0 and output.count("already at") == 2
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", output, re.M))
    heavy = {"git", "rich", "packaging", "psutil", "airflow_docker.engines", "airflow_docker.building"}
    assert "airflow_docker.sources.checkouts" in loaded and not loaded & heavy


def test_what_is_started_inherits_no_secret(inv, tmp_path):
    """The real git is started by a script that notes its environment."""
    (tmp_path / "git").write_text(f'#!/bin/sh\nenv >>"{tmp_path}/noted"\nexec "$REAL_GIT" "$@"\n')
    (tmp_path / "git").chmod(0o755)
    environment = {
        "SECRET_AWS__default__key": "marker-secret", "BACKUP_PASSPHRASE": "marker-passphrase",
        "AO_WORKFLOWS_URL": "http://me:marker-url@127.0.0.1:1/x", "ARCHIVE_OPS_URL": "http://me:marker-url@127.0.0.1:1/y",
        "PIP_INDEX_URL": "http://me:marker-index@127.0.0.1:1/", "UV_INDEX_COMPANY_PASSWORD": "marker-index",
    }  # fmt: skip
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REAL_GIT": shutil.which("git")}
    code, output = inv("pull", **environment, **path)
    assert code == 1 and "the host '127.0.0.1' does not answer on port 1" in output
    noted = (tmp_path / "noted").read_text()
    assert "GIT_TERMINAL_PROMPT=0" in noted and "marker" not in noted and "marker" not in output
