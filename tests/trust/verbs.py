"""A verb as a process that is interrupted or killed."""

import os
import signal
import subprocess
import time

import psutil
from conftest import INV


class Running:
    """`inv` in a session of its own, like a command in a terminal."""

    def __init__(self, project, *args, inv=INV, **environ):
        self.output_file = project.folder / "output.txt"
        self.args = args
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [*inv, *args], env=project.environ | environ, cwd=project.folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    @property
    def text(self):
        return self.output_file.read_text(errors="replace")

    def children(self):
        """Its child processes, except those in a session of their own, which outlive it."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if _session(child.pid) == self.process.pid]

    def has_child(self, word):
        """True if a child process has this word in its command."""
        for child in self.children():
            try:
                if any(word in part for part in child.cmdline()):
                    return True
            except psutil.Error:
                continue
        return False

    def until(self, condition, seconds=120):
        """Wait until ``condition(self)`` is true."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert self.process.poll() is None, f"it has ended before: {self.text}"
            assert time.monotonic() < end, f"the moment has not come: {self.text}"
            time.sleep(0.03)
        return self

    def signal(self, number, group):
        """Send a signal to the process, or like a terminal to its group."""
        try:
            (os.killpg if group else os.kill)(self.process.pid, number)
        except ProcessLookupError:
            assert self.process.poll() is not None

    def end(self):
        """Kill all that still runs, after a test that has failed."""
        left = self.children()
        if self.process.poll() is None:
            self.signal(signal.SIGKILL, group=True)
        for child in left:
            if child.is_running():
                child.kill()
        self.process.wait()


def _session(pid):
    try:
        return os.getsid(pid)
    except OSError:
        return None


def gone(processes, seconds):
    """Wait for processes to end; those that still run after ``seconds``."""
    end = time.monotonic() + seconds
    while left := [p for p in processes if _runs(p)]:
        if time.monotonic() > end:
            return left
        time.sleep(0.05)
    return []


def _runs(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
