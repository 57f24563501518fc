"""Record the arguments and the environment of all processes while they run."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trust.searching import Markers

POLL_SECONDS = 0.01
_YOUNG_SECONDS, _AGAIN_SECONDS = 0.3, 0.5
"""A process may execute another program soon after its start; older ones are read less often."""


@dataclass(frozen=True)
class Sighting:
    """A marker in a process; ``where`` is "arguments" or the name of a variable.

    ``beside`` are the names of all its variables.
    """

    command: tuple[str, ...]
    where: str
    marker: str
    beside: frozenset[str] = frozenset()

    @property
    def programs(self) -> list[str]:
        """Names of the program and of a script that it runs: `env bash /root/bin/pip` is the image's pip."""
        return [Path(word).name for word in self.command[:3]]

    @property
    def program(self) -> str:
        return Path(self.command[0]).name if self.command else ""


class Watch:
    """A thread that reads /proc every 10 ms. It also sees processes in containers on this kernel.

    It keeps all data; the search at the end knows all secrets.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.seen: set[tuple[bytes, bytes]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        known: dict[str, tuple[float, float]] = {}  # process -> time of its first and last reading
        while not self._stop.is_set():
            now = time.monotonic()
            there = [name for name in os.listdir("/proc") if name.isdecimal()]
            known = {name: known[name] for name in there if name in known}
            for name in there:
                first, last = known.get(name, (now, 0.0))
                if now - first < _YOUNG_SECONDS or now - last > _AGAIN_SECONDS:
                    known[name] = (first, now)
                    self._look(name)
            self.looks += 1
            self._stop.wait(max(0.0, POLL_SECONDS - (time.monotonic() - now)))

    def _look(self, name: str) -> None:
        """Processes that have ended are skipped; those of other users show only their arguments."""
        with contextlib.suppress(OSError):
            arguments = Path("/proc", name, "cmdline").read_bytes()
            if not arguments:  # it is just executing another program: read it again at once
                return
            environment = b""
            with contextlib.suppress(OSError):
                environment = Path("/proc", name, "environ").read_bytes()
            self.seen.add((arguments, environment))

    def sightings(self, markers: Markers) -> set[Sighting]:
        """The markers in all recorded processes."""
        sightings = set()
        for arguments, environment in self.seen:
            command = _split(arguments)
            sightings |= {Sighting(command, "arguments", marker) for marker in markers.within(arguments)}
            if markers.within(environment):
                variables = environment.split(b"\0")
                names = frozenset(os.fsdecode(variable.partition(b"=")[0]) for variable in variables)
                for variable in variables:
                    where = os.fsdecode(variable.partition(b"=")[0])
                    sightings |= {Sighting(command, where, marker, names) for marker in markers.within(variable)}
        return sightings

    def saw(self, *parts: str) -> bool:
        """True if the arguments of a recorded process hold all these parts."""
        return any(all(part in " ".join(_split(arguments)) for part in parts) for arguments, _ in self.seen)


def _split(arguments: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(word) for word in arguments.rstrip(b"\0").split(b"\0"))
