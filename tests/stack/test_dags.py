"""`inv dags` on files that can be imported, and on those that cannot."""

import json
import re

import pytest
from conftest import INV

from stack.conftest import FLAVOURS, RELEASES, run, until

FILES = {
    "helpers/__init__.py": "NAME = 'helped'\n\n\ndef deep():\n    deeper()\n\n\ndef deeper():\n    raise ValueError('x')\n",
    "uses_helpers.py": "from airflow import DAG\nfrom helpers import NAME\n\ndag = DAG(NAME, schedule=None)\n",
    "deep.py": "from airflow import DAG\nfrom helpers import deep\n\ndeep()\n",
    "exits.py": "import sys\nfrom airflow import DAG\n\nsys.exit()\n",
    "ends.py": "import os\nfrom airflow import DAG\n\nos._exit(7)\n",
    "crashes.py": "import ctypes\nfrom airflow import DAG\n\nctypes.string_at(0)\n",
    "late.py": "import time\nfrom airflow import DAG\n\ntime.sleep(60)\n",
    "ours.py": "from airflow import DAG\nimport healthcheck\n",
}
TIMEOUT = "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"


@pytest.mark.on(*FLAVOURS)
def test_dags_are_parsed_and_import_errors_have_file_and_line(stack, dags):
    assert re.search(r"^sample_sync +sample_sync.py +4 +@continuous", stack.inv("dags"), re.M)
    (dags / "broken.py").write_text("from airflow import DAG\n\nimport no_such_module\n")
    (dags / "slow.py").write_text("import time\nfrom airflow import DAG\ntime.sleep(3.2)\n")
    output = stack.inv("dags", code=1)
    assert re.search(r"^broken.py:3 +ModuleNotFoundError: No module named 'no_such_module'", output, re.M)
    assert "slow.py takes 3" in output
    assert "inv dags: 1 file cannot be imported." in output
    report = stack.json("dags")
    assert [e["line"] for e in report["errors"]] == [3] and [d["dag"] for d in report["dags"]] == ["sample_sync"]
    until(lambda: stack.json("status")["dags"]["import_errors"], 90)
    (dags / "broken.py").unlink()


@pytest.fixture
def short_timeout(stack):
    """An import timeout of five seconds, set only in .env."""
    stack.set(**{TIMEOUT: "5"})
    yield
    del stack.values[TIMEOUT]
    stack.set()


@pytest.mark.on(*RELEASES)
def test_a_file_that_ends_or_crashes_its_process_hides_no_other(stack, dags, short_timeout):
    for name, text in FILES.items():
        (dags / name).parent.mkdir(exist_ok=True)
        (dags / name).write_text(text)
    parsed = run(*INV, "dags", "--json", env=stack.environ)
    assert parsed.returncode == 1 and "inv dags: 6 files cannot be imported." in parsed.stderr
    report = json.loads(parsed.stdout)
    assert {dag["dag"] for dag in report["dags"]} == {"sample_sync", "helped"}
    assert {error["file"].rpartition("/")[2]: (error["line"], error["error"]) for error in report["errors"]} == {
        "deep.py": (4, "ValueError: x"),
        "exits.py": (4, "SystemExit"),
        "ends.py": (None, "the import ended its process with exit code 7."),
        "crashes.py": (None, "the import crashed: its process was killed by SIGSEGV."),
        "late.py": (4, f"the import takes longer than 5 s. Raise {TIMEOUT}, or move work into tasks."),
        "ours.py": (2, "ModuleNotFoundError: No module named 'healthcheck'"),
    }
