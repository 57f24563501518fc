"""The script `inv` and the environment that it makes: in a copy of this project that has no packages to install."""

import os
import shutil
import subprocess
import sys

import pytest

from airflow_docker import PROJECT

MAKER = "airflow_docker/bootstrap.py"
VERBS = "import sys; print(sys.prefix, *sys.argv[1:])"


@pytest.fixture
def inv(tmp_path):
    """A function that runs `inv` of a copy whose verbs only say where they run."""
    root = tmp_path / "a $HOME 'b\" c"
    (root / "airflow_docker").mkdir(parents=True)
    shutil.copy(PROJECT / "inv", root)
    shutil.copy(PROJECT / MAKER, root / MAKER)
    (root / "airflow_docker" / "__main__.py").write_text(VERBS)
    (root / "requirements.txt").write_text("")

    def run(*words, code=0, program=None, **environ):
        given = {name: value for name, value in os.environ.items() if name != "PYTHON"} | environ
        done = subprocess.run([program or root / "inv", *words], env=given, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    run.root, run.venv = root, root / ".venv"
    return run


def test_it_is_made_once_and_brought_up_to_date_in_place(inv):
    said = inv("status", "--json")
    assert "making .venv with Python" in said and f"{inv.venv} --search-root {inv.root} status --json" in said
    assert "inv:" not in inv("status")
    kept = inv.venv / "mine.txt"
    kept.write_text("")
    (inv.root / "requirements.txt").write_text("# another one\n")
    assert "bringing .venv to what requirements.txt says" in inv("status") and kept.exists()
    assert "inv:" not in inv("status", program=inv.venv / "bin" / "inv")


def test_another_python_under_the_name_of_the_old_one_recreates_it(inv, tmp_path):
    named = tmp_path / "bin" / "python3"
    named.parent.mkdir()
    named.symlink_to(sys.executable if sys.prefix == sys.base_prefix else sys._base_executable)
    inv(PYTHON=str(named))
    link = inv.venv / "bin" / "python"
    assert link.is_symlink() and link.readlink() == link.resolve()
    link.unlink()
    link.symlink_to(tmp_path / "gone")
    assert "making .venv" in inv() and "inv:" not in inv()


def test_what_a_kill_has_left_is_made_whole_and_what_is_not_ours_stays(inv):
    inv.venv.mkdir()
    assert "making .venv" in inv()
    shutil.rmtree(inv.venv / "bin")
    assert "making .venv" in inv()
    (inv.venv / ".made-by-airflow-docker").unlink()
    (inv.venv / ".requirements.txt").unlink()
    assert "was not made by this script" in inv(code=1) and (inv.venv / "bin").is_dir()


def test_of_two_at_once_one_waits(inv):
    first, second = (
        subprocess.Popen([inv.root / "inv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"
    )
    said = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert sorted("making" in words for words in said) == [False, True]


def test_without_a_python_it_says_so(inv, tmp_path):
    for name in ("dirname", "cmp"):
        (tmp_path / name).symlink_to(shutil.which(name))
    assert "no Python 3.11 or newer is on PATH" in inv(code=1, PATH=str(tmp_path))


def test_what_cannot_be_installed_is_reported_and_tried_again(inv):
    (inv.root / "requirements.txt").write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")
    assert "could not be installed" in inv(code=1, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    (inv.root / "requirements.txt").write_text("")
    assert str(inv.venv) in inv()
