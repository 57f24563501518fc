"""Variables that only this process may see; programs that it starts must not inherit them."""

from __future__ import annotations

import os
import re

_OURS_ALONE = re.compile(
    r"SECRET_\w+|BACKUP_PASSPHRASE|(AO_WORKFLOWS|ARCHIVE_OPS|AUDIT_TOOL)_URL|AIRFLOW_CONSTRAINTS|(PIP|UV)_\w*INDEX\w*"
)
"""Secrets, and settings and indexes that may hold a password. A program that needs one gets it explicitly."""
_scrubbed: dict[str, str] = {}


def scrub() -> None:
    """Remove them from the environment. Call it before any program is started. It is idempotent."""
    for name in [name for name in os.environ if _OURS_ALONE.fullmatch(name)]:
        _scrubbed[name] = os.environ.pop(name)


def original() -> dict[str, str]:
    """The complete environment at the start of this process, for reading. A value that was set since wins."""
    return {**_scrubbed, **os.environ}
