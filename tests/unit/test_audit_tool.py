"""The audit tool's package: verified, cached, never half."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from airflow_docker.building import audit_tool
from airflow_docker.errors import USAGE, UserError

CONTENT = b"a Debian package, one would think" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server on loopback: its address, and the paths it was asked for."""
    requested = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            if self.path.startswith("/none"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100] if self.path.startswith("/broken") else CONTENT)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requested
        server.shutdown()


def cached(tmp_path):
    folder = tmp_path / "cache" / "airflow-docker"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_downloaded_once_and_kept(make_settings, served, tmp_path):
    address, requested = served
    settings = make_settings(f"AUDIT_TOOL_URL={address}/tool.deb\nAUDIT_TOOL_SHA256={SHA256}\n")
    for _ in range(2):
        assert audit_tool.package(settings).read_bytes() == CONTENT
    assert requested == ["/tool.deb"]
    assert cached(tmp_path) == [f"{SHA256[:12]}-tool.deb"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/tool.deb", "0" * 64, "AUDIT_TOOL_SHA256: the download from .* does not have this checksum; it is not used."),
        ("/none.deb", SHA256, "AUDIT_TOOL_URL: cannot be downloaded .404"),
        ("/broken.deb", SHA256, "AUDIT_TOOL_(URL|SHA256): "),
    ],
)
def test_nothing_wrong_or_half_is_ever_kept(make_settings, served, tmp_path, capsys, path, sha256, message):
    address, _ = served
    address = address.replace("http://", "http://me:hunter2@")
    with pytest.raises(UserError, match=message) as caught:
        audit_tool.package(make_settings(f"AUDIT_TOOL_URL={address}{path}\nAUDIT_TOOL_SHA256={sha256}\n"))
    assert "hunter2" not in caught.value.text + capsys.readouterr().err
    assert cached(tmp_path) == []


def test_a_cached_file_that_was_damaged_is_fetched_again(make_settings, served, tmp_path):
    address, requested = served
    settings = make_settings(f"AUDIT_TOOL_URL={address}/tool.deb\nAUDIT_TOOL_SHA256={SHA256}\n")
    audit_tool.package(settings).write_bytes(CONTENT[:10])
    assert audit_tool.package(settings).read_bytes() == CONTENT
    assert len(requested) == 2


def test_the_signature_of_an_address_is_never_shown(make_settings, served):
    for address in (served[0], "http://127.0.0.1:1"):
        settings = make_settings(f"AUDIT_TOOL_URL={address}/none.deb?sig=hunter2\nAUDIT_TOOL_SHA256={SHA256}\n")
        with pytest.raises(UserError, match="AUDIT_TOOL_URL: cannot be downloaded") as caught:
            audit_tool.package(settings)
        assert "hunter2" not in caught.value.text + settings.shown("AUDIT_TOOL_URL")


def test_the_certificates_of_a_company_count_here_too(make_settings, served, tmp_path):
    (tmp_path / "own.pem").write_text("own certificate")
    with audit_tool._trusted(make_settings("EXTRA_CA_BUNDLE=own.pem\n")) as file:
        trusted = Path(file).read_text()
    assert trusted.endswith("own certificate") and "BEGIN CERTIFICATE" in trusted
    with audit_tool._trusted(make_settings()) as usual:
        assert usual is True


def test_a_server_that_is_not_there(make_settings, served):
    settings = make_settings(f"AUDIT_TOOL_URL=http://127.0.0.1:1/tool.deb\nAUDIT_TOOL_SHA256={SHA256}\n")
    with pytest.raises(UserError, match="AUDIT_TOOL_URL: cannot be downloaded"):
        audit_tool.package(settings)


def test_settings_that_do_not_go_together(make_settings, tmp_path):
    (tmp_path / "a.deb").write_bytes(CONTENT)
    assert audit_tool.package(make_settings("")) is None
    assert audit_tool.package(make_settings("AUDIT_TOOL_DEB=a.deb\n")) == tmp_path / "a.deb"
    for text, where in [
        ("AUDIT_TOOL_URL=http://h/x\n", "AUDIT_TOOL_SHA256: is not set"),
        (f"AUDIT_TOOL_SHA256={SHA256}\n", "AUDIT_TOOL_URL: is not set"),
        (
            f"AUDIT_TOOL_URL=http://h/x\nAUDIT_TOOL_SHA256={SHA256}\nAUDIT_TOOL_DEB=a.deb\n",
            "AUDIT_TOOL_DEB: AUDIT_TOOL_URL",
        ),
    ]:
        with pytest.raises(UserError, match=where) as caught:
            audit_tool.package(make_settings(text))
        assert caught.value.code == USAGE
