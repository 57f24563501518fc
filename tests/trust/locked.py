"""A server with password: git repositories and a package index, like those of companies."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import threading
import zipfile
from pathlib import Path
from urllib.parse import unquote

from conftest import git

PACKAGE, MODULE = "locked-away", "locked_away"


class Locked:
    """Serves the folder ``root`` on ``host`` with one of ``passwords``; records used passwords and rejections."""

    def __init__(self, root: Path, host: str, passwords: list[str]) -> None:
        allowed = {"Basic " + base64.b64encode(f"me:{p}".encode()).decode(): p for p in passwords}
        self.let_in: set[str] = set()
        self.turned_away = 0
        locked = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(root))

            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization", "")
                if authorization in allowed:
                    locked.let_in.add(allowed[authorization])
                    super().do_GET()
                    return
                locked.turned_away += bool(authorization)
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="locked"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.address = f"{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, quoted_password: str, path: str) -> str:
        """A URL with a password."""
        return f"http://me:{quoted_password}@{self.address}/{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def serve_repository(checkout: Path, target: Path) -> None:
    """Make a bare clone at ``target`` that any web server can serve."""
    git(checkout, "clone", "--quiet", "--bare", str(checkout), str(target))
    git(target, "update-server-info")


def make_index(folder: Path) -> None:
    """Make an index of one package that no other index has."""
    wheel = io.BytesIO()
    info = f"{MODULE}-1.0.dist-info"
    members = {
        f"{MODULE}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as zipped:
        for name, content in (members | {f"{info}/RECORD": record}).items():
            zipped.writestr(name, content)
    name = f"{MODULE}-1.0-py3-none-any.whl"
    page = folder / PACKAGE
    page.mkdir(parents=True)
    (page / name).write_bytes(wheel.getvalue())
    digest = hashlib.sha256(wheel.getvalue()).hexdigest()
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{name}#sha256={digest}">{unquote(name)}</a>')
