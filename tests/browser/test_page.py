"""Airflow's web UI on each engine, used through a browser."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text
from stack.conftest import ENGINES, FLAVOURS

from airflow_docker.engines.choice import choose
from airflow_docker.verbs.demo import drop_work
from browser.pages import web_ui_of

ON = tuple(FLAVOURS)
WORKS = 6


def password_of(stack):
    return (stack.settings.secrets_dir / "admin_password").read_text()


def test_a_wrong_password_is_turned_away(page, stack):
    web_ui = web_ui_of(page, stack)
    web_ui.log_in(password_of(stack)[:-1])
    web_ui.is_turned_away()


def test_a_dag_is_found_and_triggered_and_its_run_and_log_are_seen(page, stack, pictures):
    web_ui = web_ui_of(page, stack)
    web_ui.log_in(password_of(stack))
    web_ui.open_dag()
    run = web_ui.trigger()
    # The run that already waits takes the first work. Airflow may start another scheduled run before ours.
    drop_work(choose(stack.settings), "W1PAGE0")
    for number in range(1, WORKS):
        drop_work(choose(stack.settings), f"W1PAGE{number}")
        if web_ui.sees_success(run):
            break
    else:
        runs = stack.sql("SELECT run_id, state FROM dag_run")
        tasks = stack.sql("SELECT run_id, task_id, state FROM task_instance")
        pytest.fail(f"{run} has not succeeded:\n{runs}\n{tasks}")
    web_ui.read_log("sync", re.compile(r"Returned value was: .*/Archive/W1PAGE[0-9]"))
    page.screenshot(path=pictures / "run.png")
    web_ui.look_at_list()
    page.screenshot(path=pictures / "dags.png")


@pytest.mark.on(*ENGINES)
def test_status_as_a_picture(stack, pictures):
    output = stack.inv("status").partition("· ")[0]  # standard output only
    usual = {stack.settings.compose_project_name: "airflow-docker-3f9a1c", str(stack.settings.airflow_port): "8089"}
    for own, shown in usual.items():
        output = output.replace(own, shown)
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text(f"$ inv status\n{output.rstrip()}"))
    drawn = console.export_svg(title="inv status", unique_id="status")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # they would come from the internet
    (pictures / "status.svg").write_text(drawn)
    assert "healthy" in drawn and "url(http" not in drawn
