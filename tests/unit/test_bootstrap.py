"""The script `inv` and the environment that it makes: in a copy of this project that has no packages to install."""

import os
import shutil
import subprocess
import sys

import pytest

from airflow_docker import PROJECT

BOOTSTRAP = "airflow_docker/bootstrap.py"
VERBS = "import sys; print(sys.prefix, *sys.argv[1:])"


@pytest.fixture
def inv(tmp_path):
    """A function that runs `inv` of a copy whose verbs only say where they run."""
    root = tmp_path / "a $HOME 'b\" c"
    (root / "airflow_docker").mkdir(parents=True)
    shutil.copy(PROJECT / "inv", root)
    shutil.copy(PROJECT / BOOTSTRAP, root / BOOTSTRAP)
    (root / "airflow_docker" / "__main__.py").write_text(VERBS)
    (root / "requirements.txt").write_text("")

    def run(*args, code=0, program=None, **environ):
        env = {name: value for name, value in os.environ.items() if name != "PYTHON"} | environ
        result = subprocess.run([program or root / "inv", *args], env=env, capture_output=True, text=True, timeout=120)
        assert result.returncode == code, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    run.root, run.venv = root, root / ".venv"
    return run


def test_it_is_made_once_and_brought_up_to_date_in_place(inv):
    output = inv("status", "--json")
    assert "creating .venv with Python" in output and f"{inv.venv} --search-root {inv.root} status --json" in output
    assert "inv:" not in inv("status")
    own_file = inv.venv / "mine.txt"
    own_file.write_text("")
    (inv.root / "requirements.txt").write_text("# another one\n")
    assert "updating .venv to requirements.txt" in inv("status") and own_file.exists()
    assert "inv:" not in inv("status", program=inv.venv / "bin" / "inv")


def test_another_python_under_the_name_of_the_old_one_recreates_it(inv, tmp_path):
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.symlink_to(sys.executable if sys.prefix == sys.base_prefix else sys._base_executable)
    inv(PYTHON=str(python))
    link = inv.venv / "bin" / "python"
    assert link.is_symlink() and link.readlink() == link.resolve()
    link.unlink()
    link.symlink_to(tmp_path / "gone")
    assert "creating .venv" in inv() and "inv:" not in inv()


def test_what_a_kill_has_left_is_made_whole_and_what_is_not_ours_stays(inv):
    inv.venv.mkdir()
    assert "creating .venv" in inv()
    shutil.rmtree(inv.venv / "bin")
    assert "creating .venv" in inv()
    (inv.venv / ".made-by-airflow-docker").unlink()
    (inv.venv / ".requirements.txt").unlink()
    assert "was not created by this script" in inv(code=1) and (inv.venv / "bin").is_dir()


def test_of_two_at_once_one_waits(inv):
    first, second = (
        subprocess.Popen([inv.root / "inv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "12"
    )
    outputs = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert sorted("creating .venv with" in output for output in outputs) == [False, True]


def test_without_a_python_it_says_so(inv, tmp_path):
    for name in ("dirname", "cmp"):
        (tmp_path / name).symlink_to(shutil.which(name))
    assert "no Python 3.11 or newer is on PATH" in inv(code=1, PATH=str(tmp_path))


def test_what_cannot_be_installed_is_reported_and_tried_again(inv):
    (inv.root / "requirements.txt").write_text("no-such-package==1 --hash=sha256:" + "0" * 64 + "\n")
    assert "could not be installed" in inv(code=1, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    (inv.root / "requirements.txt").write_text("")
    assert str(inv.venv) in inv()
