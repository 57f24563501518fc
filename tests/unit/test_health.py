"""What container states mean, and that waiting ends at once when a service has failed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_docker.engines import ServiceState, health
from airflow_docker.engines.health import judge
from airflow_docker.errors import UserError

SERVICES, ONE_SHOT = ("postgres", "init", "webserver"), ("init",)


def state(service, state="running", health="healthy", **more):
    return ServiceState(service, f"id-{service}", state, health, **more)


HEALTHY = [state("postgres"), state("init", "exited", ""), state("webserver")]


def verdict(*states, before=None):
    changed = {s.service: s for s in HEALTHY} | {s.service: s for s in states}
    return judge(list(changed.values()), SERVICES, ONE_SHOT, before or {})


def test_all_ready():
    assert verdict().all_ready and verdict().ready == SERVICES


@pytest.mark.parametrize(
    "waiting",
    [
        state("webserver", "running", "starting"),
        state("webserver", "created", ""),
        state("init", "running", ""),
        state("init", "created", ""),
    ],
)
def test_waiting(waiting):
    assert verdict(waiting).waiting == (waiting.service,) and verdict(waiting).failed is None


def test_a_service_without_a_container_is_waited_for():
    assert judge(HEALTHY[:2], SERVICES, ONE_SHOT, {}).waiting == ("webserver",)


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        (state("init", "exited", "", exit_code=1), "has ended with exit code 1"),
        (state("webserver", "exited", "", exit_code=0), "has ended with exit code 0"),
        (state("webserver", "dead", ""), "has ended with exit code 0"),
        (state("webserver", "restarting", "", exit_code=3), "crashes (exit code 3) and is started again and again"),
        (state("webserver", "running", "starting", restarts=1), "crashes (exit code 0) and is started again and again"),
        (state("postgres", "running", "unhealthy", probe="no"), "is unhealthy (no)"),
    ],
)
def test_failed(failed, reason):
    result = verdict(failed)
    assert (result.failed, result.reason, result.all_ready) == (failed, reason, False)


@pytest.mark.parametrize(
    ("states", "problems"),
    [
        (HEALTHY, ""),
        ([*HEALTHY[:2], state("webserver", restarts=3)], ""),
        ([*HEALTHY[:2], state("webserver", health="starting")], "webserver is not ready"),
        ([*HEALTHY[:2], state("webserver", health="unhealthy", probe="no")], "webserver is unhealthy (no)"),
        (HEALTHY[:2], "webserver is not ready"),
        ([], "nothing runs"),
    ],
)
def test_what_is_not_healthy_now_is_reported(states, problems):
    engine = SimpleNamespace(states=lambda: states, services=lambda: SERVICES, one_shot=ONE_SHOT)
    assert health.describe_problems(engine) == problems


def test_earlier_restarts_do_not_count():
    old = state("webserver", restarts=3)
    assert verdict(old, before={old.container: old}).all_ready
    assert verdict(state("webserver", restarts=4), before={old.container: old}).failed
    healing = state("webserver", "restarting", restarts=3)
    assert verdict(healing, before={healing.container: healing}).waiting == ("webserver",)


def test_a_service_of_several_is_ready_when_all_of_them_are():
    def several(*more):
        return judge(
            [*HEALTHY[:2], *(replace(state, container=f"id-{n}") for n, state in enumerate(more))],
            SERVICES,
            ONE_SHOT,
            {},
        )

    well, starts = state("webserver"), state("webserver", "running", "starting")
    assert several(well, well).all_ready
    assert several(well, starts).waiting == ("webserver",) and several(starts, well).waiting == ("webserver",)
    result = several(well, state("webserver", "exited", "", exit_code=137))
    assert (result.failed.container, result.reason) == ("id-1", "has ended with exit code 137")


class Scripted:
    """An engine whose states follow a script; the last one stays."""

    one_shot = ONE_SHOT
    name = "compose"
    settings = SimpleNamespace(memory_limit="1500m", logs_dir=Path("/nowhere"), state_dir=Path("/nowhere"))

    def __init__(self, *script):
        self.script = list(script)

    def services(self):
        return list(SERVICES)

    def states(self):
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def last_lines(self, container, lines=20):
        return f"the last lines of {container}"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(health, "POLL_SECONDS", 0.01)


def wait(engine, timeout=5.0, before=None, is_done=lambda: True):
    health.wait(engine, timeout=timeout, before=before or {}, is_done=is_done)


def test_wait_announces_each_service_once(capsys):
    wait(Scripted([], HEALTHY[:2], HEALTHY))
    stderr = capsys.readouterr().err
    assert [stderr.count(f"{name} ") for name in SERVICES] == [1, 1, 1]
    assert "init has done its work" in stderr and "webserver is healthy" in stderr


def test_wait_gives_up_with_the_last_lines_and_the_next_command(capsys):
    broken = [*HEALTHY[:2], state("webserver", "restarting", "", exit_code=1)]
    with pytest.raises(UserError) as caught:
        wait(Scripted([], broken), timeout=1000)
    assert caught.value.text.startswith("webserver: the service crashes (exit code 1)")
    assert "Read on: inv logs webserver" in caught.value.text
    assert "the last lines of id-webserver" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failed", "sentence"),
    [
        (state("init", "exited", "", exit_code=137, out_of_memory=True), "It was killed because memory ran out"),
        (state("init", "exited", "", exit_code=137), "It was killed, as happens when memory runs out"),
    ],
)
def test_a_kill_for_want_of_memory_is_reported_with_the_limit(failed, sentence):
    with pytest.raises(UserError) as caught:
        wait(Scripted([HEALTHY[0], failed, HEALTHY[2]]))
    assert caught.value.what == f"the service has ended with exit code 137. {sentence} (MEMORY_LIMIT is 1500m)."


def test_earlier_containers_do_not_count_until_the_engine_has_finished():
    old = [*HEALTHY[:2], state("webserver", started="yesterday")]
    stopping = [*HEALTHY[:2], state("webserver", "exited", "", exit_code=137, started="yesterday")]
    new = [*HEALTHY[:2], state("webserver", started="today")]
    engine = Scripted(old, stopping, new)
    acted = iter([False, False, False, True])
    wait(engine, before={s.container: s for s in old}, is_done=lambda: next(acted, True))
    assert engine.script == [new]


def test_a_container_that_was_started_again_counts_at_once():
    old = state("webserver", "exited", "", started="yesterday")
    crashed = state("webserver", "exited", "", exit_code=1, started="today")
    with pytest.raises(UserError, match="webserver: the service has ended with exit code 1"):
        wait(Scripted([*HEALTHY[:2], crashed]), before={old.container: old}, is_done=lambda: False)


def test_a_wait_may_be_for_some_services_only(capsys):
    engine = Scripted([*HEALTHY[:2], state("webserver", "running", "starting")])
    health.wait(engine, timeout=5.0, before={}, is_done=lambda: True, only=["postgres"])
    assert "postgres is healthy" in capsys.readouterr().err


def test_wait_ends_when_time_is_up():
    slow = [*HEALTHY[:2], state("webserver", "running", "starting", probe="refused")]
    with pytest.raises(
        UserError, match=r"webserver: the service is not healthy after 0.05 s \(it is running, starting, refused\)"
    ):
        wait(Scripted(slow), timeout=0.05)
    with pytest.raises(UserError, match="webserver: was not started within 0.05 s"):
        wait(Scripted(HEALTHY[:2]), timeout=0.05)
