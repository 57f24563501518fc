"""What tables look like: plain where that will do, drawn with care where it will not."""

import re
import subprocess
import sys

import pytest

from airflow_docker import PROJECT, console

COLUMNS, ROWS = ["name", "of what", ""], [["a", "x" * 30, ""], ["longer", "y", "z"]]
PLAIN = f"name    of what\na       {'x' * 30}\nlonger  y{' ' * 31}z\n"
IN_A_CHILD = "import sys; from airflow_docker import console; {}; print('rich' in sys.modules, file=sys.stderr)"


def test_a_table_is_padded_and_nothing_of_it_is_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.table(COLUMNS, ROWS)
    assert capsys.readouterr().out == PLAIN
    console.table(["", ""], [["a", "b"], ["long", "c"]], on_stderr=True)
    assert capsys.readouterr().err == "a     b\nlong  c\n"
    console.table(["only", "titles"], [])
    assert capsys.readouterr().out == "only  titles\n"


def test_on_a_terminal_the_titles_are_bold_and_what_is_too_wide_is_folded(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.table(COLUMNS, ROWS)
    assert capsys.readouterr().out == PLAIN.replace("name    of what", "\x1b[1mname    of what\x1b[0m")
    monkeypatch.setenv("NO_COLOR", "1")
    console.table(COLUMNS, ROWS)
    assert capsys.readouterr().out == PLAIN
    monkeypatch.setenv("COLUMNS", "24")
    console.table(COLUMNS, ROWS)
    drawn = re.sub(r"\x1b\[\w+", "", capsys.readouterr().out).splitlines()
    assert max(map(len, drawn)) <= 24 and "".join(drawn).count("x") == 30


@pytest.mark.parametrize(
    ("cells", "loads"), [([["a", "b"]], False), ([["a", "✓"]], True), ([["a", "two\nlines"]], True)]
)
def test_only_letters_of_another_width_and_line_ends_need_rich(cells, loads):
    code = IN_A_CHILD.format(f"console.table(['x', 'y'], {cells!r})")
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stderr == f"{loads}\n"
