"""Incoming works, zipped or bagged, and the package of the audit tool."""

import hashlib
import io
import random
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from stack.conftest import run

LAUNCHER = "opt/audit-tool/audit-test/bin/audit-tool"
AUDIT_TOOL = """#!/bin/bash
# audit-tool WORK_FOLDER: fails without images. Takes as long as there is a file HOLD beside the folder.
set -euo pipefail
[ "$1" != -v ] || { echo "audit-tool of the tests"; exit 0; }
while [ -e "$(dirname "$1")/HOLD" ]; do sleep 0.5; done
images=$(find "$1/images" -name '*.jpg' | wc -l)
[ "$images" -gt 0 ] || { echo "$1 has no images" >&2; exit 1; }
echo "audited $1: $images images"
"""
CONTROL = """Package: audit-test
Version: 1.0
Architecture: all
Maintainer: the tests <tests@localhost>
Description: looks whether a work has images
"""


@dataclass(frozen=True)
class Work:
    """A name and a number of images; the contents are derived from these."""

    name: str
    images: int

    @property
    def files(self):
        """Path -> content."""
        content = random.Random(self.name)
        images = {f"images/{self.name}-I1/{n:04}.jpg": content.randbytes(5000 + n) for n in range(self.images)}
        return images | {"sources/note.txt": f"{self.name} has {self.images} images\n".encode()}


def zipped(folder, name, *works):
    """A zip of one or several works."""
    return _zip(
        folder / f"{name}.zip", {f"{work.name}/{path}": data for work in works for path, data in work.files.items()}
    )


def bagged(folder, work):
    """A zip of a bag (RFC 8493) like the real ones: its folder is an entry too, and is named after the work."""
    manifest = "".join(f"{hashlib.sha512(data).hexdigest()}  data/{path}\n" for path, data in work.files.items())
    files = {
        "": b"",
        "bagit.txt": b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n",
        "manifest-sha512.txt": manifest.encode(),
        **{f"data/{path}": data for path, data in work.files.items()},
    }
    return _zip(folder / f"{work.name}.bag.zip", {f"{work.name}.bag/{path}": data for path, data in files.items()})


def _zip(file, entries):
    """Rename the zip only when it is complete: sensors watch the folder."""
    part = file.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as archive:
        for path, data in entries.items():
            archive.writestr(path, data)
    return part.rename(file)


def in_zip(data):
    """Path -> content of a zip's files."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}


def in_folder(folder):
    """Path -> content of a folder's files."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def audit_tool(folder: Path):
    """Build the Debian package; its path."""
    tree = folder / "audit-test"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / LAUNCHER).parent.mkdir(parents=True)
    (tree / LAUNCHER).write_text(AUDIT_TOOL)
    (tree / LAUNCHER).chmod(0o755)
    result = run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(folder / "audit-test_1.0_all.deb"))
    assert result.returncode == 0, result.stderr
    shutil.rmtree(tree)
    return folder / "audit-test_1.0_all.deb"
