"""Compiles modules into the image, during the build, as its containers cannot keep what they compile:

    compile_modules.py services          what Airflow's services import (as root; see service_imports.py)
    compile_modules.py installed LOCK    the packages of a lock, and all that these need

Compiled files hold a hash of their source that nobody checks when they are loaded (PEP 552), as times differ from one
machine to another. So one whose source was replaced is compiled again; of a package that goes uv and pip remove the
compiled files too. The environment has PYTHONHASHSEED, so that the same modules are compiled to the same bytes, and
PYTHONDONTWRITEBYTECODE.
"""

import hashlib
import importlib.util
import marshal
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

EPOCH = int(os.environ["LAYER_EPOCH"])
SERVICE_IMPORTS = Path(__file__).with_name("service_imports.py")
CACHE = Path("/tmp/package-cache/compiled")
HASHED = 0b01
"""The flag of compiled files that hold a hash and no time."""
TESTS = {"test", "tests"}


def services() -> list[Path]:
    """What the services import, found out by the user that they run as."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        result = subprocess.run(
            [sys.executable, str(SERVICE_IMPORTS), folder], stdout=subprocess.PIPE, text=True, check=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"}, cwd=folder, user="airflow", group=0, extra_groups=[],
        )  # fmt: skip
    return [Path(line) for line in result.stdout.splitlines()]


def installed(lock: Path) -> list[Path]:
    """All modules of the packages in a lock and of what these need, but for Airflow's own and for tests."""
    named = {normal(name) for name in re.findall(r"^[\w.-]+", lock.read_text(), re.M)}
    records = [record for path in sys.path for record in Path(path).glob("*.dist-info/RECORD")]
    known = {normal(record.parent.name.partition("-")[0]): record for record in records}
    todo, chosen = set(named), dict[str, Path]()
    while todo:
        name = todo.pop()
        if name in chosen or name not in known or (name.startswith("apache-airflow") and name not in named):
            continue
        chosen[name] = known[name]
        needs = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==)", text_of(known[name].with_name("METADATA")), re.M)
        todo |= set(map(normal, needs))
    return [file for record in chosen.values() for file in modules(record)]


def modules(record: Path) -> list[Path]:
    """Those that a package's RECORD lists; importlib.metadata takes a second for as many files."""
    names = re.findall(r"^(.+\.py),", text_of(record), re.M)
    return [record.parents[1] / name for name in names if TESTS.isdisjoint(name.split("/"))]


def text_of(file: Path) -> str:
    """UTF-8, whatever the build's locale is."""
    return file.read_text(encoding="utf-8", errors="replace")


def normal(name: str) -> str:
    """A project name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_current(compiled: Path, source: Path) -> bool:
    """True if a compiled file is of this source."""
    try:
        with compiled.open("rb") as opened:
            header = opened.read(16)
    except OSError:
        return False
    if header[:4] != importlib.util.MAGIC_NUMBER:
        return False
    if header[4] & HASHED:
        return header[8:] == importlib.util.source_hash(source.read_bytes())
    now = [int(source.stat().st_mtime), source.stat().st_size]  # Python itself checks these
    return header[8:] == b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in now)


def compiled(source: Path, content: bytes) -> bytes:
    """The compiled file of a module, kept for the next build where there is a cache.

    Raises SyntaxError or ValueError for a template, or what is for another Python.
    """
    cached = CACHE / hashlib.sha256(f"{sys.version}\0{source}\0".encode() + content).hexdigest()
    try:
        return cached.read_bytes()
    except OSError:
        code = marshal.dumps(compile(content, str(source), "exec", dont_inherit=True))
    pyc = importlib.util.MAGIC_NUMBER + HASHED.to_bytes(4, "little") + importlib.util.source_hash(content) + code
    if CACHE.is_dir():
        with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as output:
            output.write(pyc)
        Path(output.name).rename(cached)
    return pyc


def compile_module(source: Path) -> int:
    """Compile a module unless it is; the bytes that this added. Owner, mode and folder are those of the source."""
    target = Path(importlib.util.cache_from_source(str(source)))
    folder = source.parent
    if not os.access(folder, os.W_OK) or not source.is_file() or is_current(target, source):
        return 0
    source_stat, folder_stat = source.stat(), folder.stat()
    try:
        content = compiled(source, source.read_bytes())
    except (SyntaxError, ValueError):
        target.unlink(missing_ok=True)
        return 0
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    for path, owner, mode in (
        (target, source_stat, source_stat.st_mode),
        (target.parent, folder_stat, folder_stat.st_mode),
    ):
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(mode & 0o777)
        os.utime(path, (EPOCH, EPOCH))
    os.utime(folder, ns=(folder_stat.st_atime_ns, folder_stat.st_mtime_ns))
    return len(content)


def main(what: str, *lock: str) -> None:
    """Compile, and say how much that was."""
    warnings.simplefilter("ignore")
    files = services() if what == "services" else installed(Path(*lock))
    sizes = [size for file in sorted(set(files)) if (size := compile_module(file))]
    print(f"compiled {len(sizes)} modules, {sum(sizes) / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
