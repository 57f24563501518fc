#!/usr/bin/env python3
"""Prints a line `<xxh64 of the bytes>  <path>` for each file of a folder."""

import sys
from pathlib import Path

import xxhash

root = Path(sys.argv[1])
for file in sorted(f for f in root.rglob("*") if f.is_file() and not f.name.startswith("manifest-")):
    print(f"{xxhash.xxh64(file.read_bytes()).hexdigest()}  {file.relative_to(root)}")
