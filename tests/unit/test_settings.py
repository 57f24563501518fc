"""Precedence, parsing, and the agreement of .env.example, Settings and compose.yaml."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_docker import PROJECT, settings
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Base, Secret, load, names, redact


def load_text(tmp_path, text, environ=None, **flags):
    file = tmp_path / ".env"
    file.write_text(text)
    return load(file, environ or {}, flags)


def problem(tmp_path, text, environ=None):
    with pytest.raises(UserError) as caught:
        load_text(tmp_path, text, environ)
    assert caught.value.code == USAGE
    return caught.value.text


def test_flag_over_environment_over_file_over_default(tmp_path):
    text = "AIRFLOW_PORT=1001\n"
    loaded = [
        load_text(tmp_path, ""),
        load_text(tmp_path, text),
        load_text(tmp_path, text, {"AIRFLOW_PORT": "1002"}),
        load_text(tmp_path, text, {"AIRFLOW_PORT": "1002"}, AIRFLOW_PORT="1003"),
    ]
    assert [(s.airflow_port, s.sources["AIRFLOW_PORT"]) for s in loaded] == [
        (8089, "default"),
        (1001, ".env"),
        (1002, "environment"),
        (1003, "flag"),
    ]


def test_an_empty_value_counts_as_not_set(tmp_path):
    assert load_text(tmp_path, "AIRFLOW_PORT=\n", {"TZ": ""}).airflow_port == 8089


def test_paths_are_relative_to_the_env_file_and_know_the_home_directory(tmp_path):
    loaded = load_text(tmp_path, "BUILD_DIR=~/b\nWORKFLOW_DEV_DIR=../x y\nSTATE_DIR=s\n")
    assert loaded.build_dir == Path.home() / "b"
    assert loaded.workflow_dev_dir == tmp_path.parent / "x y"
    assert loaded.logs_dir == tmp_path / "s" / "logs"


def test_values_are_literal(tmp_path):
    loaded = load_text(tmp_path, "SECRET_AWS__default__key='p$a${HOME}#x'\n", {"HOME": "/nowhere"})
    assert loaded.secret_inputs["SECRET_AWS__default__key"].reveal() == "p$a${HOME}#x"


def test_byte_order_mark_crlf_export_and_comments_are_read(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbf# hello\r\nexport AIRFLOW_PORT=1234  # why\r\n")
    assert load(tmp_path / ".env", {}).airflow_port == 1234


def test_images_may_be_pinned_by_digest(make_settings):
    digest = "sha256:" + "0a" * 32
    names = [f"apache/airflow:2.11.2-python3.11@{digest}", f"h.example.org:5000/x/postgres@{digest}"]
    loaded = make_settings("AIRFLOW_BASE_IMAGE={}\nPOSTGRES_IMAGE={}\n".format(*names))
    assert [loaded.airflow_base_image, loaded.postgres_image] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AIRFLOW_PORT=http\n", "AIRFLOW_PORT: 'http' is not a whole number from 1 to 65535 (from .env)."),
        ("AIRFLOW_PORT=70000\n", "AIRFLOW_PORT: '70000' is not"),
        ("AIRFLOW_UID=0\n", "AIRFLOW_UID: '0' is not a whole number from 1"),
        ("SHM_SIZE=0m\n", "SHM_SIZE: '0m' is not an amount of memory like 64m or 1g (from .env)."),
        ("SHM_SIZE=1gb\n", "SHM_SIZE: '1gb' is not an amount of memory like 64m or 1g"),
        ("AIRFLOW_VERSION=latest\n", "AIRFLOW_VERSION: 'latest' is not a version from 2.7.0 on, like 2.11.2"),
        ("AIRFLOW_IMAGE=a:b\n", "AIRFLOW_IMAGE: 'a:b' is not an image name without a tag"),
        ("AIRFLOW_BASE_IMAGE='A b'\n", "AIRFLOW_BASE_IMAGE: 'A b' is not an image name"),
        ("AIRFLOW_BASE_IMAGE=a:b@sha256:12\n", "AIRFLOW_BASE_IMAGE: 'a:b@sha256:12' is not an image name"),
        ("POSTGRES_IMAGE=a@md5:12\n", "POSTGRES_IMAGE: 'a@md5:12' is not an image name"),
        ("COMPOSE_PROJECT_NAME=Up\n", "COMPOSE_PROJECT_NAME: 'Up' is not lower-case"),
        ("DAGS_DIR=/etc\n", "DAGS_DIR: '/etc' must be a relative path"),
        ("DAGS_DIR=a/../../b\n", "DAGS_DIR: 'a/../../b' must be"),
        ("EXTRA_MOUNTS=/a\n", "EXTRA_MOUNTS: '/a' is not of the form HOST_FOLDER:/container/folder"),
        ("EXTRA_CA_BUNDLE=none.pem\n", "EXTRA_CA_BUNDLE: there is no file"),
        ("BUILD_DIR=~nobody-here/x\n", "BUILD_DIR: '~nobody-here/x' names a home directory that is not known"),
        ("AO_WORKFLOWS_URL=https://[bad/x\n", "AO_WORKFLOWS_URL: 'https://[bad/x' is not a URL"),
        ("AO_WORKFLOWS_URL=https://h:abc/x\n", "AO_WORKFLOWS_URL: 'https://h:abc/x' is not a URL"),
        ("AO_WORKFLOWS_URL=https://me:a/b@h/x\n", "AO_WORKFLOWS_URL: 'https://***@h/x' is not a URL (in a password, /"),
        ("AO_WORKFLOWS_URL=ssh://me:p@h/x\n", "AO_WORKFLOWS_URL: 'ssh://***@h/x' holds a password, which is for http"),
        (
            "AO_WORKFLOWS_URL=me:p@h/x\n",
            "AO_WORKFLOWS_URL: it begins with a user and a password and has no scheme: put",
        ),
        ("AUDIT_TOOL_URL=ftp://me:p@h/x\n", "AUDIT_TOOL_URL: 'ftp://***@h/x' is not an http or https URL"),
        ("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER=http://me:p@h/x\n", "this option holds a secret"),
        ("SYSTEM_PACKAGES=git;rm\n", "SYSTEM_PACKAGES: 'git;rm' is not the name of a Debian package"),
        ("SITE_CONFIG=a\n", "SITE_CONFIG: 'a' is not of the form FILE:path"),
        ("SITE_CONFIG=a:/etc/x\n", "SITE_CONFIG: '/etc/x' must be a relative path"),
        ("AUDIT_TOOL_SHA256=abc\n", "AUDIT_TOOL_SHA256: 'abc' is not 64 hexadecimal digits"),
        ("AIRFLOW_VERSION=2.6.3\n", "AIRFLOW_VERSION: '2.6.3' is not a version from 2.7.0 on"),
        (
            "AIRFLOW__WEBSERVER__BASE_URL=http://[::1:80/x\n",
            "AIRFLOW__WEBSERVER__BASE_URL: 'http://[::1:80/x' is not a URL",
        ),
        ("STATE_DIR\n", ".env line 1: this is not of the form NAME=value."),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS=x\n", "this option holds a secret"),
        ('AIRFLOW__LOGGING__REMOTE_TASK_HANDLER_KWARGS={"api_key": 1}\n', "this option holds a secret"),
        ('AIRFLOW__DATABASE__SQL_ALCHEMY_ENGINE_ARGS={"password": 1}\n', "this option holds a secret"),
        (
            "AIRFLOW__CORE__EXECUTOR=LocalExecutor\n",
            "AIRFLOW__CORE__EXECUTOR: this option is set by airflow-docker. Set EXECUTOR.",
        ),
        ("AIRFLOW__API__PORT=80\n", "AIRFLOW__API__PORT: this option is set by airflow-docker. Set AIRFLOW_PORT."),
        ("PYDEV_DEBUG=maybe\n", "PYDEV_DEBUG: 'maybe' is not YES or NO"),
        ("AIRFLOW_PROT=1\n", ".env: AIRFLOW_PROT: there is no such setting. Did you mean AIRFLOW_PORT?"),
        ("WORKFLOW_DEVDIR=x\n", "Did you mean WORKFLOW_DEV_DIR?"),
        ("SECRET_AWZ_FILE=x\n", "Did you mean SECRET_AWS_FILE?"),
        ("SECRET_OTHER__a__b=x\n", "SECRET_OTHER__a__b: there is no such setting."),
        ("AIRFLOW__CORE__FERNET_KEY=x\n", "AIRFLOW__CORE__FERNET_KEY: this option holds a secret"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD=x\n", "this option holds a secret"),
        ("TZ=UTC\nTZ=UTC\n", ".env line 2: TZ is already set in line 1."),
        ("\n\nTZ 'x\n", ".env line 3: this is not of the form NAME=value."),
    ],
)
def test_each_problem_has_its_sentence(tmp_path, text, message):
    assert message in problem(tmp_path, text)


def test_all_problems_are_reported_at_once(tmp_path):
    text = problem(tmp_path, "AIRFLOW_PORT=x\nAIRFLOW_UID=y\nBUILD_DIRR=z\n")
    assert [line.split(":")[0] for line in text.splitlines()] == [".env", "AIRFLOW_PORT", "AIRFLOW_UID"]


def test_foreign_names_in_the_file_are_left_alone(tmp_path):
    load_text(tmp_path, "MY_OWN=1\nPATH_TO_THINGS=2\n")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / ".env").write_bytes(b"TZ=\xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load(tmp_path / ".env", {})
    with pytest.raises(UserError, match="ENV_FILE: there is no file"):
        load(None, {"ENV_FILE": str(tmp_path / "none")})


def test_one_file_is_one_installation_however_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / ".env").write_text("")
    monkeypatch.chdir(tmp_path / "b")
    named = [
        load(None, {"ENV_FILE": name}).compose_project_name for name in ("../a/.env", str(tmp_path / "a" / ".env"))
    ]
    assert named[0] == named[1]


def test_certificates_that_are_gone_stop_nothing(tmp_path):
    assert load_text(tmp_path, "", {"SSL_CERT_FILE": "/gone/ca.pem"}).extra_ca_bundle is None


def test_airflow_options_come_from_the_file_and_may_be_changed_by_the_environment(tmp_path):
    environ = {"AIRFLOW__CORE__PARALLELISM": "9", "AIRFLOW__CORE__DAGS_FOLDER": "/mine"}
    loaded = load_text(tmp_path, "AIRFLOW__CORE__PARALLELISM=8\n", environ)
    assert loaded.airflow_options == {"AIRFLOW__CORE__PARALLELISM": "9"}


def test_a_file_of_a_zone_in_the_environment_counts_for_nothing(tmp_path):
    for value in (":/etc/localtime", "/usr/share/zoneinfo/UTC"):
        assert load_text(tmp_path, "TZ=Asia/Tokyo\n", {"TZ": value}).tz == "Asia/Tokyo"


def test_certificates_default_to_those_of_the_machine(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("x")
    assert load_text(tmp_path, "", {"PIP_CERT": str(bundle)}).extra_ca_bundle == bundle
    assert load_text(tmp_path, "").extra_ca_bundle is None


def test_a_folder_may_have_any_name(tmp_path):
    assert settings.default_project_name(Base(Path(os.fsdecode(b"/a\xff/.env")), {})).startswith("a-")


def test_two_checkouts_have_two_project_names(tmp_path):
    one, other = (settings.default_project_name(Base(tmp_path / name / "Air Flow" / ".env", {})) for name in "ab")
    assert one != other
    assert re.fullmatch(r"air-flow-[0-9a-f]{6}", one)


def test_the_default_uid_is_mine_or_the_images_for_root(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert settings.default_uid(Base(Path("x"), {})) == "1000"
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert settings.default_uid(Base(Path("x"), {})) == "50000"


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("hunter2")
    assert [str(secret), repr(secret), f"{secret}", f"{secret}"] == ["***"] * 4
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:token@example.org/x.git", "https://***@example.org/x.git"),
        ("https://example.org/x", "https://example.org/x"),
        ("ssh://git@example.org/x", "ssh://git@example.org/x"),
        ("ssh://u:pw@example.org/x", "ssh://***@example.org/x"),
        ("git@example.org:x", "git@example.org:x"),
        ("ssh://git@example.org:22/x", "ssh://git@example.org:22/x"),
        ("HTTPS://me:token@example.org/x", "HTTPS://***@example.org/x"),
        ("https://me:to/k?e#n@2@example.org/x", "https://***@example.org/x"),
        ("postgres:16@sha256:12", "postgres:16@sha256:12"),
        ("404 for http://me:t@h/x and http://h/x", "404 for http://***@h/x and http://h/x"),
        ("/a/b", "/a/b"),
    ],
)
def test_urls_are_shown_without_credentials(url, shown):
    assert redact(url) == shown


def test_an_option_may_be_an_address_without_a_password(tmp_path):
    options = {f"AIRFLOW__A__B{n}": value for n, value in enumerate(("https://h:1/@me", "abfs://box@h/x", "me:p@h"))}
    text = "".join(f"{name}={value}\n" for name, value in options.items())
    assert load_text(tmp_path, text).airflow_options == options


def test_the_example_lists_every_setting_once_with_its_default(tmp_path):
    text = (PROJECT / ".env.example").read_text()
    listed = re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.M)
    assert [name for name, _ in listed] == names()
    computed = {"AIRFLOW_UID", "COMPOSE_PROJECT_NAME", "EXTRA_CA_BUNDLE"}
    defaults = {f.name.upper(): f.metadata.get("default") for f in settings.fields(settings.Settings)}
    assert {n: d for n, d in listed if n not in computed} == {n: defaults[n] for n in names() if n not in computed}
    for name in names():
        assert re.search(rf"^# Example: {name}=\S", text, re.M), name


def test_the_example_is_a_valid_env_file_with_every_example_switched_on(tmp_path):
    text = (PROJECT / ".env.example").read_text()
    examples = re.findall(r"^# Example: (.+)$", text, re.M)
    here = tmp_path / "here"
    here.write_text("x")
    lines = [re.sub(r"^(EXTRA_CA_BUNDLE|AUDIT_TOOL_DEB)=.*", rf"\1={here}", example) for example in examples]
    assert load_text(tmp_path, "\n".join(lines)).airflow_options == {"AIRFLOW__CORE__PARALLELISM": "8"}


def test_compose_uses_only_settings_and_every_runtime_setting_is_used():
    layers = [PROJECT / "compose.yaml", *(PROJECT / "docker").glob("*.yaml"), *(PROJECT / "docker").glob("*.env")]
    used = {name for layer in layers for name in re.findall(r"\$\{([A-Z0-9_]+)", layer.read_text())} - {"NAME"}
    computed = {"AIRFLOW_RELEASE", "MOUNTED", "HEALTH_PATH", "PAGE_PATH"}
    assert used - set(names()) == computed
    elsewhere = {
        "AO_WORKFLOWS_URL", "AO_WORKFLOWS_REF", "ARCHIVE_OPS_URL", "ARCHIVE_OPS_REF", "AO_DEV_DIR",
        "DAG_REQUIREMENTS", "AIRFLOW_VERSION", "STATE_DIR", "COMPOSE_PROJECT_NAME", "EXTRA_MOUNTS",
        "AIRFLOW_CONSTRAINTS", "ENGINE", "STANDALONE_SKIP", "WORKERS",
        "IMAGE_REGISTRY", "DAGS_DELIVERY", "OVERLAY_ENCRYPTION", "SYSTEM_PACKAGES", "BUILD_PACKAGES", "AUDIT_TOOL_URL", "AUDIT_TOOL_SHA256", "AUDIT_TOOL_DEB", "SITE_CONFIG",
    }  # fmt: skip
    assert set(names()) - used == elsewhere


def test_listing_the_verbs_reading_settings_and_taking_compose_imports_nothing_heavy():
    code = (
        "import sys, tasks; from airflow_docker.settings import load; from airflow_docker.engines.choice import engine_named;"
        "from airflow_docker.verbs import builds, stack, status; engine_named(load(environ={}), 'compose').config_digest();"
        "print(sorted(sys.modules.keys() & {'git', 'rich', 'pooch', 'packaging', 'psutil', 'requests',"
        "'airflow_docker.engines.standalone', 'airflow_docker.engines.swarm', 'airflow_docker.verbs.overview'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
