"""The audit tool's Debian package: a local file, or a verified download from a cache that all builds share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from airflow_docker import console
from airflow_docker.errors import USAGE, UserError
from airflow_docker.requirements import certificates
from airflow_docker.settings import Settings
from airflow_docker.settings.types import redact


def cache_folder() -> Path:
    """Where downloads are kept: XDG_CACHE_HOME, or ~/.cache (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-docker"


def package(settings: Settings) -> Path | None:
    """The .deb file to install, or None if there is to be none.

    A download is used only if its SHA-256 is right; only then it gets its name in the cache.
    Raises UserError for inconsistent settings, a failed download or a wrong checksum.
    """
    require_consistent(settings)
    return _download(settings) if settings.audit_tool_url else settings.audit_tool_deb


def require_consistent(settings: Settings) -> None:
    """Raise UserError for inconsistent settings."""
    url, sha256, local = settings.audit_tool_url, settings.audit_tool_sha256, settings.audit_tool_deb
    if url and local:
        raise UserError("AUDIT_TOOL_DEB", "AUDIT_TOOL_URL is set too.", "Keep one of the two.", USAGE)
    if bool(url) != bool(sha256):
        missing = "AUDIT_TOOL_SHA256" if url else "AUDIT_TOOL_URL"
        raise UserError(missing, "is not set; address and checksum go together.", "Set both or neither.", USAGE)


def _download(settings: Settings) -> Path:
    import pooch

    url, sha256 = settings.audit_tool_url, settings.audit_tool_sha256
    shown = redact(url).partition("?")[0]
    name = f"{sha256[:12]}-{url.rpartition('/')[2].partition('?')[0] or 'audit-tool.deb'}"
    if not (cache_folder() / name).exists():
        console.say(f"· Downloading {shown} …")
    pooch.get_logger().setLevel("ERROR")
    progress = _Progress() if console.is_terminal() else False
    try:
        with _trusted(settings) as verify:
            downloader = pooch.HTTPDownloader(progressbar=progress, timeout=30, verify=verify)
            package = pooch.retrieve(url, f"sha256:{sha256}", fname=name, path=cache_folder(), downloader=downloader)
    except OSError as problem:  # requests' errors are OSErrors; some are ValueErrors too
        message, query = redact(str(problem)), urlsplit(url).query
        reason = (message.replace(query, "***") if query else message).splitlines()[0][:200]
        raise UserError(
            "AUDIT_TOOL_URL", f"cannot be downloaded ({reason}).", "Check it, or set AUDIT_TOOL_DEB."
        ) from None
    except ValueError:
        what = f"the download from {shown} does not have this checksum; it is not used."
        raise UserError("AUDIT_TOOL_SHA256", what, "Correct the one that is wrong.") from None
    return Path(package)


@contextmanager
def _trusted(settings: Settings) -> Iterator[str | bool]:
    """The file with the certificates that a download trusts; True for the default ones."""
    if settings.extra_ca_bundle is None:
        yield True
        return
    with tempfile.TemporaryDirectory() as folder:
        certificates.write(Path(folder, "bundle.pem"), settings.extra_ca_bundle)
        yield str(Path(folder, "bundle.pem"))


class _Progress:
    """The progress bar that pooch expects, drawn by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        self.total = 0
        columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bars.add_task("download", total=None)
        self._bars.start()

    def update(self, size: int) -> None:
        """``size`` more bytes have arrived."""
        self._bars.update(self._task, total=self.total or None, advance=size)

    def reset(self) -> None:
        """pooch calls this at the end, to draw the complete bar."""
        self._bars.reset(self._task)

    def close(self) -> None:
        """The download has ended."""
        self._bars.stop()
