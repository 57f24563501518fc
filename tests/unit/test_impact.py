"""What an install changes in the base image, and whom it leaves without what they declare."""

import pytest

from airflow_docker.errors import UserError
from airflow_docker.requirements import impact, resolver
from airflow_docker.requirements.platforms import Platform

BASE = Platform(
    "base:1", "sha256:1", "amd64", "2.11.2", "3.11",
    {"Boto3": "1.35.0", "provider_amazon": "9.0", "six": "1.16.0", "other": "1"},
    {"provider_amazon": ["boto3>=1.33", "six", "botocore>=2; extra == 'x'", "boto3>=9; python_version < '3'"],
     "other": ["boto3<1.30; sys_platform == 'linux'"], "locked": ["boto3>=99"]},
    "2026-01-01T00:00:00Z",
)  # fmt: skip


def test_changes_and_who_is_broken_by_them():
    assert impact.changes(BASE, {"boto3": "1.21.46", "six": "1.16.0", "new": "1", "locked": "2"}) == [
        impact.Change("boto3", "1.35.0", "1.21.46", ("provider_amazon needs >=1.33",))
    ]
    assert impact.changes(BASE, {"six": "1.16.0"}) == []
    assert [c.new for c in impact.changes(BASE, resolver.locked("boto3 @ https://h/b.whl\nsix==1.16.0\n"))] == [
        "https://h/b.whl"
    ]


def test_the_table_and_strict(capsys):
    changes = impact.changes(BASE, {"boto3": "1.31"})
    impact.report(changes, strict=False)
    output = capsys.readouterr()
    assert output.out == ""
    for text in ("boto3", "1.35.0", "1.31", "other needs <1.30", "provider_amazon needs >=1.33"):
        assert text in output.err
    with pytest.raises(UserError, match="--strict: the install would change boto3"):
        impact.report(changes, strict=True)
    impact.report([], strict=True)
