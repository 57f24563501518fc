"""Why a remote does not answer: asked of real sockets on loopback."""

import http.server
import socket
import threading

import pytest

from airflow_docker.sources import remotes

STDERR = remotes.last_line("fatal: it did not work for https://me:token@host/\n")


@pytest.fixture
def server():
    """An HTTP server that answers every request with the status in its path's first part."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.split("/")[1]))
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def message(url):
    return remotes.explain(url, "AO_WORKFLOWS_URL", STDERR).text


@pytest.mark.parametrize("status", [401, 403, 404])
def test_not_let_in(server, status):
    assert "is private or does not exist: access was denied." in message(f"http://127.0.0.1:{server}/{status}/x.git")


def test_something_else_is_in_gits_own_words_without_credentials(server):
    text = message(f"http://127.0.0.1:{server}/500/x.git")
    assert "fatal: it did not work" in text and "token" not in text


def test_host_not_known():
    assert "the host 'no-such-host.invalid' is not known." in message("https://no-such-host.invalid/x.git")
    assert "the host 'no-such-host.invalid' is not known." in message("git@no-such-host.invalid:x.git")


@pytest.mark.parametrize("host", ["git..example.org", "a" * 70 + ".example.org"])
def test_a_name_that_no_host_can_have(host):
    assert f"the host '{host}' is not known." in message(f"https://{host}/x.git")


@pytest.mark.parametrize("path", ["büro.git", "a b.git"])
def test_a_path_that_no_question_can_be_asked_about(server, path):
    assert "fatal: it did not work" in message(f"http://127.0.0.1:{server}/{path}")


def test_a_port_where_another_protocol_is_spoken():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet():
            for _ in range(2):  # the first only looks whether somebody is there
                with listening.accept()[0] as connection:
                    connection.sendall(b"SSH-2.0-x\r\n")

        threading.Thread(target=greet, daemon=True).start()
        assert "fatal: it did not work" in message(f"http://127.0.0.1:{listening.getsockname()[1]}/x.git")


def test_host_does_not_answer():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert f"the host '127.0.0.1' does not answer on port {port}" in message(f"https://127.0.0.1:{port}/x.git")


def test_credentials_are_split_off():
    assert remotes.split_credentials("https://me:a%3Ab@h:1/x") == ("https://h:1/x", "me:a:b")
    assert remotes.split_credentials("https://me@h/x") == ("https://h/x", "me:")
    assert remotes.split_credentials("git@h:x") == ("git@h:x", "")


def test_git_never_asks():
    environ = remotes.environment()
    assert environ["GIT_TERMINAL_PROMPT"] == "0"
    assert environ["GIT_SSH_COMMAND"].endswith(" -o BatchMode=yes")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("https://h/x.git", "https://h/x", True),
        ("https://h/x/", "https://me:t@h/x.git", True),
        ("https://h/x", "https://h/y", False),
        ("file:///a/b", "/a/b", True),
        ("git@h:x", "git@h:y", False),
    ],
)
def test_same(one, other, alike):
    assert remotes.same(one, other) is alike
