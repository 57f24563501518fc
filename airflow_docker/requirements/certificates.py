"""The certificates that downloads trust: those of this machine, and EXTRA_CA_BUNDLE besides."""

from __future__ import annotations

import ssl
from pathlib import Path

from airflow_docker import files

# Where Debian, Fedora, and macOS or Alpine have them: a Python from elsewhere knows a folder alone, or neither.
# https://go.dev/src/crypto/x509/root_linux.go lists them too.
_PLACES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def write(bundle: Path, extra: Path) -> None:
    """Put those of this machine and those of the file ``extra`` into the file ``bundle``."""
    files.write(bundle, usual().read_bytes() + b"\n" + extra.read_bytes())


def usual() -> Path:
    """The file with those that this machine trusts."""
    import certifi

    named = ssl.get_default_verify_paths().cafile
    return next(Path(file) for file in (named, *_PLACES, certifi.where()) if file and Path(file).is_file())
