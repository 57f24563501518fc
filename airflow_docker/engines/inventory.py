"""What a Python has installed, reported by that Python itself, which runs this file: ``python -c … [LOCK]``.

It has nothing but its standard library, from 3.8 on, so nothing of ours is imported here. LOCK is a
file of what was installed by us, which is reported unchanged.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).read_text() if "__file__" in globals() else ""
"""This file, for ``python -c``, which has none."""


def inventory(lock: str) -> dict[str, Any]:
    """Version, distributions (of two with one name the one that is imported), marker variables (PEP 508), lock."""
    distributions: dict[str, dict[str, Any]] = {}
    for distribution in importlib.metadata.distributions():
        metadata = distribution.metadata
        name = metadata["Name"]
        if name and distribution.version:  # what an interrupted removal leaves behind has neither
            distributions.setdefault(
                name,
                {
                    "name": name,
                    "version": distribution.version,
                    "requires": distribution.requires or [],
                    "license": metadata["License-Expression"] or metadata["License"] or "",
                    "classifiers": [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")],
                },
            )
    return {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "distributions": sorted(distributions.values(), key=lambda one: str(one["name"])),
        "markers": markers(),
        "lock": Path(lock).read_text() if lock and Path(lock).is_file() else "",
    }


def markers() -> dict[str, str]:
    """The variables that conditions of requirements ask for: https://peps.python.org/pep-0508/#environment-markers."""
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


if __name__ == "__main__":
    print(json.dumps(inventory("".join(sys.argv[1:]))))
