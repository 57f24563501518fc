"""What is typed, and what it means: times, words behind a verb, names of settings files."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from conftest import INV
from invoke.collection import Collection
from invoke.context import Context

import tasks
from airflow_docker import PROJECT, files, program, project_state
from airflow_docker.cli.verb import Verb
from airflow_docker.engines import ServiceState
from airflow_docker.errors import UserError
from airflow_docker.verbs import builds, dags, operate, stack, status

VERBS = {name: tasks.namespace[name] for name in tasks.namespace.task_names}


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("2d", 172800), ("45s", 45), ("1d1h1m1s", 90061)]
)
def test_durations(text, seconds):
    expected = datetime.now(UTC) - timedelta(seconds=seconds)
    assert abs((operate.parse_since(text) - expected).total_seconds()) < 5


def test_times_and_what_is_neither():
    assert operate.parse_since("2026-01-31T08:00:00+00:00") == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert operate.parse_since("2026-01-31").tzinfo is not None
    for text in ("yesterday", "10", "m10"):
        with pytest.raises(UserError, match="--since"):
            operate.parse_since(text)


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("logs scheduler", "logs --service=scheduler"),
        ("logs scheduler webserver --follow", "logs --service=scheduler --service=webserver --follow"),
        ("logs --tail 5 scheduler", "logs --tail 5 --service=scheduler"),
        ("logs -t 5", "logs -t 5"),
        ("logs --tail=5 scheduler", "logs --tail=5 --service=scheduler"),
        ("restart webserver status", "restart --service=webserver status"),
        ("pull build up", "pull build up"),
        ("up nonsense", "up nonsense"),
        ("shell", "shell"),
    ],
)
def test_words_behind_a_verb(typed, parsed):
    assert program.with_flags(typed.split(), VERBS) == parsed.split()


def test_settings_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "PROJECT", tmp_path)
    (tmp_path / ".env.example").write_text("")
    with pytest.raises(UserError, match="Copy .env.example"):
        program.env_file("staging")
    (tmp_path / ".env.staging").write_text("")
    assert program.env_file("staging") == tmp_path / ".env.staging"
    with pytest.raises(UserError, match="There are: staging"):
        program.env_file("production")


def test_every_verb_has_a_group():
    assert isinstance(tasks.namespace, Collection)
    assert {verb.group for verb in VERBS.values()} >= {"Run", "Build", "Operate"}


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (125, "2 min"), (7300, "2 h"), (200000, "2 d")])
def test_ago(seconds, text):
    assert status.ago((datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()) == text


def test_sizes(tmp_path):
    assert (status.megabytes(1_500_000), status.megabytes(2_500_000_000)) == ("1.5 MB", "2.5 GB")
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"x" * 5)
    assert files.size_of(tmp_path, float("inf")) == 15
    assert files.size_of(tmp_path, 0.0) is None


def test_status_shows_several_of_a_service_apart_and_all_in_the_order_of_their_start():
    def state(service, number=1):
        return ServiceState(service, f"{service}{number}", "running", "healthy", number=number)

    states = [state("worker", 10), state("worker", 2), state("old"), state("scheduler"), state("worker", 1)]
    ordered = status.in_order(states, ["scheduler", "worker"])
    assert [f"{s.service}{s.number}" for s in ordered] == ["scheduler1", "worker1", "worker2", "worker10", "old1"]
    named = status.names([("scheduler", 1), ("worker", 1), ("worker", 2)])
    assert named == ["scheduler", "worker-1", "worker-2"]


@pytest.mark.parametrize("text", ["0", "101", "-1", "x", "", "1.5", "²"])
def test_what_is_no_number_of_workers(text):
    with pytest.raises(UserError, match="inv scale: '.*' is not a number from 1 to 100"):
        stack.worker_count("inv scale", text)
    assert stack.worker_count("inv scale", "100") == 100


def test_flags_of_the_program_keep_their_values():
    parsed = program.with_flags(["logs", "--env", "staging", "scheduler"], VERBS, {"--env"})
    assert parsed == ["logs", "--env", "staging", "--service=scheduler"]


def test_no_duration_is_too_long():
    with pytest.raises(UserError, match="--since"):
        operate.parse_since("9999999999d")


def test_the_repository_of_a_hook_is_left_alone(monkeypatch):
    from airflow_docker.sources import remotes

    monkeypatch.setenv("GIT_DIR", "/somebody/else/.git")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    Verb(lambda: None).run(Context(), {})
    assert "GIT_DIR" not in remotes.os.environ and "GIT_CONFIG_COUNT" in remotes.os.environ


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["stauts"], "inv: No idea what 'stauts' is. Did you mean status?"),
        (["logs", "--tiel", "5"], "Did you mean --tail?"),
        (["dags", "--conf", "{}"], "--conf: is for a run. Name the DAG: inv dags --run DAG --conf"),
        (["dags", "--unpause"], "--unpause: is for a run."),
        (["dags", "--follow", "x"], "--follow: is for a run."),
        (["dags", "--run", "x", "--json"], "--json: is for the list of DAGs."),
        (["dags", "--run", "x", "--follow", "y", "--conf", "{}"], "--conf: is for a new run, and --follow triggers"),
        (["restore"], "inv: 'restore' did not receive required positional arguments: 'file'."),
    ],
)
def test_what_cannot_be_parsed_is_one_sentence_and_bad_usage(typed, message):
    command = [*INV, *typed]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ENGINE": "standalone"})
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("typed", ["config", "--list", "--help build"])
def test_a_reader_that_has_seen_enough_is_no_error(typed):
    command = f"'{sys.executable}' '{PROJECT}/airflow_docker' --search-root '{PROJECT}' {typed} | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in result.stderr and "BrokenPipe" not in result.stderr


@pytest.mark.parametrize(("code", "output"), [(0, ""), (3, '{"dags":')])
def test_a_parse_without_an_answer_shows_what_was_said(code, output, capsys):
    result = subprocess.CompletedProcess([], code, output, "the last word\n")
    engine = SimpleNamespace(parse_dags=lambda isolated: result)
    with pytest.raises(UserError, match=rf"ended with exit code {code}"):
        dags.parse(engine, isolated=True)
    assert "the last word" in capsys.readouterr().err


def test_who_may_not_see_the_secrets_gets_the_rest_of_the_status(monkeypatch):
    def closed(*_):
        raise PermissionError

    monkeypatch.setattr(status.secret_files, "check", closed)
    assert status._secrets(SimpleNamespace(settings=None, secret_owner=None)) == "unusable"


def test_the_last_build_is_shown_whatever_the_settings_are_now(make_settings, capsys):
    settings = make_settings("SYSTEM_PACKAGES=git\n")
    settings.state_dir.mkdir()
    record = {"artifact": "it", "settings": {}, "revisions": {}}
    project_state.update(settings, "compose", build=record)
    builder = SimpleNamespace(has=lambda _: True, labels=lambda name: {"of": name})
    engine = SimpleNamespace(name="compose", settings=settings, builder=builder)
    assert builds.built(engine) is None
    builds.show(engine)
    assert re.search(r"^of +it\b", capsys.readouterr().out, re.M)
