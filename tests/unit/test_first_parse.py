"""The wait for the first parse, and how files are named that cannot be imported."""

from types import SimpleNamespace

import pytest

from airflow_docker.engines import ServiceState
from airflow_docker.errors import UserError
from airflow_docker.verbs import first_parse

TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/airflow/dags/a.py", line 7, in <module>\nKeyError: 1\n'


class Database:
    """Answers with one set of rows after another, then with the last again and again; an error is raised."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def query(self, sql):
        self.asked.append(sql)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only while somebody sleeps."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(first_parse.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(first_parse.time, "sleep", lambda s: setattr(now, "seconds", now.seconds + s))
    return now


@pytest.fixture
def engine(make_settings, tmp_path):
    """One whose scheduler has just started, with three files, two of which Airflow parses."""
    settings = make_settings("DAGS_DIR=dags\nWORKFLOW_DEV_DIR=flows\n")
    folder = tmp_path / "flows" / "dags"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_text("from airflow import DAG\n")
    (folder / "sub" / "b.py").write_text("import AIRFLOW  # a dag\n")
    (folder / "helper.py").write_text("import dag\n")
    states = [ServiceState("scheduler", "c", "running", "healthy", started="2026-11-27T09:20:44.123456789Z")]
    return lambda *answers: SimpleNamespace(settings=settings, database=Database(*answers), states=lambda: states)


def test_the_wait_ends_when_each_file_was_parsed_since_the_start(engine, clock):
    parsing_engine = engine([], [["/opt/airflow/dags/a.py"]], [["/opt/airflow/dags/a.py"], ["sub/b.py"]])
    first_parse.wait(parsing_engine)
    assert len(parsing_engine.database.asked) == 3 and clock.seconds == 1.5
    assert parsing_engine.database.asked[0].count("'2026-11-27 09:20:44+00:00'") == 2


def test_a_file_without_a_dag_is_not_waited_for_long(engine, clock):
    first_parse.wait(engine([], [["a.py"]]))
    assert 5 <= clock.seconds <= 7


@pytest.mark.parametrize("answer", [[], UserError("postgres", "no answer.")])
def test_the_wait_is_bounded(engine, clock, answer):
    first_parse.wait(engine(answer))
    assert clock.seconds == first_parse.FIRST_PARSE_SECONDS


def test_each_file_is_named_with_line_error_and_remedy(engine, capsys):
    first_parse.warn(engine([["/opt/airflow/dags/a.py", TRACEBACK], ["sub/b.py", "no traceback"]]))
    warnings = capsys.readouterr().err.splitlines()
    assert warnings[0].startswith("! a.py:7: this DAG file cannot be imported (KeyError: 1). Fix it")
    assert warnings[1].startswith("! sub/b.py: this DAG file cannot be imported (no traceback).")


def test_a_database_that_does_not_answer_is_no_import_error(engine, capsys):
    first_parse.warn(engine(UserError("postgres", "no answer.")))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, ""), (1, "1 DAG file cannot be imported"), (2, "2 DAG files cannot be imported")],
)
def test_how_many(number, text):
    assert first_parse.summary([None] * number) == text
