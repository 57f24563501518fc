"""What comes of a DAG file in a process of its own. Airflow itself is tried in tests/stack."""

import faulthandler
import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from airflow_docker import PROJECT
from airflow_docker.verbs import import_errors


@pytest.fixture
def runtime():
    spec = importlib.util.spec_from_file_location("runtime_dags", PROJECT / "docker" / "runtime" / "dags.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    faulthandler.disable()  # pytest's own would show each crash
    yield module
    faulthandler.enable()


def error_of(result):
    (error,) = result["errors"]
    assert result["dags"] == [] and error["file"] == "/dags/a.py"
    return import_errors.error_of(error["traceback"])


def segfault(_):
    signal.signal(signal.SIGSEGV, lambda *_: None)  # as Airflow 3 does before each file
    os.kill(os.getpid(), signal.SIGSEGV)
    return {"dags": [], "errors": []}


@pytest.mark.parametrize(
    ("parse", "error"),
    [
        (lambda _: os._exit(7), "the import ended its process with exit code 7."),
        (lambda _: os.abort(), "the import crashed: its process was killed by SIGABRT."),
        (segfault, "the import crashed: its process was killed by SIGSEGV."),
        (lambda _: os.closerange(3, 64) or time.sleep(0.3) or os._exit(9), "the import ended its process with exit code 9."),
    ],
)  # fmt: skip
def test_a_file_that_ends_its_process_is_an_import_error(runtime, monkeypatch, parse, error):
    monkeypatch.setattr(runtime, "parse", parse)
    assert error_of(runtime.parse_isolated("/dags/a.py", 20, "LIMIT")) == error


def test_a_file_that_hangs_has_the_time_of_the_scheduler(runtime, monkeypatch):
    monkeypatch.setattr(runtime, "parse", lambda _: time.sleep(60))
    error = error_of(runtime.parse_isolated("/dags/a.py", 0.5, "LIMIT"))
    assert error == "the import does not end within 0.5 s. Raise LIMIT, or move work into tasks."


def test_an_answer_of_any_size_arrives_and_nothing_that_the_file_started_is_left(runtime, monkeypatch):
    def parse(_):
        left = os.fork()
        if left == 0:
            time.sleep(60)  # with the pipe still open
        return {"dags": ["x" * 300_000], "errors": [], "left": left}

    monkeypatch.setattr(runtime, "parse", parse)
    began = time.monotonic()
    result = runtime.parse_isolated("/dags/a.py", 50, "LIMIT")
    assert len(result["dags"][0]) == 300_000 and time.monotonic() - began < 40
    until = time.monotonic() + 10
    while is_alive(result["left"]):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
