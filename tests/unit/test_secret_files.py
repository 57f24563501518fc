"""SECRETS_DIR: what is written, with which modes, and what is refused."""

import os
import stat

import pytest
from conftest import snapshot

from airflow_docker import secret_files
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.errors import UserError

AWS = "[default]\naws_access_key_id = A\n\n[ap_northeast]\naws_access_key_id = B\n\n[other]\nx = 1\n"
NAMES = {"db_apps.config", "drs.config", "aws-credentials", *secret_files.DERIVED, *secret_files.GENERATED}


def write(settings):
    return secret_files.write(settings, Compose(settings).secret_owner)


def check(settings):
    return secret_files.check(settings, Compose(settings).secret_owner)


def content(settings, name):
    return (settings.secrets_dir / name).read_text()


def refused(settings, message):
    folder = settings.secrets_dir
    before = snapshot(folder) if folder.exists() else None
    with pytest.raises(UserError, match=message) as caught:
        write(settings)
    assert (snapshot(folder) if folder.exists() else None) == before
    return caught.value.text


def test_files_directory_and_modes(make_settings):
    settings = make_settings("SECRET_AWS__default__key=v\n")
    assert {file.name for file in write(settings)} == NAMES
    assert stat.S_IMODE(settings.secrets_dir.stat().st_mode) == 0o700
    assert set(os.listdir(settings.secrets_dir)) == NAMES
    for name in NAMES:
        status = (settings.secrets_dir / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o400, settings.airflow_uid)


def test_nothing_is_written_when_nothing_changed_and_keys_are_kept(make_settings):
    settings = make_settings("SECRET_AWS__default__key=v\n")
    write(settings)
    before = snapshot(settings.secrets_dir)
    assert write(settings) == []
    assert snapshot(settings.secrets_dir) == before
    changed = write(make_settings("SECRET_AWS__default__key=w\n"))
    assert [file.name for file in changed] == ["aws-credentials"]


def test_generated_keys_are_fit_for_their_use(make_settings):
    settings = make_settings()
    write(settings)
    import base64

    assert len(base64.urlsafe_b64decode(content(settings, "fernet_key"))) == 32
    assert len({content(settings, name) for name in secret_files.GENERATED}) == len(secret_files.GENERATED)
    password = content(settings, "postgres_password")
    assert len(password) >= 32
    assert content(settings, "sql_alchemy_conn") == f"postgresql+psycopg2://airflow:{password}@postgres:5432/airflow"


def test_single_keys_keep_case_and_signs(make_settings):
    settings = make_settings(
        "SECRET_DB_APPS__mysql__mySqlCnfPath=/run/secrets/drs_cnf\nSECRET_DB_APPS__qa__p='a=%b$c;d'\n"
    )
    write(settings)
    assert (
        content(settings, "db_apps.config") == "[mysql]\nmySqlCnfPath = /run/secrets/drs_cnf\n\n[qa]\np = a=%b$c;d\n\n"
    )


def test_a_whole_file_is_taken_as_it_is(make_settings, tmp_path):
    text = "# mine\n!include /x\n[client]\nskip-ssl\npassword=a#b\n"
    (tmp_path / "my.cnf").write_text(text)
    settings = make_settings("SECRET_DRS_CNF_FILE=my.cnf\n")
    write(settings)
    assert content(settings, "drs.config") == text


def test_chosen_sections_with_keys_over_them(make_settings, tmp_path):
    (tmp_path / "creds").write_text(AWS)
    settings = make_settings(
        "SECRET_AWS_FILE=creds\nSECRET_AWS_SECTIONS=default, ap_northeast\nSECRET_AWS__default__region_name=us-east-1\n"
    )
    write(settings)
    assert content(settings, "aws-credentials") == (
        "[default]\naws_access_key_id = A\nregion_name = us-east-1\n\n[ap_northeast]\naws_access_key_id = B\n\n"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("SECRET_AWS_FILE=creds\nSECRET_AWS_SECTIONS=nope\n", r"SECRET_AWS_SECTIONS: there is no section \[nope\]"),
        ("SECRET_AWS_FILE=none\n", "SECRET_AWS_FILE: there is no file .*/none"),
        ("SECRET_AWS_FILE=.\n", "SECRET_AWS_FILE: .* is not a file"),
        ("SECRET_AWS_SECTIONS=default\n", "SECRET_AWS_SECTIONS: there is no SECRET_AWS_FILE"),
        ("SECRET_AWS_FILE=broken\n", "SECRET_AWS_FILE: line 2 of the file is not valid ini"),
        ("SECRET_AWS_FILE=binary\n", "SECRET_AWS_FILE: .* is not text"),
        ("SECRET_AWS_FILE=huge\n", "SECRET_AWS_FILE: .* is larger than 1 MiB"),
    ],
)
def test_what_is_missing_or_malformed_is_named_and_nothing_written(make_settings, tmp_path, lines, message):
    (tmp_path / "creds").write_text(AWS)
    (tmp_path / "broken").write_text("\nhunter2\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge").write_text("#" * (1 << 20) + "\n")
    settings = make_settings(lines)
    assert "hunter2" not in refused(settings, message)
    assert not settings.secrets_dir.exists()


def test_all_missing_files_are_reported_at_once(make_settings):
    text = refused(make_settings("SECRET_AWS_FILE=a\nSECRET_DRS_CNF_FILE=b\n"), "there is no file")
    assert len(text.splitlines()) == 2


def test_a_directory_that_others_may_enter_is_refused_and_left_alone(make_settings):
    settings = make_settings()
    settings.secrets_dir.mkdir(mode=0o755)
    refused(settings, "others may enter .* chmod 700")
    assert stat.S_IMODE(settings.secrets_dir.stat().st_mode) == 0o755


def test_a_uid_that_we_cannot_hand_files_to(make_settings, monkeypatch):
    settings = make_settings("AIRFLOW_UID=4242\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused(settings, "AIRFLOW_UID: the containers would run as uid 4242, and yours is 1000")


def states(settings):
    return {state.file.name: state.problem for state in check(settings) if state.problem}


def test_check_names_what_is_missing_stale_or_too_readable(make_settings):
    settings = make_settings("SECRET_AWS__default__key=v\n")
    assert set(states(settings)) == NAMES
    assert not settings.secrets_dir.exists()
    write(settings)
    before = snapshot(settings.secrets_dir)
    assert states(settings) == {}
    assert states(make_settings("SECRET_AWS__default__key=w\n")) == {
        "aws-credentials": "stale: the settings have changed"
    }
    assert snapshot(settings.secrets_dir) == before
    (settings.secrets_dir / "fernet_key").chmod(0o440)
    (settings.secrets_dir / "admin_password").unlink()
    (settings.secrets_dir / "sql_alchemy_conn").chmod(0o600)
    (settings.secrets_dir / "sql_alchemy_conn").write_text("other")
    settings.secrets_dir.chmod(0o750)
    assert states(make_settings("SECRET_AWS__default__key=v\n")) == {
        ".secrets": "others may enter it (mode 0750)",
        "fernet_key": "others may read it (mode 0440)",
        "admin_password": "missing",
        "sql_alchemy_conn": "stale: the settings have changed",
    }


def test_notes(make_settings):
    text = "\n".join(secret_files.notes(make_settings("SECRET_DB_APPS__qa__server=x\n")))
    assert "drs_cnf is not set" in text and "aws is not set" in text
    assert "mySqlCnfPath is missing; set SECRET_DB_APPS__mysql__mySqlCnfPath=/run/secrets/drs_cnf" in text


def test_a_section_named_default_is_like_any_other(make_settings, tmp_path):
    (tmp_path / "creds").write_text("[DEFAULT]\npassword = leak\n[prod]\na = 1\n")
    settings = make_settings("SECRET_AWS_FILE=creds\nSECRET_AWS_SECTIONS=prod\nSECRET_DB_APPS__DEFAULT__k=v\n")
    write(settings)
    assert content(settings, "aws-credentials") == "[prod]\na = 1\n\n"
    assert content(settings, "db_apps.config") == "[DEFAULT]\nk = v\n\n"


def test_odd_things_in_the_place_of_ours(make_settings, tmp_path):
    settings = make_settings()
    (tmp_path / ".secrets").symlink_to(tmp_path / "none")
    with pytest.raises(UserError, match="SECRETS_DIR: .* is not a folder"):
        write(settings)
    (tmp_path / ".secrets").unlink()
    write(settings)
    (tmp_path / ".secrets" / "fernet_key").unlink()
    (tmp_path / ".secrets" / "fernet_key").write_bytes(b"\xff")
    with pytest.raises(UserError, match="fernet_key: is not text"):
        write(settings)
    with pytest.raises(UserError, match="SECRET_AWS_FILE: '~nobody-here/x' names a home directory that is not known"):
        write(make_settings("SECRET_AWS_FILE=~nobody-here/x\n"))
