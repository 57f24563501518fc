"""Services of the real job: a MariaDB server and an S3 emulator, as processes of the test."""

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack.conftest import run, until

from airflow_docker.requirements import indexes, resolver

HERE = Path(__file__).parent
PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "rsync", "dpkg-deb")
WEB, DEEP = "web.example", "deep.example"
"""The buckets."""
TABLE = """
CREATE OR REPLACE TABLE drs.work_progress (
    id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255),
    unpacked_on TIMESTAMP NULL, synced_on TIMESTAMP NULL, deep_archived_on TIMESTAMP NULL
)"""


def require_programs():
    """Skip the test if a program is missing; fail in CI."""
    if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
        reason = f"the real job needs {', '.join(absent)}; see .ci/job"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def free_port(address):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(folder, command, answers):
    """Start a program, wait until it answers, and stop it at the end of the block."""
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as started:
        try:
            until(lambda: started.poll() is not None or answers())
            assert started.poll() is None, (folder / "log").read_text()[-2000:]
            yield
        finally:
            started.terminate()


@dataclass(frozen=True)
class MariaDB:
    """A server with an account for the job, which can only read and write one table."""

    folder: Path
    address: str
    port: int
    password: str

    @property
    def option_file(self):
        """The keys of a section of drs_cnf."""
        return {
            "host": self.address, "port": self.port, "user": "job", "password": self.password, "database": "drs",
        }  # fmt: skip

    def ask(self, text):
        """Run a query as the administrator, who is the user of the tests."""
        client = ["mariadb", "--no-defaults", f"--socket={self.folder}/sock", "--batch", "--skip-column-names"]
        return run(*client, "--execute", text)

    def sql(self, text):
        """The result of a query, a list for each row."""
        result = self.ask(text)
        assert result.returncode == 0, result.stderr
        return [line.split("\t") for line in result.stdout.splitlines()]

    def is_up(self):
        return self.ask("SELECT 1").returncode == 0


@contextlib.contextmanager
def mariadb(address):
    """An empty MariaDB."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))  # the path of a socket is limited to about 100 characters
    server = MariaDB(folder, address, free_port(address), secrets.token_urlsafe())
    options = ["--no-defaults", f"--datadir={folder}/data", f"--user={getpass.getuser()}"]
    try:
        only_by_socket = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={getpass.getuser()}"]
        result = run("mariadb-install-db", *options, *only_by_socket, "--skip-test-db")
        assert result.returncode == 0, result.stdout + result.stderr
        network = [
            f"--socket={folder}/sock",
            f"--bind-address={address}",
            f"--port={server.port}",
            "--skip-name-resolve",
        ]
        with process(folder, ["mariadbd", *options, *network], server.is_up):
            server.sql(f"CREATE DATABASE drs; {TABLE}; CREATE USER job@'%' IDENTIFIED BY '{server.password}'")
            server.sql("GRANT SELECT, INSERT, UPDATE ON drs.work_progress TO job@'%'")
            yield server
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class S3:
    """The emulator, with an access key for each section of ``aws``."""

    endpoint: str
    keys: dict[str, str]

    def ask(self, method, path, body=None):
        """The body of the response."""
        scope = f"{self.keys['default']}/20260101/us-east-1/s3/aws4_request"
        signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        headers = {"Authorization": signed, "Content-Type": "application/xml"}
        request = urllib.request.Request(f"{self.endpoint}/{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def is_up(self):
        try:
            return self.ask("GET", "")
        except OSError:
            return False

    def objects(self, bucket):
        """The keys in a bucket, sorted."""
        listed = ElementTree.fromstring(self.ask("GET", f"{bucket}?list-type=2"))
        return sorted(key.text for key in listed.findall(".//{*}Key"))

    def thaw(self, path):
        """Restore an object of the deep archive; it cannot be read before."""
        self.ask("POST", f"{path}?restore", b"<RestoreRequest><Days>1</Days></RestoreRequest>")

    def empty(self):
        """Reset to two empty buckets."""
        self.ask("POST", "moto-api/reset")
        for bucket in (WEB, DEEP):
            self.ask("PUT", bucket)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """A Python with the emulator, in its own environment, as it needs newer packages than the job."""
    folder = tmp_path_factory.mktemp("s3-emulator")
    python = str(folder / "venv" / "bin" / "python")
    install = ["pip", "install", "--quiet", "--require-hashes", "--python", python]
    for args in (
        ["venv", "--quiet", "--no-project", "--python", sys.executable, str(folder / "venv")],
        [*install, "--requirement", str(HERE / "s3-emulator.txt")],
    ):
        result = run(resolver.uv(), *args, env=os.environ | indexes.variables())
        assert result.returncode == 0, result.stderr
    return python


@contextlib.contextmanager
def s3(address, emulator):
    """An empty S3."""
    keys = {section: f"KEY{secrets.token_hex(8)}" for section in ("default", "ap_northeast")}
    port = free_port(address)
    server = S3(f"http://{address}:{port}", keys)
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        command = [emulator, str(HERE / "s3_emulator.py"), address, str(port), *keys.values()]
        with process(Path(folder), command, server.is_up):
            server.empty()
            yield server
