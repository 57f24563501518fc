"""The resolver's command line, and what a lock says."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_docker.errors import UserError
from airflow_docker.requirements import certificates, indexes, resolver
from airflow_docker.requirements.platforms import Platform

TARGET = resolver.Target("2.11.2", "3.12", "aarch64-manylinux_2_28")


def test_the_resolution_is_for_the_image_not_for_the_host():
    command = resolver.compile_command(TARGET, Path("a b"), ["c", "https://h/c.txt"], Path("out"))
    assert command == [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.12",
        "--python-platform", "aarch64-manylinux_2_28", "--constraints=c", "--constraints=https://h/c.txt",
        "--output-file", "out", "a b",
    ]  # fmt: skip
    assert TARGET.root == "apache-airflow==2.11.2"


def test_an_architecture_without_a_platform():
    odd = Platform("base:1", "sha256:1", "riscv64", "2.11.2", "3.12", {}, {}, "2026-01-01T00:00:00Z")
    with pytest.raises(UserError, match="base:1: is built for riscv64. Name one for amd64 or arm64"):
        resolver.target_of(odd)


def test_pins_are_read_from_a_lock():
    text = "a==1.0 \\\n    --hash=sha256:0\nb==2 ; python_version > '3'\n# c==3\nd @ https://h/d.whl\n"
    assert resolver.pins(text) == {"a": "1.0", "b": "2"}


def test_only_git_references_need_no_hash():
    a, git, url, b = (
        "a==1.0 ; x \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n",
        "d @ git+https://h/d@12\n",
        "e @ https://h/e.whl\n",
        "b==2\n",
    )
    assert resolver.split_git_references(f"# c==3\n{a}{git}    # via x\n{url}{b}") == (
        a + url + b,
        f"{git}    # via x\n",
    )


@pytest.fixture
def pip_conf(tmp_path, monkeypatch):
    """No configuration of pip but what is written here."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        indexes, "_configuration_files", lambda: [tmp_path / "one", tmp_path / "two", tmp_path / "none"]
    )
    return tmp_path


def test_pip_configuration_is_translated_and_local_indexes_left_out(pip_conf, monkeypatch):
    (pip_conf / "one").write_text("[global]\nindex-url = https://one.invalid/simple\ntimeout = 60\n")
    (pip_conf / "two").write_text(
        "[install]\nindex-url = https://two.invalid/%7Esimple\n"
        "extra-index-url =\n    file:///opt/x\n    https://three.invalid/simple\n    https://four.invalid/simple\n"
    )
    extra = "https://three.invalid/simple https://four.invalid/simple"
    expected = {
        "PIP_INDEX_URL": "https://two.invalid/%7Esimple",
        "UV_DEFAULT_INDEX": "https://two.invalid/%7Esimple",
        "PIP_EXTRA_INDEX_URL": extra,
        "UV_INDEX": extra,
    }
    assert indexes.variables() == expected
    monkeypatch.setenv("PIP_INDEX_URL", "https://five.invalid/simple")
    assert indexes.variables()["UV_DEFAULT_INDEX"] == "https://five.invalid/simple"
    assert "export UV_DEFAULT_INDEX=https://five.invalid/simple\n" in indexes.as_script()


@pytest.mark.parametrize("known", [True, False])
def test_own_certificates_are_trusted_besides_the_usual_ones(make_settings, tmp_path, monkeypatch, known):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if not known:  # as with a Python that knows a folder of them alone, on a machine that has them elsewhere
        monkeypatch.setattr(certificates.ssl, "get_default_verify_paths", lambda: SimpleNamespace(cafile=None))
        monkeypatch.setattr(certificates, "_PLACES", ())
    (tmp_path / "own.pem").write_text("own certificate")
    env = indexes.for_uv(make_settings("EXTRA_CA_BUNDLE=own.pem\n"), tmp_path / "bundle.pem")
    trusted = Path(env["SSL_CERT_FILE"]).read_text()
    assert trusted.count("BEGIN CERTIFICATE") > 50 and trusted.endswith("own certificate")


def test_without_any_configuration(pip_conf):
    assert indexes.variables() == {}
    (pip_conf / "one").write_text("[global]\nextra-index-url = file:///opt/x\n")
    assert indexes.variables() == {}
