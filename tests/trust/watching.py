"""What processes show of themselves while they live: their arguments and their environment, looked at all the time."""

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
"""A process may become another program soon after its start; what is older is looked at less often."""


@dataclass(frozen=True)
class Sighting:
    """A marker that a process showed; ``where`` is "arguments" or the name of a variable.

    ``beside`` are the names of all its variables.
    """

    command: tuple[str, ...]
    where: str
    marker: str
    beside: frozenset[str] = frozenset()

    @property
    def programs(self) -> list[str]:
        """The program, and if it runs a script that script: `env bash /root/bin/pip` is the image's pip."""
        return [Path(word).name for word in self.command[:3]]

    @property
    def program(self) -> str:
        return Path(self.command[0]).name if self.command else ""


class Watch:
    """A thread that reads /proc every hundredth of a second. It sees containers too where they run on this kernel.

    All is kept as it was seen, and searched at the end for what is then known to be secret.
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
        known: dict[str, tuple[float, float]] = {}  # process -> when first and when last looked at
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
        """What is gone meanwhile is gone; what is somebody else's shows its arguments alone."""
        with contextlib.suppress(OSError):
            arguments = Path("/proc", name, "cmdline").read_bytes()
            if not arguments:  # one that is just becoming another program: it is looked at again at once
                return
            environment = b""
            with contextlib.suppress(OSError):
                environment = Path("/proc", name, "environ").read_bytes()
            self.seen.add((arguments, environment))

    def sightings(self, markers: Markers) -> set[Sighting]:
        """The markers that were seen."""
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
        """True if a process was seen whose arguments hold all these words."""
        return any(all(part in " ".join(_split(arguments)) for part in parts) for arguments, _ in self.seen)


def _split(arguments: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(word) for word in arguments.rstrip(b"\0").split(b"\0"))
