"""What differs between the releases of Airflow is consistent for each."""

import os
from types import SimpleNamespace

import pytest

from airflow_docker import PROJECT
from airflow_docker.engines import release
from airflow_docker.engines.release import THREE, TWO
from airflow_docker.engines.standalone.variables import own_variables
from airflow_docker.verbs import clean, rotation
from airflow_docker.verbs.task_logs import readable


@pytest.mark.parametrize(("version", "expected"), [("2.11.2", TWO), ("2.8.3", TWO), ("3.3.2", THREE), ("3.0.0", THREE)])
def test_the_version_decides(make_settings, version, expected):
    assert release.of(make_settings(f"AIRFLOW_VERSION={version}\n")) is expected


@pytest.mark.parametrize("airflow", [TWO, THREE])
def test_every_service_but_the_web_ui_sends_heartbeats(airflow):
    assert set(airflow.commands) - {airflow.page} == set(airflow.jobs)
    assert airflow.parser in airflow.jobs


@pytest.mark.parametrize(
    ("airflow", "option"), [(TWO, "AIRFLOW__WEBSERVER__BASE_URL"), (THREE, "AIRFLOW__API__BASE_URL")]
)
def test_the_web_ui_may_have_a_path(make_settings, airflow, option):
    version = {2: "2.11.2", 3: "3.3.2"}[airflow.number]
    assert airflow.web_ui_path(make_settings(f"AIRFLOW_VERSION={version}\n")) == ""
    settings = make_settings(f"AIRFLOW_VERSION={version}\n{option}=https://host.example/air/flow/\n")
    assert airflow.web_ui_path(settings) == "/air/flow"


def options(number):
    """The options that the compose engine gives to one release."""
    lines = (PROJECT / "docker" / f"airflow-{number}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("version", ["2.11.2", "3.3.2"])
def test_both_engines_give_airflow_the_same_options(make_settings, tmp_path, version):
    ours = options(version[0])
    env = own_variables(make_settings(f"AIRFLOW_VERSION={version}\n"), tmp_path)
    assert set(ours) <= set(env)
    for name, value in ours.items():
        if name.endswith("_CMD"):
            assert env[name].rpartition("/")[2] == value.rpartition("/")[2]
    other = set(options(5 - int(version[0]))) - set(ours)
    assert not other & set(env)


@pytest.mark.parametrize(
    ("version", "name", "rotated"),
    [
        ("2.11.2", "admin_password", ["admin_password"]),
        ("3.3.2", "admin_password", ["admin_password", "jwt_secret"]),
        ("3.3.2", "webserver_secret_key", ["webserver_secret_key", "jwt_secret"]),
        ("3.3.2", "fernet_key", ["fernet_key"]),
        ("3.3.2", "jwt_secret", ["jwt_secret"]),
    ],
)
def test_a_new_key_ends_the_right_logins(make_settings, version, name, rotated):
    engine = SimpleNamespace(settings=make_settings(f"AIRFLOW_VERSION={version}\n"))
    assert rotation._with_new_key(engine, name) == rotated


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("[2026-01-01] {x.py:1} INFO - of Airflow 2", ["[2026-01-01] {x.py:1} INFO - of Airflow 2"]),
        ('{"timestamp": "t", "event": "two\\nlines", "level": "info"}', ["two", "lines"]),
        (
            '{"event": "Task failed", "error_detail": [{"exc_type": "ValueError", "exc_value": "as asked"}]}',
            ["Task failed", "ValueError: as asked"],
        ),
        ('{"no": "event"}', ['{"no": "event"}']),
        ("[1]", ["[1]"]),
        ("7", ["7"]),
        ('{"event": "x", "error_detail": [1]}', ['{"event": "x", "error_detail": [1]}']),
    ],
)
def test_a_line_of_a_log_is_readable(line, shown):
    assert readable(line) == shown


def test_logs_of_either_release_can_be_cleaned_away_and_nothing_else(tmp_path):
    ours = ["dag_id=a/run_id=b", "scheduler/2026-01-01", "dag_processor/2026-01-01"]
    for name in (*ours, "mine/2026-01-01", "dag_id=a/mine", "dag_processor/mine"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dag_processor/9999-latest").symlink_to(tmp_path / "dag_processor/2026-01-01")
    assert [str(folder.relative_to(tmp_path)) for folder in clean._log_folders(tmp_path)] == ours


def test_the_log_of_a_run_that_has_just_begun_is_not_old(tmp_path):
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "log").write_text("x")
    for entry in (tmp_path / "old" / "log", tmp_path / "old"):
        os.utime(entry, (1, 1))
    assert clean._newest(tmp_path / "old") == 1 and clean._newest(tmp_path / "new") > 1e9


def test_the_address_of_the_web_ui_has_its_path(make_settings):
    at = "AIRFLOW__{}__BASE_URL=https://h.example/air/\nAIRFLOW_PORT=9\n"
    assert release.address(make_settings(at.format("WEBSERVER"))) == "http://localhost:9/air"
    assert release.address(make_settings(at.format("API") + "AIRFLOW_VERSION=3.3.2\n")) == "http://localhost:9/air"
    assert release.address(make_settings("AIRFLOW_PORT=9\n")) == "http://localhost:9"
