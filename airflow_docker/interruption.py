"""SIGINT (Ctrl-C) and SIGTERM: every verb ends within two seconds, prints one line and leaves no program behind.

The handler raises :class:`Interrupted` in the main thread, so locks and temporary files are removed as after any
error. A second thread ends the child programs. When the time is up it ends this process too, because the main
thread may be inside a call that no signal interrupts. The next run then repairs what is left, as after a kill.
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
"""How long an orderly end may take. The rest of the two seconds is a reserve for a busy machine."""
_GRACE_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_POLL_SECONDS = 0.01
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
"""The signal that has been received, if any."""
_advice = ["Run it again to continue."]
"""What to do after an interruption. The last entry is printed."""


class Interrupted(BaseException):
    """The user has interrupted the run. Not an Exception, so that no handler takes it for a failure."""


def check() -> None:
    """Raise Interrupted after a signal: a program that it ended has not failed, and no new one is started."""
    if _received:
        raise Interrupted


@contextmanager
def handle_signals(verb: Callable[[], str]) -> Iterator[None]:
    """Inside, a signal ends this process with exit code 128 + its number; ``verb`` gives the name that is printed.

    A signal that was ignored before, as by ``nohup`` or in the background of a script, stays ignored.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)  # the signal's number arrives there whatever the main thread does
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
    """Inside, an interruption prints ``text`` as what to do next. It stays in force if the body is interrupted."""
    _advice.append(text)
    yield
    _advice.pop()


@contextmanager
def leave_ctrl_c_to_program() -> Iterator[None]:
    """Inside, Ctrl-C is ignored here: the terminal sends it to the program in the foreground too, which handles it."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end(pid: int) -> None:
    """End a child process with its descendants: SIGTERM, then SIGKILL after _GRACE_SECONDS."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        processes = [*child.children(recursive=True), child]
        _signal(processes, signal.SIGTERM)
        remaining = _still_running(processes, time.monotonic() + _GRACE_SECONDS)
        _signal(remaining, signal.SIGKILL)
        _still_running(remaining, time.monotonic() + _GRACE_SECONDS)  # on a busy machine the kernel needs some time


def _raise_interrupted(number: int, frame: FrameType | None) -> None:
    for signal_number in _SIGNALS:
        signal.signal(signal_number, _ignore)  # one signal is enough; not SIG_IGN, which child programs would inherit
    _received.append(number)
    raise Interrupted


def _ignore(number: int, frame: FrameType | None) -> None:
    """The process is already ending."""


class _Shutdown:
    """Ends this process and the programs that it has started."""

    def __init__(self, verb: Callable[[], str]) -> None:
        self.verb = verb
        self.deadline = 0.0
        self.signalled: set[psutil.Process] = set()
        self.exiting = threading.Lock()

    def watch(self, reading: int) -> None:
        """Wait for a signal. Then end all children, also new ones, until the deadline; then exit."""
        number = os.read(reading, 1)[0]
        self.deadline = time.monotonic() + SECONDS
        while time.monotonic() < self.deadline:
            self._signal_new_children()
            time.sleep(_LOOK_SECONDS)
        self.exit_process(number)

    def exit_process(self, number: int) -> None:
        """End this process; children may run until the deadline. The first thread that calls it does it."""
        with self.exiting:  # never released
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
    """All descendants, except those in a session of their own, which are to outlive this process."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(OSError):
            if os.getsid(child.pid) == os.getsid(0):
                yield child


def _still_running(processes: Iterable[psutil.Process], until: float) -> list[psutil.Process]:
    """Wait until the time ``until`` (monotonic clock) or until all have ended; the processes that still run.

    A process that has ended stays in the process table as a zombie until its parent, or init, waits for it.
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
