"""Ctrl-C and TERM: whatever a verb does ends within two seconds, with one line and no program left behind.

The handler raises :class:`Interrupted` in the main thread, so that locks and temporary files go as after any
error. A thread ends the programs that any thread waits for, and this one too when its time is up, whatever
hangs: the main thread may be inside a call that no signal ends. What was not done by then is as after a kill,
which the next run repairs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SECONDS = 1.2
"""How long an orderly end may take; the rest of the two seconds is for a machine that is busy."""
_GRACE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_POLL_SECONDS = 0.01
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
"""The signal that has come, if one has."""
_advice = ["Type it again to go on."]
"""What to do after an interruption; the last one holds."""


class Interrupted(BaseException):
    """The user wants no more of it. No Exception, so that nothing takes it for a failure."""


def check() -> None:
    """Raise Interrupted if a signal has come: what it has ended has not failed, and nothing new is started."""
    if _received:
        raise Interrupted


@contextmanager
def handle_signals(verb: Callable[[], str]) -> Iterator[None]:
    """Inside, the signals end this process, with 128 and their number as its exit code; ``verb`` says of what.

    One that was ignored before, as by ``nohup`` or in the background of a script, stays ignored.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)  # whatever the main thread does, the number of the signal arrives there
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_interrupted)
    shutdown = _Shutdown(verb)
    threading.Thread(target=shutdown.watch, args=(reading,), daemon=True).start()
    try:
        yield
    finally:
        if _received:
            shutdown.exit_process(_received[0])


@contextmanager
def advice(text: str) -> Iterator[None]:
    """Inside, this is what an interruption leaves to do; it holds until an interrupted program has ended."""
    _advice.append(text)
    yield
    _advice.pop()


@contextmanager
def leave_ctrl_c_to_program() -> Iterator[None]:
    """Inside, a terminal's Ctrl-C, which a program in its foreground gets too, is that program's affair alone."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end(pid: int) -> None:
    """End a child of ours with all that it has started: TERM, and soon after KILL."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        processes = [*child.children(recursive=True), child]
        _signal(processes, signal.SIGTERM)
        remaining = _still_running(processes, time.monotonic() + _GRACE_SECONDS)
        _signal(remaining, signal.SIGKILL)
        _still_running(
            remaining, time.monotonic() + _GRACE_SECONDS
        )  # the kernel takes its time where there is much to do


def _raise_interrupted(number: int, frame: FrameType | None) -> None:
    for signal_number in _SIGNALS:
        signal.signal(signal_number, _ignore)  # once is enough; not SIG_IGN, which programs would inherit
    _received.append(number)
    raise Interrupted


def _ignore(number: int, frame: FrameType | None) -> None:
    """The end is on its way."""


class _Shutdown:
    """The end of this process and of the programs that it has started."""

    def __init__(self, verb: Callable[[], str]) -> None:
        self.verb = verb
        self.deadline = 0.0
        self.signalled: set[psutil.Process] = set()
        self.exiting = threading.Lock()

    def watch(self, reading: int) -> None:
        """Wait for a signal; end what runs, and what is started meanwhile; end all when time is up."""
        number = os.read(reading, 1)[0]
        self.deadline = time.monotonic() + SECONDS
        while time.monotonic() < self.deadline:
            self._signal_new_children()
            time.sleep(_LOOK_SECONDS)
        self.exit_process(number)

    def exit_process(self, number: int) -> None:
        """End this process; programs have the rest of their time. Whichever thread is first does it."""
        with self.exiting:  # for good
            self._signal_new_children()
            _signal(_still_running(self.signalled, self.deadline or time.monotonic() + SECONDS), signal.SIGKILL)
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            with suppress(OSError):
                os.write(2, f"{self.verb()}: interrupted. {_advice[-1]}\n".encode())
            os._exit(128 + number)

    def _signal_new_children(self) -> None:
        new = set(_children()) - self.signalled
        self.signalled |= new
        _signal(new, signal.SIGTERM)


def _children() -> Iterable[psutil.Process]:
    """All that was started from here; not what got a session of its own, to go on without us."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(OSError):
            if os.getsid(child.pid) == os.getsid(0):
                yield child


def _still_running(processes: Iterable[psutil.Process], until: float) -> list[psutil.Process]:
    """Those that still run at that time, by the monotonic clock; at once when none does.

    One that has ended may stay in the list of processes for as long as its parent, or init, does not ask for it.
    """
    remaining = list(processes)
    while remaining := [one for one in remaining if _is_running(one)]:
        if time.monotonic() >= until:
            break
        time.sleep(_POLL_SECONDS)
    return remaining


def _is_running(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
