#!/usr/bin/env python3
"""webObject.py put FOLDER s3://BUCKET/KEY, or webObject.py rename s3://BUCKET/KEY s3://BUCKET/KEY."""

import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import yaml

site = yaml.safe_load((Path.home() / ".config" / "bdrc" / "site-sync.yml").read_text())
s3 = boto3.client("s3", endpoint_url=site["s3"]["endpoint"])


def put(folder, bucket, key):
    """The folder as one zip."""
    with tempfile.TemporaryDirectory() as place:
        s3.upload_file(shutil.make_archive(f"{place}/work", "zip", folder), bucket, key)


def rename(old, bucket, key):
    source = {"Bucket": urlsplit(old).netloc, "Key": urlsplit(old).path[1:]}
    s3.copy_object(CopySource=source, Bucket=bucket, Key=key)
    s3.delete_object(**source)


verb, source, target = sys.argv[1:]
{"put": put, "rename": rename}[verb](source, urlsplit(target).netloc, urlsplit(target).path[1:])
