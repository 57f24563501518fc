"""The resolver's command line, and what a lock says."""

from pathlib import Path

import pytest

from airflow_docker import indexes, requirements
from airflow_docker.errors import UserError
from airflow_docker.images import BaseImage

TARGET = requirements.Target("2.11.2", "3.12", "aarch64-manylinux_2_28")


def test_the_resolution_is_for_the_image_not_for_the_host():
    made = requirements.compile_command(TARGET, Path("a b"), ["c", "https://h/c.txt"], Path("out"))
    assert made == [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.12",
        "--python-platform", "aarch64-manylinux_2_28", "--constraints=c", "--constraints=https://h/c.txt",
        "--output-file", "out", "a b",
    ]  # fmt: skip
    assert TARGET.root == "apache-airflow==2.11.2"


def test_an_architecture_without_a_platform():
    odd = BaseImage("base:1", "sha256:1", "riscv64", "2.11.2", "3.12", {}, {}, "2026-01-01T00:00:00Z")
    with pytest.raises(UserError, match="base:1: is made for riscv64. Name one for amd64 or arm64"):
        requirements.target_of(odd)


def test_pins_are_read_from_a_lock():
    text = "a==1.0 \\\n    --hash=sha256:0\nb==2 ; python_version > '3'\n# c==3\nd @ https://h/d.whl\n"
    assert requirements.pins(text) == {"a": "1.0", "b": "2"}


def test_pip_configuration_is_translated_and_local_indexes_left_out():
    listed = (
        "global.index-url='https://one.invalid/simple'\n"
        "user.extra-index-url='file:///opt/x https://two.invalid/simple\\nhttps://three.invalid/simple'\n"
        "global.timeout='60'\n"
        ":env:.index-url='https://four.invalid/simple'\n"
    )
    two = "https://two.invalid/simple https://three.invalid/simple"
    assert indexes._variables(listed) == {
        "PIP_INDEX_URL": "https://four.invalid/simple",
        "UV_DEFAULT_INDEX": "https://four.invalid/simple",
        "PIP_EXTRA_INDEX_URL": two,
        "UV_INDEX": two,
    }
    assert indexes._variables("global.extra-index-url='file:///opt/x'\n") == {}
