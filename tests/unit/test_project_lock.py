"""The lock of a project, and verbs that let go of it while they only wait for health."""

import os
import shutil
import threading

import pytest
from unit.test_interrupted_stop import Engine

from airflow_docker import project_state, secret_files
from airflow_docker.engines import health
from airflow_docker.errors import Superseded, UserError
from airflow_docker.locks import Lock
from airflow_docker.secret_files import SecretOwner
from airflow_docker.verbs import project_lock, stack, waiting


@pytest.fixture
def engine(make_settings):
    engine = Engine(make_settings("COMPOSE_PROJECT_NAME=p\n"))
    stack.mark_dirty(engine, "begun x")
    return engine


def test_a_state_dir_that_stays_empty_is_removed_again(make_settings, tmp_path):
    settings = make_settings("STATE_DIR=a/b\n")
    with project_lock.held(settings) as lock:
        assert lock.is_held and (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a").exists()
    with project_lock.held(settings):
        (settings.state_dir / "note").touch()
    assert os.listdir(settings.state_dir) == ["note"]


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        ("stopping", "p: was stopped by another inv while this one waited. To start it: inv up"),
        ("begun y", "p: was changed by another inv while this one waited. See how it is: inv status"),
    ],
)
@pytest.mark.parametrize("seen", [None, UserError("scheduler", "the service has ended.")])
def test_what_another_verb_does_meanwhile_ends_the_wait_with_that_reason(engine, monkeypatch, meanwhile, reason, seen):
    held = []

    def wait(engine, is_done):
        held.append(lock.is_held)
        assert is_done()
        stack.mark_dirty(engine, meanwhile)
        if seen:
            raise seen
        is_done()

    monkeypatch.setattr(health, "wait", wait)
    with (
        project_lock.held(engine.settings) as lock,
        pytest.raises(Superseded) as ended,
        waiting.letting_go(engine, lock) as wait_for,
    ):
        wait_for(lambda: True)
    assert (ended.value.text, held) == (reason, [False])


def test_a_state_dir_that_cannot_be_made_is_left_to_the_checks_of_the_verb(make_settings, tmp_path):
    (tmp_path / "a").write_text("a file")
    with project_lock.held(make_settings("STATE_DIR=a/b\n")) as lock:
        assert not lock.is_held


def test_a_start_records_what_runs_only_if_nothing_else_was_recorded_meanwhile(engine, monkeypatch):
    monkeypatch.setattr(health, "wait", lambda engine, is_done: is_done())
    with project_lock.held(engine.settings) as lock:
        with waiting.letting_go(engine, lock) as wait:
            wait(lambda: True)
            wait.record("x")
        assert project_state.read(engine.settings, engine.name).started == "x"
        with pytest.raises(Superseded), waiting.letting_go(engine, lock) as wait:
            wait(lambda: True)
            stack.mark_dirty(engine, "stopping")
            wait.record("y")
    assert project_state.read(engine.settings, engine.name).started == "stopping"


def test_another_verb_waits_for_a_start_without_the_lock_of_the_project(engine):
    held = []
    engine.start_lock = lambda: Lock(engine.settings.state_dir / "up.lock", "start of p")
    starting = engine.start_lock()
    starting.acquire()

    def end():
        held.append(lock.is_held)
        starting.release()

    with project_lock.held(engine.settings) as lock:
        threading.Timer(0.2, end).start()
        waiting.await_start(engine, lock)
        assert lock.is_held and held == [False]


def test_folders_of_state_and_secrets_may_be_one(make_settings):
    settings = make_settings("STATE_DIR=x\nSECRETS_DIR=x\n")
    settings.state_dir.mkdir(mode=0o700)
    with project_lock.held(settings):
        secret_files.put(settings, SecretOwner(os.geteuid(), "x"), {"fernet_key": "k"})


def test_a_state_dir_that_somebody_removes_does_not_end_a_wait(engine, monkeypatch):
    monkeypatch.setattr(health, "wait", lambda engine, is_done: is_done())
    with waiting.letting_go(engine, None) as wait:
        shutil.rmtree(engine.settings.state_dir)
        wait(lambda: True)
        wait.record("x")
    assert waiting.recorded(engine) == "x"


def test_a_wait_that_nobody_disturbs_ends_with_the_lock_held_again(engine, monkeypatch):
    monkeypatch.setattr(health, "wait", lambda engine, is_done: is_done())
    with project_lock.held(engine.settings) as lock:
        with waiting.letting_go(engine, lock) as wait:
            wait(lambda: True)
            assert not lock.is_held
        assert lock.is_held


def test_a_failure_of_the_start_itself_is_its_own_reason(engine, monkeypatch):
    def wait(engine, is_done):
        raise UserError("scheduler", "the service has ended.")

    monkeypatch.setattr(health, "wait", wait)
    with pytest.raises(UserError, match="scheduler: the service has ended"), waiting.letting_go(engine, None) as wait:
        wait(lambda: True)
