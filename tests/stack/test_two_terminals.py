"""Two verbs at once: a stop ends the wait of a start, and a verb that must wait says for whom."""

from trust.verbs import Running

ON = ("standalone", "compose")


def test_a_stop_ends_the_wait_of_a_restart_and_of_a_start(stack):
    """`down` need not wait until all is healthy, and nothing runs afterwards."""
    for verb, begun in (("restart", "Restarting"), ("up", "Starting")):
        waiting = Running(stack, verb)
        waiting.until(
            lambda it, begun=begun: begun in it.text and not (stack.settings.state_dir / ".project.lock").exists()
        )
        stack.inv("down")
        assert waiting.process.wait(60) == 1, waiting.text
        name = stack.settings.compose_project_name
        assert f"{name}: was stopped by another inv while this one waited. To start it: inv up" in waiting.text
        assert "is not running" in stack.inv("status", code=3)
    stack.inv("up")


def test_a_second_start_waits_for_the_first_and_both_succeed(stack):
    """Nothing is started twice, and the second says for whom it waits."""
    stack.inv("down")
    first = Running(stack, "up")
    first.until(lambda it: "Starting" in it.text)
    second = stack.inv("up")
    assert first.process.wait(300) == 0, first.text
    assert "Already up and healthy" in second
    assert "healthy" in stack.inv("status")
