"""Assembling BUILD_DIR from real checkouts; the base image is a value here."""

import dataclasses
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from conftest import git, snapshot

from airflow_docker import bundle, files, images
from airflow_docker.errors import UserError
from airflow_docker.images import BaseImage
from airflow_docker.settings import PROJECT

BASE = BaseImage("base:1", "sha256:1", "amd64", "2.11.2", "3.11", {"apache-airflow": "2.11.2"})
COPY = "scripts/syncAnywhere/deployment/copyLinksToBin"


@pytest.fixture
def ops(tmp_path):
    """archive-ops as the examples have it."""
    shutil.copytree(PROJECT / "examples" / "archive-ops", tmp_path / "ops")
    return tmp_path / "ops"


@pytest.fixture
def collect(make_settings, tmp_path, ops):
    """Fill bin/ from ``ops`` and give its folder."""

    def run():
        settings = make_settings("AO_DEV_DIR=ops\nBUILD_DIR=build\n")
        files.claim(settings.build_dir, "BUILD_DIR")
        bundle.collect_scripts(settings, settings.build_dir)
        return settings.build_dir / "bin"

    return run


def names(folder):
    return sorted(os.listdir(folder))


def test_links_become_real_files_with_plain_modes(collect, ops):
    (ops / "scripts/syncAnywhere/syncOneWork.sh").chmod(0o700)
    made = collect()
    assert names(made) == ["sync-requirements.txt", "syncOneWork.sh", "workManifest.py"]
    for name, mode in [("syncOneWork.sh", 0o755), ("sync-requirements.txt", 0o644)]:
        assert not (made / name).is_symlink() and stat.S_IMODE((made / name).stat().st_mode) == mode
    assert (made / "syncOneWork.sh").read_bytes() == (ops / "scripts/syncAnywhere/syncOneWork.sh").read_bytes()


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
    ("line", "said"),
    [
        ("exit 3", "copyLinksToBin: ended with exit code 3"),
        ('ln -s /no/where "$target/x.sh"; exit 0', "bin/x.sh: is a link to a file that does not exist"),
        ('ln -s /etc/passwd "$target/x.sh"; exit 0', "bin/x.sh: is a link out of archive-ops, to /etc/passwd"),
    ],
)
def test_a_script_that_fails_leaves_the_old_bin(collect, ops, line, said):
    before = snapshot(collect().parent)
    script = (ops / COPY).read_text().replace('cd "$(dirname', line + '\ncd "$(dirname')
    (ops / COPY).write_text(script)
    with pytest.raises(UserError) as caught:
        collect()
    assert said in caught.value.text
    assert snapshot(ops.parent / "build") == before


@pytest.fixture
def project(make_settings, tmp_path, ops, monkeypatch):
    """Two real checkouts, and a base image that needs no engine."""
    workflows = tmp_path / "workflows"
    shutil.copytree(PROJECT / "examples" / "ao-workflows", workflows)
    for folder in (workflows, ops):
        git(folder, "init", "--quiet")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "x")
    monkeypatch.setattr(images, "base", lambda name, version, cache: BASE)

    def make(text=""):
        return make_settings(f"WORKFLOW_DEV_DIR=workflows\nAO_DEV_DIR=ops\nBUILD_DIR=build\n{text}")

    return make


def test_assemble_writes_what_it_says(project, tmp_path, ops):
    made = bundle.assemble(project())
    assert names(tmp_path / "build") == sorted(
        [".dockerignore", files.MARKER, "Dockerfile", "airflow.in", "bin", "manifest.json", "requirements.key",
         "requirements.lock", "runtime"]
    )  # fmt: skip
    manifest = json.loads((tmp_path / "build" / "manifest.json").read_text())
    assert manifest["image"] == made.manifest.image == f"bdrc-airflow:{manifest['fingerprint'][:12]}"
    head = git(ops, "rev-parse", "HEAD")
    assert manifest["repositories"]["archive-ops"]["commit"] == head
    assert manifest["repositories"]["archive-ops"]["dirty"] is False
    lock = (tmp_path / "build" / "requirements.lock").read_text()
    for pin in ("apache-airflow==2.11.2", "humanize==", "xxhash=="):
        assert f"\n{pin}" in f"\n{lock}"
    assert "--hash=sha256:" in lock and "://" not in lock and str(tmp_path) not in lock


def test_the_same_inputs_give_the_same_bytes_and_others_do_not(project, tmp_path, ops):
    first = bundle.assemble(project()).manifest
    lock = (tmp_path / "build" / "requirements.lock").read_bytes()
    again = bundle.assemble(project(), refresh=True).manifest
    assert (again, (tmp_path / "build" / "requirements.lock").read_bytes()) == (first, lock)
    (ops / "scripts/syncAnywhere/syncOneWork.sh").write_text("#!/bin/sh\n")
    changed = bundle.assemble(project()).manifest
    assert changed.fingerprint != first.fingerprint
    assert changed.repositories["archive-ops"]["dirty"] is True


def test_a_touched_file_or_an_edited_dag_changes_nothing(project, tmp_path, ops):
    first = bundle.assemble(project()).manifest
    os.utime(ops / "scripts/syncAnywhere/syncOneWork.sh", (1, 1))
    (tmp_path / "workflows/airflow-docker/dags/sample_sync.py").write_text("# other\n")
    assert bundle.assemble(project()).manifest.fingerprint == first.fingerprint


def test_refresh_purges_what_was_built_and_only_that(project, tmp_path):
    bundle.assemble(project())
    (tmp_path / "build" / "bin" / "stale.sh").write_text("")
    (tmp_path / "build" / "stale").write_text("")
    bundle.assemble(project(), refresh=True)
    assert not (tmp_path / "build" / "stale").exists() and "stale.sh" not in names(tmp_path / "build" / "bin")


@pytest.mark.parametrize("refresh", [False, True])
def test_a_folder_of_the_users_is_neither_filled_nor_purged(project, tmp_path, refresh):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="BUILD_DIR: .* was not made by airflow-docker"):
        bundle.assemble(project(), refresh=refresh)
    assert names(tmp_path / "build") == ["thesis.txt"]


def test_other_requirements_by_flag_and_by_setting(project, tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("tabulate\n")
    monkeypatch.chdir(tmp_path)
    bundle.assemble(project(), chosen=Path("mine.txt"))
    lock = (tmp_path / "build" / "requirements.lock").read_text()
    assert "\ntabulate==" in lock
    with pytest.raises(UserError, match="--requirements: there is no file .*/none.txt"):
        bundle.assemble(project(), chosen=Path("none.txt"))
    with pytest.raises(UserError, match="DAG_REQUIREMENTS: there is no file"):
        bundle.assemble(project("DAG_REQUIREMENTS=none.txt\n"))


def test_a_missing_checkout_says_what_to_type(project):
    with pytest.raises(UserError, match="AO_DEV_DIR: there is no checkout at .* Type: inv pull"):
        bundle.assemble(dataclasses.replace(project(), ao_dev_dir=Path("/no/where")))


def test_a_conflict_is_told_and_the_old_lock_kept(project, tmp_path):
    bundle.assemble(project())
    before = (tmp_path / "build" / "requirements.lock").read_bytes()
    file = tmp_path / "workflows/airflow-docker/StagingGlacierProcess-requirements.txt"
    file.write_text("sqlalchemy>=2\n")
    with pytest.raises(UserError) as caught:
        bundle.assemble(project())
    assert "apache-airflow==2.11.2" in caught.value.text and "sqlalchemy>=2" in caught.value.text
    assert (tmp_path / "build" / "requirements.lock").read_bytes() == before
