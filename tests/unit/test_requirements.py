"""The resolver's command line, and what a lock says."""

from pathlib import Path

from airflow_docker import indexes, requirements
from airflow_docker.images import BaseImage

BASE = BaseImage("base:1", "sha256:1", "arm64", "2.11.2", "3.12", {})


def test_the_resolution_is_for_the_image_not_for_the_host():
    made = requirements.compile_command([Path("a b.txt")], Path("root.in"), Path("out"), BASE, upgrade=True)
    assert made == [
        "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.12",
        "--python-platform", "aarch64-manylinux_2_28", "--output-file", "out", "--upgrade", "root.in", "a b.txt",
    ]  # fmt: skip


def test_pins_are_read_from_a_lock():
    text = "a==1.0 \\\n    --hash=sha256:0\nb[x]==2 ; python_version > '3'\n# c==3\n"
    assert requirements.pins(text) == {"a": "1.0", "b": "2"}


def test_changes_are_what_the_image_has_otherwise():
    installed = {"Boto3": "1.35", "zope.interface": "5", "other": "1"}
    locked = {"boto3": "1.21", "zope-interface": "5", "new": "1"}
    assert requirements.changes(installed, locked) == {"boto3": ("1.35", "1.21")}


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
