"""Assembling BUILD_DIR from real checkouts; the base image is a value here."""

import dataclasses
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from conftest import git

from airflow_docker import PROJECT, files
from airflow_docker.building import bundle
from airflow_docker.engines import images
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.compose.image_builder import ImageBuilder
from airflow_docker.errors import UserError
from airflow_docker.requirements.platforms import Platform

BASE = Platform(
    "base:1", "sha256:1", "amd64", "2.11.2", "3.11", {"apache-airflow": "2.11.2"}, {}, "2026-01-02T03:04:05.5Z"
)


@pytest.fixture
def ops(tmp_path):
    """archive-ops as the examples have it."""
    shutil.copytree(PROJECT / "examples" / "archive-ops", tmp_path / "ops")
    return tmp_path / "ops"


def assemble(settings, **options):
    with bundle.held(settings):
        return bundle.assemble(Compose(settings).builder, **options)


def names(folder):
    return sorted(os.listdir(folder))


@pytest.fixture
def project(make_settings, tmp_path, ops, monkeypatch, wheel_index):
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
    assembled = assemble(project())
    ours = {files.MARKER, *ImageBuilder.generated_files} - {"base-image.json", "compose.build.yaml", "ca-bundle.pem"}
    assert set(names(tmp_path / "build")) == ours
    manifest = json.loads((tmp_path / "build" / "manifest.json").read_text())
    assert manifest["artifact"] == assembled.manifest.artifact == f"bdrc-airflow:{manifest['fingerprint'][:12]}"
    head = git(ops, "rev-parse", "HEAD")
    assert manifest["repositories"]["archive-ops"]["revision"] == head
    assert manifest["repositories"]["archive-ops"]["dirty"] is False
    lock = (tmp_path / "build" / "requirements.lock").read_text()
    for pin in ("apache-airflow==2.11.2", "humanize==", "xxhash=="):
        assert f"\n{pin}" in f"\n{lock}"
    assert "--hash=sha256:" in lock and "://" not in lock and str(tmp_path) not in lock


def test_the_commits_are_shown_before_anything_of_them_runs_here(project, ops, capsys):
    script = ops / "scripts/syncAnywhere/deployment/copyLinksToBin"
    script.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(UserError, match="copyLinksToBin: ended with exit code 3"):
        assemble(project())
    head = git(ops, "rev-parse", "HEAD")
    assert f"· archive-ops {head[:10]}, with local changes\n" in capsys.readouterr().err


def test_the_same_inputs_give_the_same_bytes_and_others_do_not(project, tmp_path, ops):
    first = assemble(project()).manifest
    lock = (tmp_path / "build" / "requirements.lock").read_bytes()
    again = assemble(project(), refresh=True).manifest
    assert (again, (tmp_path / "build" / "requirements.lock").read_bytes()) == (first, lock)
    (ops / "scripts/syncAnywhere/syncOneWork.sh").write_text("#!/bin/sh\n")
    changed = assemble(project()).manifest
    assert changed.fingerprint != first.fingerprint
    assert changed.repositories["archive-ops"]["dirty"] is True


def test_a_touched_file_or_an_edited_dag_changes_nothing(project, tmp_path, ops):
    first = assemble(project()).manifest
    os.utime(ops / "scripts/syncAnywhere/syncOneWork.sh", (1, 1))
    (tmp_path / "workflows/airflow-docker/dags/sample_sync.py").write_text("# other\n")
    assert assemble(project()).manifest.fingerprint == first.fingerprint


def test_refresh_purges_what_was_built_and_only_that(project, tmp_path):
    assemble(project())
    (tmp_path / "build" / "bin" / "stale.sh").write_text("")
    (tmp_path / "build" / "runtime" / "stale").write_text("")
    (tmp_path / "build" / "state").mkdir()
    (tmp_path / "build" / "state" / "thesis.txt").write_text("mine")
    assemble(project(), refresh=True)
    assert not (tmp_path / "build" / "runtime" / "stale").exists()
    assert "stale.sh" not in names(tmp_path / "build" / "bin")
    assert (tmp_path / "build" / "state" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("refresh", [False, True])
def test_a_folder_of_the_users_is_neither_filled_nor_purged(project, tmp_path, refresh):
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="BUILD_DIR: .* was not made by airflow-docker"):
        assemble(project(), refresh=refresh)
    assert names(tmp_path / "build") == ["thesis.txt"]


def test_other_requirements_by_flag_and_by_setting(project, tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("tabulate\n")
    monkeypatch.chdir(tmp_path)
    assemble(project(), chosen=Path("mine.txt"))
    lock = (tmp_path / "build" / "requirements.lock").read_text()
    assert "\ntabulate==" in lock
    with pytest.raises(UserError, match="--requirements: there is no file .*/none.txt"):
        assemble(project(), chosen=Path("none.txt"))
    with pytest.raises(UserError, match="DAG_REQUIREMENTS: there is no file"):
        assemble(project("DAG_REQUIREMENTS=none.txt\n"))


def test_a_missing_checkout_says_what_to_type(project):
    with pytest.raises(UserError, match="AO_DEV_DIR: there is no checkout at .* Type: inv pull"):
        assemble(dataclasses.replace(project(), ao_dev_dir=Path("/no/where")))


def test_a_conflict_is_explained_and_the_old_lock_kept(project, tmp_path):
    assemble(project())
    before = (tmp_path / "build" / "requirements.lock").read_bytes()
    file = tmp_path / "workflows/airflow-docker/StagingGlacierProcess-requirements.txt"
    file.write_text("sqlalchemy>=2\n")
    with pytest.raises(UserError) as caught:
        assemble(project())
    assert "apache-airflow==2.11.2" in caught.value.text and "sqlalchemy>=2" in caught.value.text
    assert (tmp_path / "build" / "requirements.lock").read_bytes() == before


def test_only_the_named_configuration_is_taken(project, tmp_path):
    config = tmp_path / "workflows" / "conf"
    config.mkdir(mode=0o700)
    (config / "site.yml").write_text("a: 1\n")
    (config / "secret.ini").write_text("hunter2")
    first = assemble(project("SITE_CONFIG=conf/site.yml:.config/bdrc/site.yml\n")).manifest
    home = tmp_path / "build" / "home"
    assert [str(f.relative_to(home)) for f in home.rglob("*") if f.is_file()] == [".config/bdrc/site.yml"]
    assert stat.S_IMODE((home / ".config").stat().st_mode) == 0o755
    (config / "site.yml").write_text("a: 2\n")
    changed = assemble(project("SITE_CONFIG=conf/site.yml:.config/bdrc/site.yml\n")).manifest
    assert changed.fingerprint != first.fingerprint
    with pytest.raises(UserError, match="SITE_CONFIG: there is no file .*/workflows/none"):
        assemble(project("SITE_CONFIG=none:x\n"))


def test_what_matters_changes_the_fingerprint_and_what_does_not_does_not(project, tmp_path, monkeypatch):
    first = assemble(project()).manifest.fingerprint
    assert assemble(project("# a comment\nAIRFLOW_PORT=1234\n")).manifest.fingerprint == first
    fingerprints = {"first": first}
    fingerprints["system packages"] = assemble(project("SYSTEM_PACKAGES=git\n")).manifest.fingerprint
    fingerprints["build packages"] = assemble(project("BUILD_PACKAGES=gcc\n")).manifest.fingerprint
    file = tmp_path / "workflows/airflow-docker/StagingGlacierProcess-requirements.txt"
    file.write_text(file.read_text() + "# a comment\n")
    assert assemble(project()).manifest.fingerprint == first
    file.write_text(file.read_text() + "pyfiglet\n")
    fingerprints["requirement"] = assemble(project()).manifest.fingerprint
    other = dataclasses.replace(BASE, id="sha256:2")
    monkeypatch.setattr(images, "base", lambda name, version, cache: other)
    fingerprints["base image"] = assemble(project()).manifest.fingerprint
    assert len(set(fingerprints.values())) == len(fingerprints)


def test_times_in_the_context_come_from_the_newest_commit(project, tmp_path, ops):
    manifest = assemble(project()).manifest
    newest = max(int(git(folder, "log", "-1", "--format=%ct")) for folder in (ops, tmp_path / "workflows"))
    assert manifest.epoch == newest
    script = tmp_path / "build" / "bin" / "syncOneWork.sh"
    assert {int((script.parent / name).stat().st_mtime) for name in names(script.parent)} == {newest}
    before = script.stat()
    edited = ops / "scripts/syncAnywhere/syncOneWork.sh"
    edited.write_text(edited.read_text().replace("archive", "ARCHIVE"))
    assemble(project())
    # The builder would take the same size and time for the same file.
    assert script.stat().st_size == before.st_size and script.stat().st_mtime_ns != before.st_mtime_ns
    assert manifest.layer_epoch == 1767323045  # of the base image


def test_labels_follow_the_oci_keys(project, ops, tmp_path):
    manifest = assemble(project("AO_WORKFLOWS_URL=https://me:hunter2@h/x.git\n")).manifest
    labels = manifest.labels()
    assert labels["org.opencontainers.image.revision"] == git(tmp_path / "workflows", "rev-parse", "HEAD")
    assert labels["org.opencontainers.image.source"] == "https://h/x.git"
    assert labels["airflow-docker.archive-ops.revision"] == git(ops, "rev-parse", "HEAD")
    assert labels["airflow-docker.lock"] == f"sha256:{manifest.lock_sha256}"
    assert labels["org.opencontainers.image.created"].endswith("Z")
    assert "hunter2" not in str(labels)
    assert labels["airflow-docker.base.id"] == "sha256:1"


def test_a_digest_is_called_so_only_where_there_is_one(project, monkeypatch):
    manifest = assemble(project()).manifest
    assert manifest.labels()["airflow-docker.base.digest"].startswith("none (")
    assert "org.opencontainers.image.base.digest" not in manifest.labels()
    pulled = dataclasses.replace(BASE, digest="h/base@sha256:d")
    monkeypatch.setattr(images, "base", lambda name, version, cache: pulled)
    known = assemble(project()).manifest
    assert known.labels()["airflow-docker.base.digest"] == "h/base@sha256:d"
    assert known.labels()["org.opencontainers.image.base.digest"] == "sha256:d"
    assert known.fingerprint == manifest.fingerprint  # the image is the same
    pinned = dataclasses.replace(pulled, name="h/base:1@sha256:d")
    monkeypatch.setattr(images, "base", lambda name, version, cache: pinned)
    assert assemble(project()).manifest.fingerprint != manifest.fingerprint


def test_a_checkout_that_git_cannot_read(project, tmp_path):
    shutil.rmtree(tmp_path / "ops" / ".git")
    with pytest.raises(UserError, match="AO_DEV_DIR: .* is not a git repository"):
        assemble(project())


def test_two_at_once_into_one_build_dir(project, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    settings = project()
    with ThreadPoolExecutor(3) as pool:
        fingerprints = list(pool.map(lambda _: assemble(settings).manifest.fingerprint, range(3)))
    assert len(set(fingerprints)) == 1


def test_a_trial_of_other_requirements_leaves_nothing_behind(project, tmp_path):
    lock = tmp_path / "build" / "requirements.lock"
    first = assemble(project()).manifest
    before = lock.read_bytes()
    other = tmp_path / "other.txt"
    other.write_text("humanize==4.9.0\n")
    assert assemble(project(), chosen=other).manifest.fingerprint != first.fingerprint
    assert b"humanize==4.9.0" in lock.read_bytes() and b"humanize==4.9.0" not in before
    assert (assemble(project()).manifest, lock.read_bytes()) == (first, before)
