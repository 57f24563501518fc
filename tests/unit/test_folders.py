"""Host folders: ours are created for the containers' user, archives are never changed."""

import os
import stat

import pytest
from conftest import snapshot
from invoke.context import Context

import tasks
from airflow_docker import secret_files, settings
from airflow_docker.engines import choice, folders
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.errors import UserError

DAGS = "airflow-docker/dags"


def prepare(settings):
    folders.prepare(settings, Compose(settings).secret_owner.owner)


@pytest.fixture
def make(make_settings, tmp_path):
    (tmp_path / "w" / DAGS).mkdir(parents=True)
    return lambda text="": make_settings(f"WORKFLOW_DEV_DIR=w\n{text}")


def test_our_folders_are_created_for_the_containers_user_and_closed_to_others(make):
    settings = make()
    prepare(settings)
    for name in (*folders.WRITTEN, *folders.ARCHIVES):
        status = getattr(settings, name.lower()).stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (settings.airflow_uid, 0o750), name
    prepare(settings)


def test_a_named_archive_is_neither_created_nor_changed(make, tmp_path):
    with pytest.raises(UserError) as caught:
        prepare(make("ARCH_ROOT=none\nARCHIVE1_DIR=none1\nEXTRA_MOUNTS=none2:/x\n"))
    text = caught.value.text
    assert [line.split(":")[0] for line in text.splitlines()] == ["ARCH_ROOT", "ARCHIVE1_DIR", "EXTRA_MOUNTS (/x)"]
    assert not (tmp_path / "none").exists()
    (tmp_path / "archive" / "deep").mkdir(parents=True)
    (tmp_path / "archive").chmod(0o555)
    before = snapshot(tmp_path / "archive"), (tmp_path / "archive").stat()
    prepare(make("ARCH_ROOT=archive\n"))
    assert (snapshot(tmp_path / "archive"), (tmp_path / "archive").stat()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders of another uid")
def test_a_folder_the_containers_cannot_write_is_named_with_the_remedy(make, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o755)
    with pytest.raises(UserError, match=f"LOGS_DIR: .* may not write .*sudo chown 50000 {tmp_path}/logs"):
        prepare(make("LOGS_DIR=logs\nAIRFLOW_UID=50000\n"))
    assert (tmp_path / "logs").stat().st_uid == 0
    (tmp_path / "w" / DAGS).chmod(0o700)
    os.chown(tmp_path / "w" / DAGS, 0, 1)
    with pytest.raises(UserError, match="DAGS_DIR: .* may not read"):
        prepare(make("AIRFLOW_UID=50000\n"))


def test_a_missing_dag_folder(make):
    with pytest.raises(UserError, match="DAGS_DIR: there is no folder .*/w/other"):
        prepare(make("DAGS_DIR=other\n"))


def test_two_projects_do_not_share_a_state_dir(make_settings):
    folders.claim_state(make_settings("COMPOSE_PROJECT_NAME=one\n"))
    folders.claim_state(make_settings("COMPOSE_PROJECT_NAME=one\n"))
    with pytest.raises(UserError, match="STATE_DIR: .* is that of the project one, and this is two."):
        folders.claim_state(make_settings("COMPOSE_PROJECT_NAME=two\n"))


@pytest.mark.parametrize("verb", ["up", "down", "build", "secrets", "restart", "scale", "dags", "backup", "restore"])
def test_no_verb_changes_files_of_another_project(make_settings, tmp_path, monkeypatch, verb):
    """Two .env in one folder have the same STATE_DIR and SECRETS_DIR, unless they say otherwise."""
    one, other = (Standalone(make_settings(f"COMPOSE_PROJECT_NAME={name}\n")) for name in ("one", "other"))
    folders.claim_state(one.settings)
    secret_files.write(one.settings, one.secret_owner)
    (tmp_path / "a.backup").write_text("x")
    monkeypatch.setattr(settings, "load", lambda flags: other.settings)
    monkeypatch.setattr(choice, "choose", lambda *_, **__: other)
    flags = {argument.name: argument.value or "" for argument in tasks.namespace[verb].get_arguments()}
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="is that of the project one, and this is other"):
        tasks.namespace[verb].declared.run(Context(), flags)
    assert snapshot(tmp_path) == before
