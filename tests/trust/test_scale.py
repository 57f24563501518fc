"""Many tasks while workers start, stop and are killed: none is lost, and none runs twice without a recorded retry."""

import contextlib
from collections import Counter

import pytest
from stack.conftest import until

from trust.conftest import count
from trust.many import Many, alone, timed
from trust.meters import busy_seconds, memory, most, of_services, processor_seconds

ON = ("compose-celery",)
TASKS = count(full=1000, short=100)
RUN_SECONDS = 2400


@pytest.fixture
def many(stack):
    """A DAG of many tasks; the stack has one worker before and after."""
    many = Many(stack, TASKS, seconds=1, at_once=32, name="scale")
    many.deploy()
    with alone(stack):
        yield many
        many.remove()
        stack.inv("scale", "1")


def kill_one(stack):
    """Kill the worker that runs most tasks, which does not restart; the number of its tasks."""
    busiest = "select hostname, count(*) from task_instance where state = 'running' group by 1 order by 2 desc limit 1"
    worker, tasks = until(lambda: stack.sql(busiest)).split("|")
    stack.docker("kill", "--signal", "KILL", worker)
    assert stack.json("status")["state"] == "unhealthy"
    return int(tasks)


@contextlib.contextmanager
def bounds(stack, figure):
    """Measure the figures of docs/scale.md during the block: resources that can become bottlenecks."""
    connections = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
    steps = ("scheduler", "postgres", "redis")

    def worked():
        return {step: processor_seconds(of_services(stack, step)) for step in steps} | {"all": busy_seconds()}

    before = worked()
    with (
        most(lambda: int(stack.sql(connections))) as connected,
        most(lambda: memory(of_services(stack, "redis"))) as broker_memory,
    ):
        yield
    for step, seconds in worked().items():
        figure(f"processor time per task, ms: {step}", f"{(seconds - before[step]) / TASKS * 1000:.0f}")
    figure("connections to the database, at most", connected())
    figure("memory of the broker, MB, at most", f"{broker_memory() / 1e6:.0f}")


def test_while_workers_come_and_go_and_are_killed_no_task_is_lost_or_run_twice_unsaid(stack, many, figure):
    def done(share):
        many.wait_for("scale", int(TASKS * share), RUN_SECONDS)

    with bounds(stack, figure):
        many.begin("scale")
        took = timed()
        done(0.05)
        stack.inv("scale", "3")  # more
        done(0.3)
        killed = kill_one(stack)
        done(0.45)
        stack.inv("scale", "3")  # the same again, in place of the one that was killed
        done(0.6)
        stack.inv("scale", "1")  # fewer
        done(0.75)
        stack.inv("scale", "2")
        assert many.wait_for_end("scale", RUN_SECONDS) == "success"
        minutes = took() / 60

    assert many.states("scale") == f"success|{TASKS}|{TASKS}"
    tries = "select map_index, try_number from task_instance where run_id = 'scale'"
    tried = {int(number): int(tries) for number, tries in (line.split("|") for line in stack.sql(tries).splitlines())}
    written = Counter(many.lines("scale"))
    assert set(written) == set(range(TASKS))
    assert {number: times for number, times in written.items() if times > tried[number]} == {}
    figure("tasks run while workers came, went and were killed", TASKS)
    figure("of these, tasks that the killed worker ran just then", killed)
    figure("of these, tasks that Airflow has tried again", sum(times > 1 for times in tried.values()))
    figure("of these, tasks that came to their end twice", sum(times > 1 for times in written.values()))
    figure("tasks per minute meanwhile", f"{TASKS / minutes:.0f}")
