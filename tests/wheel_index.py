"""A package index on loopback with a few tiny wheels: what the resolver does with it is real, and takes no second."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile

import pytest

PACKAGES = {
    "apache-airflow 2.10.5": ["six", "sqlalchemy<2"],
    "apache-airflow 2.11.2": ["six", "smmap", "sniffio", "sqlalchemy<2"],
    "boto3 1.20.54": ["botocore<1.24,>=1.23"],
    "boto3 1.21.1": ["botocore<1.25,>=1.24"],
    "boto3 1.26.1": ["botocore<1.30,>=1.29"],
    "botocore 1.24.46": [],
    "botocore 1.29.1": [],
    "botocore 1.30": [],
    "certifi 2026.1": [],
    "humanize 4.9.0": [],
    "humanize 4.15.0": [],
    "idna 3.11": [],
    "pyfiglet 1.0.2": [],
    "pyfiglet 1.0.4": [],
    "pysocks 1.7.1": [],
    "requests 2.31.0": ["certifi", "idna", "pysocks; extra == 'socks'"],
    "requests 2.32.0": ["certifi", "idna", "pysocks; extra == 'socks'"],
    "six 1.16.0": [],
    "six 1.17.0": [],
    "smmap 5.0.2": [],
    "sniffio 1.3.1": [],
    "sqlalchemy 1.4.54": [],
    "sqlalchemy 2.0.50": [],
    "tablib 3.9.0": [],
    "tabulate 0.9.0": [],
    "typing-extensions 4.15.0": [],
    "xxhash 3.6.0": [],
}
"""Name and version -> what it requires."""
EXTRAS = {"requests": "socks"}
BUILT_TWICE = "six 1.17.0"
"""It has two files, and so two hashes."""


def wheel(name: str, version: str, requires: list[str], build: str = "") -> bytes:
    """A wheel with no module in it; the same bytes each time."""
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Provides-Extra: {EXTRAS[name]}"] if name in EXTRAS else []
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    tags = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n{build and f'Build: {build}'}"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file, text in (("METADATA", "\n".join(metadata) + "\n"), ("WHEEL", tags), ("RECORD", "")):
            archive.writestr(zipfile.ZipInfo(f"{folder}/{file}"), text)
    return content.getvalue()


def files_of(package: str) -> dict[str, bytes]:
    """File name -> content of the wheels of a key of PACKAGES."""
    name, version = package.split()
    builds = ["", "1"] if package == BUILT_TWICE else [""]
    return {
        f"{name.replace('-', '_')}-{version}{build and f'-{build}'}-py3-none-any.whl": wheel(
            name, version, PACKAGES[package], build
        )
        for build in builds
    }


WHEELS = {package: files_of(package) for package in PACKAGES}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hash_of(package: str) -> str:
    """``sha256:…`` of the first file of a package, as a requirement names it."""
    return f"sha256:{digest(next(iter(WHEELS[package].values())))}"


class Index(http.server.BaseHTTPRequestHandler):
    """PEP 503: /simple/NAME/ lists the files of a package, /files/FILE is one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "files":
            content = next(files[name] for files in WHEELS.values() if name in files)
            return self.answer(content, "application/octet-stream")
        links = [
            f'<a href="/files/{file}#sha256={digest(content)}">{file}</a>'
            for package, files in WHEELS.items()
            if package.split()[0] == name
            for file, content in files.items()
        ]
        return self.answer("\n".join(links).encode(), "text/html", 200 if links else 404)

    def answer(self, content, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def index_address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


@pytest.fixture
def wheel_index(index_address, monkeypatch):
    """All packages come from there, and whatever else this machine has for an index is left out."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INSECURE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("airflow_docker.requirements.indexes._configuration_files", lambda: [])
    monkeypatch.setenv("PIP_INDEX_URL", index_address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
