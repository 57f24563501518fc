"""Bad input of any kind: one message with a remedy, within a time limit, and nothing is changed."""

import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from airflow_docker import PROJECT
from trust.bad_input import building, engines, flags, repositories, secret_files, settings
from trust.bad_input.case import SOMEBODY, Sandbox, make_template
from trust.bad_input.warm import Warm

CASES = [case for section in (settings, flags, repositories, building, secret_files, engines) for case in section.CASES]
PROGRESS = ("·", "✓", "✗", "!", " ")
"""First characters of lines that show progress."""
MESSAGE = re.compile(r"[^\s:][^\n]*?: .+[.:?)]\s\S.*", re.S)


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def closed_door():
    """The URL of a web server that answers every request with 401."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def messages(output, case):
    """The messages without progress; if the case quotes another program, all lines are one message."""
    lines = [line for line in output.splitlines() if line and not line.startswith(PROGRESS)]
    return ["\n".join(lines)] if case.quotes else lines


def let_in(folder):
    """Let other users enter a folder of pytest."""
    for parent in (folder, *folder.parents[:-2]):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)


def can_be_somebody():
    question = [*SOMEBODY, sys.executable, "-c", "import airflow_docker"]
    return os.geteuid() == 0 and not subprocess.run(question, cwd=PROJECT, capture_output=True).returncode


@pytest.fixture(scope="session")
def warm():
    process = Warm()
    yield process
    process.close()


@pytest.fixture
def sandbox(tmp_path, template, closed_door, warm):
    sandbox = Sandbox(tmp_path, template, warm)
    sandbox.facts |= {"closed_door": closed_door, "closed_host": closed_door.partition("://")[2]}
    with sandbox.later:
        yield sandbox


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_reported_in_a_sentence_and_changes_nothing(case, sandbox, figure):
    if case.somebody:
        if not can_be_somebody():
            pytest.skip("only root can be somebody else, and where that user may run this Python")
        let_in(sandbox.root)
    sandbox.set(case.env)
    sandbox.environ.update(case.environ)
    case.make(sandbox)
    before = sandbox.tree()
    result = sandbox.inv(case.verb, case.somebody)  # within SECONDS
    problems = messages(result.stderr, case)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == case.code, result.stderr
    assert len(problems) == case.lines and all(MESSAGE.fullmatch(message) for message in problems), result.stderr
    says, remedy = sandbox.filled(case.says), sandbox.filled(case.todo)
    assert says in result.stderr and remedy in result.stderr.partition(says)[2], result.stderr
    assert case.shows or not result.stdout
    after = sandbox.tree()
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert not changed, changed
    figure("bad inputs tried", 1)


def test_every_case_has_words_and_a_remedy_to_look_for():
    assert len(CASES) >= 100 and len({case.name for case in CASES}) == len(CASES)
    assert all(case.says and case.todo for case in CASES)
