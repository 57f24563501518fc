"""Airflow's web page on each engine, as a person uses it."""

import io
import re

from playwright.sync_api import expect
from rich.console import Console
from rich.text import Text

from airflow_docker.demo import drop_work
from airflow_docker.engines import choose

RUN_SECONDS = 240


def log_in(page, stack, password):
    page.goto("/")
    page.get_by_label("Username").fill(stack.settings.airflow_admin_user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign In").click()


def password_of(stack):
    return (stack.settings.secrets_dir / "admin_password").read_text()


def test_a_wrong_password_is_turned_away(page, stack):
    log_in(page, stack, password_of(stack)[:-1])
    expect(page.get_by_text("Invalid login. Please try again.")).to_be_visible()
    page.goto("/home")
    expect(page).to_have_url(re.compile("/login/"))


def test_a_dag_is_found_and_triggered_and_its_run_and_log_are_seen(page, stack, pictures):
    log_in(page, stack, password_of(stack))
    page.get_by_role("link", name="sample_sync", exact=True).click()
    run = trigger(page)
    # The run that waits already takes one of them, and the one just triggered the other.
    for work in ("W1PAGE1", "W1PAGE2"):
        drop_work(choose(stack.settings), work)
    expect(page.get_by_role("row", name="Status success")).to_be_visible(timeout=RUN_SECONDS * 1000)
    expect(page.get_by_role("row", name=f"Run ID {run}")).to_be_visible()
    read_log(page, "sync", re.compile(r"Returned value was: .*/Archive/W1PAGE[12]"))
    page.screenshot(path=pictures / "run.png")
    look_at_list(page)
    page.screenshot(path=pictures / "dags.png")


def trigger(page):
    """Press the page's button; the id of the new run, which is what the page shows then."""
    page.wait_for_url("**/dags/sample_sync/grid")
    page.get_by_role("link", name="Trigger DAG").click()
    told = page.get_by_text("Triggered sample_sync with new Run ID")
    expect(told).to_be_visible()
    return re.search(r"manual__[^ ,]+", told.inner_text())[0]


def read_log(page, task, line):
    """Open the log of a task of the run that is shown, and see a line in it."""
    row = page.get_by_role("group").filter(has=page.get_by_test_id(task))
    row.locator("[data-selected=true]").get_by_test_id("task-instance").click()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text(line).first).to_be_visible()


def look_at_list(page):
    """Go back to the list of DAGs, and see there that runs have succeeded."""
    page.get_by_role("link", name="DAGs", exact=True).click()
    page.wait_for_url("**/home")
    expect(page.locator("#dag-run-sample_sync-success")).to_have_attribute("title", re.compile("success: [1-9]"))
    expect(page.locator("circle:not([style*='opacity: 1;'])")).to_have_count(0)  # they fade in


def test_status_as_a_picture(stack, pictures):
    said = stack.inv("status").partition("· ")[0]  # what goes to standard output
    usual = {stack.settings.compose_project_name: "airflow-docker-3f9a1c", str(stack.settings.airflow_port): "8089"}
    for own, shown in usual.items():
        said = said.replace(own, shown)
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text(f"$ inv status\n{said.rstrip()}"))
    drawn = console.export_svg(title="inv status", unique_id="status")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # they would come from the internet
    (pictures / "status.svg").write_text(drawn)
    assert "healthy" in drawn and "url(http" not in drawn
