"""The main path on each engine: from two repositories and a .env to a work in the archive."""

import http.cookiejar
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest

from airflow_docker.engines.choice import choose
from airflow_docker.verbs import demo
from stack.conftest import ENGINES, FLAVOURS, until

ON = tuple(FLAVOURS)


def test_up_alone_does_all_that_is_missing_and_says_where_it_is(stack):
    output = stack.up_output
    for text in ("cloned at", "✓ Building ", "wrote db_apps.config", f"{stack.release.page} is healthy"):
        assert text in output
    assert f"http://localhost:{stack.settings.airflow_port}" in output
    assert str(stack.settings.secrets_dir / "admin_password") in output
    assert (stack.settings.secrets_dir / "admin_password").read_text() not in output


def test_a_work_goes_through_the_dag_and_the_script_into_the_archive(stack):
    demo.drop_work(choose(stack.settings), "W1TEST")
    arrived = demo.wait_for_arrival(choose(stack.settings), "W1TEST")
    pages = sorted(str(file.relative_to(arrived)) for file in arrived.rglob("*.txt"))
    assert pages == ["dips.txt", *(f"images/W1TEST-I1/I1000{n}.txt" for n in (1, 2, 3)), "manifest-xxh64.txt"]
    assert {file.stat().st_uid for file in arrived.rglob("*")} == {choose(stack.settings).secret_owner.owner}
    record = json.loads((stack.settings.app_log_dir / "synced.jsonl").read_text().splitlines()[-1])
    assert (record["work"], record["credentials"]) == ("W1TEST", ["default"])


class Browser:
    """A minimal client of a project's web UI: cookies and forms."""

    def __init__(self, project):
        self.base = f"http://127.0.0.1:{project.settings.airflow_port}"
        self.is_of_two = project.release.number == 2
        self.form = "/login/" if self.is_of_two else "/auth/login/"
        jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def get(self, path):
        """The final URL and the text of the response."""
        try:
            with self.opener.open(self.base + path, timeout=20) as answer:
                return answer.geturl(), answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.geturl(), refused.read().decode()

    def log_in(self, user, password):
        """True if the web UI accepts the login."""
        _, html = self.get(self.form)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', html)[1]
        form = urllib.parse.urlencode({"csrf_token": token, "username": user, "password": password}).encode()
        until(lambda: self._is_taken(form))
        return self.is_in()

    def _is_taken(self, form):
        """False if the form must be sent again later: Airflow limits the rate of logins, Airflow 3 more strictly."""
        try:
            self.opener.open(self.base + self.form, form, timeout=20).close()
        except urllib.error.HTTPError as refused:
            if refused.code != 429:
                raise
            return False
        return True

    def is_in(self):
        """True if logged in. Airflow 3 shows its frame to everybody and asks its API who the user is."""
        if self.is_of_two:
            return "/login" not in self.get("/home")[0]
        self.get(self.form)  # logs in a user who has a session
        return '"username"' in self.get("/ui/auth/me")[1]


def test_the_admin_logs_in_with_the_generated_password_and_with_no_other(stack):
    password = (stack.settings.secrets_dir / "admin_password").read_text()
    for wrong in ("admin", password[:-1], password.swapcase()):  # Airflow limits the rate
        assert not Browser(stack).log_in("admin", wrong), wrong
    assert Browser(stack).log_in("admin", password)
    assert stack.sql("select username from ab_user") == "admin"


def test_the_web_ui_shows_no_configuration_not_even_to_the_admin(stack):
    browser = Browser(stack)
    assert browser.log_in(
        stack.settings.airflow_admin_user, (stack.settings.secrets_dir / "admin_password").read_text()
    )
    text = browser.get("/configuration" if browser.is_of_two else "/api/v2/config")[1]
    assert "chose not to expose the configuration" in text and "sql_alchemy_conn" not in text


def test_a_dag_edited_on_the_host_is_seen_without_a_build(stack):
    dags = stack.settings.workflow_dev_dir / stack.settings.dags_dir
    started = stack.running()
    text = (dags / "sample_sync.py").read_text()
    (dags / "another.py").write_text(text.replace("sample_sync", "another_dag").replace("@continuous", "@once"))
    try:
        until(lambda: stack.sql(f"select dag_id from dag where {stack.release.is_known} and dag_id = 'another_dag'"))
    finally:
        (dags / "another.py").unlink()
    assert stack.running() == started


def test_options_of_airflow_in_env_reach_the_services(stack):
    assert stack.option(stack.interval) == "2"


def test_up_again_changes_nothing_but_a_changed_secret_and_an_archive_more_arrive(stack):
    before = stack.running()
    assert "Already up and healthy" in stack.inv("up")
    assert "nothing to build" in stack.inv("build")
    assert stack.running() == before
    (stack.folder / "Archive 4").mkdir(mode=0o755)
    (stack.folder / "Archive 4" / "here.txt").write_text("x")
    archive = (stack.folder / "Archive 4").stat()
    stack.set(SECRET_AWS__default__aws_secret_access_key="marker-new")
    stack.set(EXTRA_MOUNTS=f"{stack.values['EXTRA_MOUNTS']},Archive 4:/home/airflow/extern/Archive4")
    stack.inv("up")
    assert "marker-new" in stack.sees("aws")
    archives = stack.archives()
    assert archives[:5] == [f"Archive{n}" for n in range(5)] and "here.txt" in archives
    after = (stack.folder / "Archive 4").stat()
    assert (after.st_uid, after.st_mode) == (archive.st_uid, archive.st_mode)


FORK = """
import os
from airflow import settings
from airflow.utils.session import create_session
from sqlalchemy import text
asked = []
def see(dialect, connection, ping=type(settings.engine.dialect).do_ping):
    asked.append(connection)
    return ping(dialect, connection)
type(settings.engine.dialect).do_ping = see
with create_session() as session:
    session.execute(text("SELECT 1"))
if not os.fork():
    with create_session() as session:
        assert session.execute(text("SELECT 2")).scalar() == 2
    os._exit(bool(asked))
print("asked" if os.wait()[1] else "left alone", len(asked))
with create_session() as session:
    assert session.execute(text("SELECT 3")).scalar() == 3
"""


def test_a_forked_process_leaves_the_connection_of_its_parent_alone(stack):
    """Otherwise one reads answers for the other, and a new scheduler hangs."""
    assert stack.python(FORK).splitlines()[-1] == "left alone 0"


def test_volumes_go_only_when_confirmed(stack):
    output = stack.inv("down", "--volumes", code=2)
    assert "there is no terminal to ask on. Say --yes if you mean it." in output
    assert stack.running()


def runs(stack):
    return set(stack.sql("select run_id from dag_run where state = 'success'").split())


@pytest.mark.on(*ENGINES, "standalone-3")
def test_after_down_and_up_the_runs_are_still_there_and_after_volumes_they_are_not(stack):
    before = until(lambda: runs(stack))
    password = (stack.settings.secrets_dir / "admin_password").read_text()
    stack.inv("down")
    assert not stack.running()
    assert "is not running" in stack.inv("status", code=3)
    assert "is not running" in stack.inv("down")
    stack.inv("up")
    assert before <= runs(stack)
    assert Browser(stack).log_in("admin", password)
    stack.inv("down", "--volumes", "--yes")
    stack.inv("up")
    assert not before & runs(stack)
    assert Browser(stack).log_in("admin", password)


@pytest.mark.on(*ENGINES)
@pytest.mark.parametrize(
    ("setting", "service", "says"),
    [
        (
            # Airflow first waits for its web workers, by default two minutes.
            {"AIRFLOW__WEBSERVER__WORKER_CLASS": "nonsense", "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "3"},
            "webserver",
            "nonsense",
        ),
        ({"AIRFLOW__DATABASE__SQL_ALCHEMY_SCHEMA": "nonsense"}, "init", "nonsense"),
    ],
)
def test_a_crashing_service_is_reported_at_once_with_its_last_lines(project, setting, service, says):
    project.set(**setting)
    output = project.inv("up", code=1)
    failing = re.search(rf"^({service}): the service (has ended|crashes)", output, re.M)
    assert failing, output
    lines = output.partition(f"--- the last lines of {failing[1]} ---")[2].partition("\n---\n")[0]
    assert says in lines
    command = re.search(r"Read on: inv (.*)$", output, re.M)[1]
    assert says in project.inv(*command.split(), shows_services=True)


@pytest.mark.on(*ENGINES)
def test_a_taken_port_names_the_setting(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        project.set(AIRFLOW_PORT=str(taken.getsockname()[1]))
        output = project.inv("up", code=1)
    assert re.search(
        r"AIRFLOW_PORT: port \d+ of 127.0.0.1 is taken by another program. Set AIRFLOW_PORT in .env", output
    )


def test_status_says_what_runs_and_how_it_is(stack):
    status = stack.json("status")
    assert (status["engine"], status["state"]) == (stack.engine, "healthy")
    assert {s["name"]: s["health"] for s in status["services"]}["scheduler"] == "healthy"
    output = stack.inv("status")
    assert f"http://localhost:{stack.settings.airflow_port}" in output
    assert re.search(r"^scheduler +running +healthy", output, re.M)
