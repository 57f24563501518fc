"""What of this process's environment is for itself alone, and must not be inherited by the programs that it starts."""

from __future__ import annotations

import os
import re

_OURS_ALONE = re.compile(
    r"SECRET_\w+|BACKUP_PASSPHRASE|(AO_WORKFLOWS|ARCHIVE_OPS|AUDIT_TOOL)_URL|AIRFLOW_CONSTRAINTS|(PIP|UV)_\w*INDEX\w*"
)
"""Settings and indexes that are secret or may hold a password; who needs one is handed it."""
_scrubbed: dict[str, str] = {}


def scrub() -> None:
    """Take them out of the environment. To be called before anything is started; again does no harm."""
    for name in [name for name in os.environ if _OURS_ALONE.fullmatch(name)]:
        _scrubbed[name] = os.environ.pop(name)


def original() -> dict[str, str]:
    """The whole environment that this process was given, for reading; what has been set since wins."""
    return {**_scrubbed, **os.environ}
