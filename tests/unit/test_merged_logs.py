"""The logs of services in containers, in the order of their times."""

import sys

from airflow_docker.engines import merged_logs

AT = "2026-01-31T08:00:{}.000000000Z"


def test_lines_are_sorted_by_the_times_of_the_engine_which_are_not_shown():
    lines = [
        f"\x1b[2Ka-1   | {AT.format('03')} 2026-01-31T00:00:00Z [info] third",
        "\x1b[2Ka-1   | more of it",
        f"\x1b[36mbb-1  | \x1b[0m{AT.format('01')} first",
        f"{AT.format('02')} p_c.1.id@host    | {AT.format('09')}",
    ]
    assert merged_logs.by_time(lines) == [
        "\x1b[36mbb-1  | \x1b[0mfirst",
        f"p_c.1.id@host    | {AT.format('09')}",
        "a-1   | 2026-01-31T00:00:00Z [info] third",
        "a-1   | more of it",
    ]


def program(stdout, stderr, code):
    return [
        sys.executable,
        "-c",
        f"import sys; print({stdout!r}); print({stderr!r}, file=sys.stderr); sys.exit({code})",
    ]


def test_standard_error_of_services_is_merged_and_that_of_the_engine_is_not(capsys):
    calls = [program(f"{AT.format('03')} a", f"{AT.format('01')} b", 0), program(f"{AT.format('02')} c", "no such", 3)]
    assert merged_logs.show(calls) == 3
    shown = capsys.readouterr()
    assert shown.out.split() == ["b", "c", "a"] and shown.err == "! no such\n"
