"""Lock files: one run at a time, a named holder, and what a killed holder leaves."""

import errno
import os
import subprocess
import sys
import threading

import psutil
import pytest

from airflow_docker import PROJECT, files, locks
from airflow_docker.errors import UserError


def test_a_lock_keeps_two_processes_apart_and_leaves_nothing(tmp_path):
    code = (
        "import sys, time, pathlib; from airflow_docker import locks\n"
        "with locks.locked(pathlib.Path(sys.argv[1], '.lock'), 'x'):\n"
        "    log = pathlib.Path(sys.argv[1], 'log')\n"
        "    for word in ('in', 'out'):\n"
        "        log.open('a').write(word + chr(10)); time.sleep(0.05)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(6)]
    assert [process.wait() for process in running] == [0] * 6
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 6
    assert os.listdir(tmp_path) == ["log"]


HOLD = """
import subprocess, sys
from pathlib import Path
from airflow_docker import locks
with locks.locked(Path(sys.argv[1]), "x"):
    child = subprocess.Popen(["sleep", "600"])
    print(child.pid, flush=True)
    child.wait()
"""


def test_what_a_killed_run_has_left_running_is_ended_by_the_next(tmp_path):
    lock = tmp_path / "lock"
    with locks.locked(lock, "x") as began_at:
        assert not began_at
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as holder:
        child = psutil.Process(int(holder.stdout.readline()))
        holder.kill()
        holder.wait()
        assert child.is_running()
        with locks.locked(lock, "x") as began_at:
            assert began_at
            assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert not lock.exists()


def test_a_file_system_without_locks_is_reported_and_files_are_written_there_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    message = r"STATE_DIR: .* does not support locks \(No locks available\)"
    with pytest.raises(UserError, match=message), locks.locked(tmp_path / "lock", "STATE_DIR"):
        pass
    files.write(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_who_waits_names_the_holder_and_its_verb(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(locks, "_verb", "inv up")
    first, second = locks.Lock(tmp_path / "lock", "STATE_DIR"), locks.Lock(tmp_path / "lock", "STATE_DIR")
    first.acquire()
    threading.Timer(0.2, first.release).start()
    second.acquire()
    assert f"· STATE_DIR: waiting for process {os.getpid()} (inv up) …" in capsys.readouterr().err
    assert second.is_held and not first.is_held
    second.release()
    assert os.listdir(tmp_path) == []


def test_whether_a_lock_is_taken_changes_nothing(tmp_path):
    lock, other = locks.Lock(tmp_path / "lock", "x"), locks.Lock(tmp_path / "lock", "x")
    assert not lock.is_taken() and os.listdir(tmp_path) == []
    with other:
        assert lock.is_taken()
    assert not lock.is_taken() and os.listdir(tmp_path) == []
    (tmp_path / "lock").write_text("left by a kill")
    assert not lock.is_taken()
