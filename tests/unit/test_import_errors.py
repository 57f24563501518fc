"""Which line of a DAG file led to its import error, and which error that is."""

import traceback

import pytest

from airflow_docker.verbs import import_errors

FILE = "/opt/airflow/dags/sub/a b.py"
CHAINED = f"""Traceback (most recent call last):
  File "{FILE}", line 3, in <module>
    import settings
  File "/opt/airflow/dags/settings.py", line 9, in <module>
    raise KeyError("x")
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "{FILE}", line 12, in <module>
    load()
  File "/usr/lib/python3/site-packages/sub/a b.py", line 77, in load
    raise RuntimeError("first line\\nsecond: line")
RuntimeError: first line
second: line
"""
TIMED_OUT = f"""Traceback (most recent call last):
  File "{FILE}", line 5, in <module>
    time.sleep(99)
  File "/venv/airflow/utils/timeout.py", line 69, in handle_timeout
    raise AirflowTaskTimeout(self.error_message)
airflow.exceptions.AirflowTaskTimeout: DagBag import timeout for {FILE} after 30.0s.
Please take a look at these docs to improve your DAG import time:
* https://airflow.apache.org/docs/best-practices.html#top-level-python-code
* https://airflow.apache.org/docs/best-practices.html#reducing-dag-complexity, PID: 12
"""


@pytest.mark.parametrize("file", [FILE, "sub/a b.py", "a b.py"])
def test_the_last_line_of_the_file_itself_counts(file):
    assert import_errors.line_of(file, CHAINED) == 12


@pytest.mark.parametrize("file", ["/opt/airflow/dags/b.py", "b.py", "/dags/sub/a b.py", "a.b"])
def test_another_file_is_not_taken_for_it(file):
    assert import_errors.line_of(file, CHAINED) is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (CHAINED, "RuntimeError: first line"),
        ("Invalid cron expression: [x]\n", "Invalid cron expression: [x]"),
        ("", "no reason given"),
        ("Traceback (most recent call last):\n", "no reason given"),
    ],
)
def test_the_error_is_one_line(text, error):
    assert import_errors.error_of(text) == error


def test_a_timeout_is_named_with_its_seconds_and_option():
    assert import_errors.line_of(FILE, TIMED_OUT) == 5
    assert import_errors.error_of(TIMED_OUT) == (
        "the import takes longer than 30 s. Raise AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT, or move work into tasks."
    )


def test_a_syntax_error_has_the_line_that_python_names(tmp_path):
    try:
        compile("a = 1\nb = (\n", str(tmp_path / "x.py"), "exec")
    except SyntaxError:
        text = traceback.format_exc()
    assert import_errors.line_of(str(tmp_path / "x.py"), text) == 2
    assert import_errors.error_of(text) == "SyntaxError: '(' was never closed"
