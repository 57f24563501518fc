"""Whole writes, locks, and which directories are never purged."""

import os
from pathlib import Path

import pytest
from conftest import git, snapshot

from airflow_docker import files
from airflow_docker.errors import UserError


def test_write_is_atomic_has_its_mode_and_returns_whether_it_changed(tmp_path):
    file = tmp_path / "x"
    assert files.write(file, b"one", 0o400)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"one", 0o400)
    inode = file.stat().st_ino
    assert not files.write(file, b"one", 0o400)
    assert file.stat().st_ino == inode
    assert files.write(file, b"two", 0o400)
    assert files.write(file, b"two", 0o644)
    assert os.listdir(tmp_path) == ["x"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    file = tmp_path / "x"
    files.write(file, b"one")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write(file, b"two")
    assert file.read_bytes() == b"one" and os.listdir(tmp_path) == ["x"]


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "x").symlink_to(tmp_path / "target")
    files.write(tmp_path / "x", b"ours")
    assert (tmp_path / "target").read_text() == "mine" and not (tmp_path / "x").is_symlink()


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    return folder


def not_ours(folder, reason):
    before = snapshot(folder) if folder not in (Path("/"), Path.home(), Path("/etc")) else None
    for act in (files.claim, files.purge, lambda folder, where: files.empty(folder, where, ["thesis.txt"])):
        with pytest.raises(UserError) as caught:
            act(folder, "BUILD_DIR")
        assert caught.value.text.startswith(f"BUILD_DIR: {folder} {reason}")
    assert before is None or snapshot(folder) == before


def test_never_a_directory_without_our_marker(mine):
    not_ours(mine, "holds files and was not made by airflow-docker")


def test_never_the_root_or_the_home_directory_or_what_holds_it():
    not_ours(Path("/"), "is the root of the file system")
    not_ours(Path.home(), "is your home directory or holds it")


def test_not_even_when_they_carry_the_marker(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / files.MARKER).write_text("")
    not_ours(tmp_path / "home", "is your home directory")
    (tmp_path / files.MARKER).write_text("")
    not_ours(tmp_path, "is your home directory or holds it")


def test_never_a_repository(mine):
    git(mine, "init", "--quiet")
    (mine / files.MARKER).write_text("")
    not_ours(mine, "is a git repository")


def test_never_a_link(tmp_path, mine):
    (mine / files.MARKER).write_text("")
    (tmp_path / "link").symlink_to(mine)
    not_ours(tmp_path / "link", "is a symbolic link")
    assert (mine / "thesis.txt").exists()


def test_never_a_file(tmp_path):
    (tmp_path / "x").write_text("mine")
    not_ours(tmp_path / "x", "is not a folder")


def test_ours_is_emptied_of_what_we_named_and_of_nothing_else(tmp_path):
    ours = tmp_path / "new" / "ours"
    files.claim(ours, "BUILD_DIR")
    (ours / "bin").mkdir()
    (ours / "bin" / "x").write_text("")
    (ours / "thesis.txt").write_text("mine")
    (ours / "link").symlink_to("/etc")
    files.empty(ours, "BUILD_DIR", ["bin", "link", "none"])
    assert sorted(os.listdir(ours)) == [files.MARKER, "thesis.txt"]
    assert files.purge(ours, "BUILD_DIR")
    assert not ours.exists() and not files.purge(ours, "BUILD_DIR")


def test_make_directory_says_what_is_in_the_way(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="LOGS_DIR: .*/x is not a folder"):
        files.make_directory(tmp_path / "x", "LOGS_DIR")
    with pytest.raises(UserError, match="LOGS_DIR: .*/x/y is not a folder"):
        files.make_directory(tmp_path / "x" / "y", "LOGS_DIR")


def test_what_a_killed_run_was_writing_is_removed_and_what_is_being_written_is_not(tmp_path):
    target = tmp_path / "target"
    abandoned = tmp_path / ".other.abcdefgh.airflow-docker"
    abandoned.write_text("a secret")
    with files.replacing(target, 0o600) as output:
        output.write(b"first")
        files.write(tmp_path / "another", b"second")  # which tidies up
        assert not abandoned.exists()
    assert target.read_bytes() == b"first"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["another", "target"]
