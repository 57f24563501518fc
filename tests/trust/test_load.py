"""Many tasks at once: none is lost, none runs twice; throughput and memory are measured."""

from trust.conftest import count
from trust.many import Many, timed
from trust.meters import memory, most, of_stack

TASKS = count(full=1000, short=40)


def test_of_many_tasks_none_is_lost_and_none_is_run_twice(stack, figure):
    many = Many(stack, tasks=TASKS, seconds=0, at_once=16, retries=0, name="load")
    many.deploy()
    with most(lambda: memory(of_stack(stack))) as peak:
        many.begin("load")
        seconds = timed()
        assert many.wait_for_end("load", 3000) == "success"
        took = seconds()
    assert many.states("load") == f"success|{TASKS}|{TASKS}"
    assert sorted(many.lines("load")) == list(range(TASKS))
    figure(f"{stack.engine}: tasks, none lost, none run twice", TASKS)
    figure(f"{stack.engine}: tasks per minute", f"{TASKS / took * 60:.0f}")
    figure(f"{stack.engine}: peak memory, MB", f"{peak() / 1e6:.0f}")
