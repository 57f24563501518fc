"""Which tests each kind of `inv test` runs."""

import pytest

from airflow_docker.verbs import development


@pytest.fixture
def commands(monkeypatch):
    """What is run, with the variables that are added to the environment."""
    commands = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(development, "_install_tools", lambda: None)
    monkeypatch.setattr(development, "_run", lambda args, env: commands.append((args[3:], env)))
    return commands


TWO = ["--numprocesses=2", "--dist=loadgroup"]


@pytest.mark.parametrize(
    ("only", "k", "kind", "args", "env"),
    [
        ("", "", "", [*TWO, "tests/unit", "tests/stack/test_demo.py"], {}),
        ("", "", "quick", [*TWO, "tests/unit"], {}),
        ("", "", "all", TWO, {}),
        ("", "", "trust", ["tests/trust", "tests/job", "tests/stack/test_base_images.py"], {"TRUST": "full"}),
        ("tests/trust/test_load.py", "", "trust", ["tests/trust/test_load.py"], {"TRUST": "full"}),
        (
            "",
            "kill",
            "trust",
            ["tests/trust", "tests/job", "tests/stack/test_base_images.py", "-k", "kill"],
            {"TRUST": "full"},
        ),
        ("tests/unit", "", "", ["tests/unit"], {}),
        ("", "lock", "", ["-k", "lock"], {}),
        ("", "lock", "quick", ["tests/unit", "-k", "lock"], {}),
    ],
)
def test_each_kind_runs_its_folders(commands, only, k, kind, args, env):
    development.test(only, k, kind)
    assert commands == [(args, env)]


def test_what_is_left_out_is_said_with_the_command_that_runs_it(commands, capsys):
    development.test("", "", "")
    assert "Left out: " in capsys.readouterr().err
    development.test("", "", "all")
    assert "Left out" not in capsys.readouterr().err


def test_in_ci_every_test_is_run(commands, monkeypatch):
    monkeypatch.setenv("CI", "true")
    development.test("", "", "")
    assert commands == [(TWO, {})]


def test_every_folder_that_is_named_is_there():
    named = {folder for folders in development.FOLDERS.values() for folder in folders}
    assert all((development.PROJECT / folder).exists() for folder in named)
