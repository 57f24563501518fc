"""Page objects for the web UI of each release of Airflow."""

import re

from playwright.sync_api import expect

RUN_SECONDS = 60
"""The longest time of a run on a busy machine, once there is a work for it."""
SOON = {"timeout": RUN_SECONDS * 1000}


class WebUIOf2:
    """Airflow 2. ``page`` is Playwright's."""

    home, login = "/home", "/login/"

    def __init__(self, page, settings):
        self.page, self.settings = page, settings

    def log_in(self, password):
        self.page.goto("/")
        self.page.get_by_label("Username").fill(self.settings.airflow_admin_user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign In").click()

    def is_turned_away(self):
        """Check that an error is shown and that the home page asks for a login."""
        expect(self.page.get_by_text("Invalid login. Please try again.")).to_be_visible()
        self.page.goto(self.home)
        expect(self.page).to_have_url(re.compile(self.login))

    def open_dag(self):
        self.page.get_by_role("link", name="sample_sync", exact=True).click()
        self.page.wait_for_url("**/dags/sample_sync/grid")

    def trigger(self):
        """Trigger a run, which is then shown; returns its id."""
        self.page.get_by_role("link", name="Trigger DAG").click()
        message = self.page.get_by_text("Triggered sample_sync with new Run ID")
        expect(message).to_be_visible()
        return re.search(r"manual__[^ ,]+", message.inner_text())[0]

    def sees_success(self, run):
        """True if the run that is shown succeeds within RUN_SECONDS."""
        expect(self.page.get_by_role("row", name=f"Run ID {run}")).to_be_visible()
        return self._comes(lambda: expect(self.page.get_by_role("row", name="Status success")).to_be_visible(**SOON))

    @staticmethod
    def _comes(see):
        try:
            see()
        except AssertionError:
            return False
        return True

    def read_log(self, task, line):
        """Open the log of a task of the run that is shown, and check for a line."""
        row = self.page.get_by_role("group").filter(has=self.page.get_by_test_id(task))
        row.locator("[data-selected=true]").get_by_test_id("task-instance").click()
        self.page.get_by_role("tab", name="Logs").click()
        expect(self.page.get_by_text(line).first).to_be_visible()

    def look_at_list(self):
        """Go to the list of DAGs, and check that runs have succeeded."""
        self.page.get_by_role("link", name="DAGs", exact=True).click()
        self.page.wait_for_url("**/home")
        succeeded = self.page.locator("#dag-run-sample_sync-success")
        expect(succeeded).to_have_attribute("title", re.compile("success: [1-9]"))
        expect(self.page.locator("circle:not([style*='opacity: 1;'])")).to_have_count(0)  # they fade in


class WebUIOf3(WebUIOf2):
    """Airflow 3."""

    home, login = "/", "/auth/login/"

    def open_dag(self):
        self.page.get_by_role("link", name="Dags", exact=True).click()
        self.page.get_by_role("link", name="sample_sync", exact=True).click()
        self.page.wait_for_url("**/dags/sample_sync")

    def trigger(self):
        self.page.get_by_text("Trigger", exact=True).click()
        self.page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url("**/dags/sample_sync/runs/manual__*")
        return re.search(r"manual__[^/?]+", self.page.url)[0]

    def sees_success(self, run):
        """Looks at the state of the run and of each of its four tasks."""
        expect(self.page.get_by_role("heading", name=run)).to_be_visible()
        return self._comes(lambda: expect(self.page.get_by_text("Success", exact=True)).to_have_count(5, **SOON))

    def read_log(self, task, line):
        self.page.get_by_role("table").get_by_role("link", name=task, exact=True).click()
        expect(self.page.get_by_text(line).first).to_be_visible()

    def look_at_list(self):
        self.page.get_by_role("link", name="Dags", exact=True).click()
        expect(self.page.get_by_role("link", name="sample_sync", exact=True)).to_be_visible()
        self.page.get_by_role("link", name="Dag Runs", exact=True).click()
        expect(self.page.get_by_text("Success", exact=True).first).to_be_visible()


def web_ui_of(page, stack):
    """The page object for a stack's Airflow."""
    return (WebUIOf2 if stack.release.number == 2 else WebUIOf3)(page, stack.settings)
