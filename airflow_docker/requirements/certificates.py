"""The certificates that downloads trust: those of this machine and EXTRA_CA_BUNDLE."""

from __future__ import annotations

import ssl
from pathlib import Path

from airflow_docker import files

# The files of Debian, Fedora, and macOS or Alpine. A Python from elsewhere may know only a folder, or neither.
# Source: https://go.dev/src/crypto/x509/root_linux.go
_PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def write(bundle: Path, extra: Path) -> None:
    """Write the certificates of this machine and of the file ``extra`` to the file ``bundle``."""
    files.write(bundle, usual().read_bytes() + b"\n" + extra.read_bytes())


def usual() -> Path:
    """The file with the certificates that this machine trusts."""
    import certifi

    named = ssl.get_default_verify_paths().cafile
    return next(Path(file) for file in (named, *_PLACES, certifi.where()) if file and Path(file).is_file())
