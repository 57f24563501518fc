"""The port of the web UI, checked before anything is started that needs it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from airflow_docker.errors import UserError


def require_allowed(port: int) -> None:
    """Raise UserError if no program of this user may listen on the port."""
    with socket.socket() as probe, suppress(OSError):
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise UserError("AIRFLOW_PORT", f"port {port} is reserved for root.", "Set one above 1023.") from None


def require_free(port: int, port_owner: Callable[[int], str]) -> None:
    """Raise UserError, which names the setting to change, if the port is taken; ``port_owner`` may know by what."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return  # Docker may still bind it; standalone, which binds it itself, calls require_allowed
        except OSError:
            what = f"port {port} of 127.0.0.1 is taken by {port_owner(port) or 'another program'}."
            todo = "Set AIRFLOW_PORT in .env to a free port, or stop the other."
            raise UserError("AIRFLOW_PORT", what, todo) from None
