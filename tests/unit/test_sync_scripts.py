"""Gathering the sync scripts of archive-ops, by its own script or without."""

import os
import shutil
import stat

import pytest
from conftest import snapshot

from airflow_docker import PROJECT
from airflow_docker.building import sync_scripts
from airflow_docker.errors import UserError

COPY = "scripts/syncAnywhere/deployment/copyLinksToBin"


@pytest.fixture
def ops(tmp_path):
    """archive-ops as the examples have it."""
    shutil.copytree(PROJECT / "examples" / "archive-ops", tmp_path / "ops")
    return tmp_path / "ops"


@pytest.fixture
def collect(tmp_path, ops):
    """Fill bin/ from ``ops`` and give its folder."""

    def run():
        (tmp_path / "build").mkdir(exist_ok=True)
        sync_scripts.collect(ops, tmp_path / "build" / "bin")
        return tmp_path / "build" / "bin"

    return run


def names(folder):
    return sorted(os.listdir(folder))


def test_links_become_real_files_with_plain_modes(collect, ops):
    (ops / "scripts/syncAnywhere/syncOneWork.sh").chmod(0o700)
    folder = collect()
    assert names(folder) == ["sync-requirements.txt", "syncOneWork.sh", "workManifest.py"]
    for name, mode in [("syncOneWork.sh", 0o755), ("sync-requirements.txt", 0o644)]:
        assert not (folder / name).is_symlink() and stat.S_IMODE((folder / name).stat().st_mode) == mode
    assert (folder / "syncOneWork.sh").read_bytes() == (ops / "scripts/syncAnywhere/syncOneWork.sh").read_bytes()


def test_the_other_place_of_the_script(collect, ops):
    (ops / "scripts/deployments").mkdir()
    script = (ops / COPY).read_text().replace('"$(dirname "$0")/.."', '"$(dirname "$0")/../syncAnywhere"')
    (ops / COPY).unlink()
    (ops / "scripts/deployments/copyLinksToBin").write_text(script)
    (ops / "scripts/deployments/copyLinksToBin").chmod(0o755)
    assert "syncOneWork.sh" in names(collect())


def test_without_the_script_the_executables_are_taken_and_it_is_said(collect, ops, capsys):
    (ops / COPY).unlink()
    assert names(collect()) == ["syncOneWork.sh", "workManifest.py"]
    assert "archive-ops has no scripts/syncAnywhere/deployment/copyLinksToBin" in capsys.readouterr().err


def test_an_archive_ops_without_scripts_gives_an_empty_bin_and_says_so(collect, ops, capsys):
    shutil.rmtree(ops / "scripts")
    assert names(collect()) == []
    assert "took the 0 executable files" in capsys.readouterr().err


def test_what_archive_ops_dropped_is_gone(collect, ops):
    collect()
    script = (ops / COPY).read_text().replace(" workManifest.py;", ";")
    (ops / COPY).write_text(script)
    assert "workManifest.py" not in names(collect())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("exit 3", "copyLinksToBin: ended with exit code 3"),
        ('ln -s /no/where "$target/x.sh"; exit 0', "bin/x.sh: is a link to a file that does not exist"),
        ('ln -s /etc/passwd "$target/x.sh"; exit 0', "bin/x.sh: is a link out of archive-ops, to /etc/passwd"),
        ('ln -s a "$target/b"; ln -s b "$target/a"; exit 0', "bin/a: is a link to a file that does not exist"),
        ('ln -s . "$target/loop"; exit 0', "bin/loop: is a link to a folder that contains it"),
    ],
)
def test_a_script_that_fails_leaves_the_old_bin(collect, ops, line, message):
    before = snapshot(collect().parent)
    script = (ops / COPY).read_text().replace('cd "$(dirname', line + '\ncd "$(dirname')
    (ops / COPY).write_text(script)
    with pytest.raises(UserError) as caught:
        collect()
    assert message in caught.value.text
    assert snapshot(ops.parent / "build") == before


def test_modes_do_not_depend_on_the_umask(collect, ops):
    (ops / "scripts/syncAnywhere/lib").mkdir()
    (ops / "scripts/syncAnywhere/lib/x.sh").write_text("")
    script = (ops / COPY).read_text() + 'ln -s "$PWD/lib" "$target/lib"\n'
    (ops / COPY).write_text(script)
    old = os.umask(0o077)
    try:
        folder = collect()
    finally:
        os.umask(old)
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in (".", "lib", "lib/x.sh", "syncOneWork.sh")}
    assert modes == {".": 0o755, "lib": 0o755, "lib/x.sh": 0o644, "syncOneWork.sh": 0o755}


@pytest.mark.parametrize(
    ("first_line", "mode"), [("#!/bin/bash", 0o644), ("#!/no/such/shell", 0o755), ("\x7fELF", 0o755)]
)
def test_a_script_that_cannot_be_started(collect, ops, first_line, mode):
    (ops / COPY).write_text(f"{first_line}\n")
    (ops / COPY).chmod(mode)
    with pytest.raises(UserError, match="copyLinksToBin: cannot be started .* It must be executable"):
        collect()


def test_odd_file_names(collect, ops):
    (ops / COPY).write_text((ops / COPY).read_text() + "touch \"$target/$(printf 'caf\\351 x')\"\n")
    assert len(names(collect())) == 4
