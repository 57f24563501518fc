"""A start after a stop that was interrupted: what the engine is still ending must not be taken for what runs."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from airflow_docker.engines import health
from airflow_docker.verbs import stack


class Engine:
    """Notes what is done with it."""

    name = "compose"

    def __init__(self, settings):
        self.settings, self.done, self.is_killed = settings, [], False

    def stop(self, data):
        self.done.append(f"stop {data}")
        if self.is_killed:
            raise KeyboardInterrupt

    def states(self):
        return []

    def config_digest(self):
        return "settings"

    @contextmanager
    def starting(self, *, unchanged, workers):
        self.done.append(f"start {unchanged}")
        yield lambda: True


@pytest.fixture
def engine(make_settings, monkeypatch):
    monkeypatch.setattr(health, "wait", lambda *_, **__: None)
    monkeypatch.setattr(stack, "db_version", SimpleNamespace(will_migrate=lambda _: False, record=lambda _: None))
    return Engine(make_settings())


def test_it_is_finished_first(engine):
    stack.start(engine, 1)
    engine.is_killed = True
    with pytest.raises(KeyboardInterrupt):
        stack.stop(engine)
    engine.is_killed = False
    stack.start(engine, 1)
    stack.start(engine, 1)
    assert engine.done == ["start False", "stop False", "stop False", "start False", "start True"]


def test_after_one_that_ended_nothing_is_finished(engine):
    stack.start(engine, 1)
    stack.stop(engine)
    stack.start(engine, 1)
    assert engine.done == ["start False", "stop False", "start False"]
