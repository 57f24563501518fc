"""Starts other programs: argument lists, no shell, an explicit environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, cast

from airflow_docker import interruption
from airflow_docker.errors import UserError

Process = subprocess.Popen
_end: ContextVar[float] = ContextVar("end")


class TimedOut(UserError):
    """A program that did not end within ``seconds`` and was ended."""

    def __init__(self, args: Sequence[str], seconds: float) -> None:
        self.seconds = round(seconds, 1)
        what = f"no answer within {self.seconds:g} seconds."
        super().__init__(show(args[:3]), what, f"Try it by hand: {show(args)}")


class NotFound(UserError):
    """A program that is not installed."""


def show(args: Sequence[str]) -> str:
    """The command as a user could type it."""
    return shlex.join(args)


def _environment(env: Mapping[str, str] | None, exactly: bool = False) -> dict[str, str]:
    """``env`` added to this process's environment; ``env`` alone if ``exactly``."""
    return {**({} if exactly else os.environ), **(env or {})}


def version_in(text: str) -> tuple[int, ...]:
    """The first version in a text, like (2, 26, 1); empty if there is none."""
    match = re.search(r"\d+(\.\d+)+", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _cannot_start(program: str, problem: OSError) -> UserError:
    is_path = "/" in program  # a bare name does not mean a file of that name in the current folder
    if shutil.which(program) is None and not (is_path and Path(program).exists()):
        return NotFound(program, "the program is not installed or not on PATH.", f"Install {program} and try again.")
    what = f"cannot be started ({problem.strerror})."
    return UserError(program, what, "It must be executable, and its first line name an interpreter that exists.")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Inside, all calls of :func:`capture` together may take that many seconds. Applies to this thread only."""
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def _limit(timeout: float | None) -> float | None:
    """How long to wait: ``timeout``, or the rest of :func:`within` if that is shorter."""
    end = _end.get(None)
    if end is None:
        return timeout
    remaining = max(end - time.monotonic(), 0.0)
    return remaining if timeout is None else min(remaining, timeout)


@contextmanager
def _started(args: Sequence[str], **options: Any) -> Iterator[Process[Any]]:
    """A started program. At the end it has ended; after an exception its descendants have ended too."""
    interruption.check()
    try:
        process = subprocess.Popen(list(args), **options)
    except OSError as problem:
        raise _cannot_start(args[0], problem) from None
    with process:
        try:
            yield process
        except BaseException:
            interruption.end(process.pid)
            raise
    interruption.check()  # a program that a signal ended has not failed


def capture(
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    timeout: float | None = None,
    exactly: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and return both outputs as text; the caller checks the exit code.

    ``env`` is added to this process's environment, or is all of it if ``exactly``; ``timeout`` is in seconds.
    Raises UserError if the program cannot be started, TimedOut if it takes longer.
    """
    limit = _limit(timeout)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with _started(args, env=_environment(env, exactly), cwd=cwd, text=True, errors="replace", **pipes) as process:
        try:
            output, errors = process.communicate(stdin, limit)
        except subprocess.TimeoutExpired as problem:
            raise TimedOut(args, problem.timeout) from None
    return subprocess.CompletedProcess(args, process.returncode, output, errors)


def pipe(
    args: Sequence[str], *, env: Mapping[str, str] | None = None, source: Path | None = None, target: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run with the file ``source`` as input and ``target`` as output; neither is read into memory.

    Returns standard error; the caller checks the exit code. Raises UserError if it cannot be started.
    """
    with (
        Path(source or os.devnull).open("rb") as stdin,
        Path(target or os.devnull).open("wb") as output_file,
        _started(args, env=_environment(env), stdin=stdin, stdout=output_file, stderr=subprocess.PIPE) as process,
    ):
        errors = process.communicate()[1]
    return subprocess.CompletedProcess(args, process.returncode, None, errors)


@contextmanager
def reading(args: Sequence[str]) -> Iterator[IO[bytes]]:
    """Its output as a stream; at the end of the block the program is ended. Standard error is dropped.

    Raises UserError if it cannot be started.
    """
    with _started(args, env=_environment(None), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        yield cast(IO[bytes], process.stdout)
        process.terminate()


def relay(args: Sequence[str], clean: Callable[[str], str], *, env: Mapping[str, str] | None = None) -> int:
    """Run, print each line of its output through ``clean``, and return the exit code.

    Raises UserError if it cannot be started.
    """
    with _started(args, env=_environment(env), stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout or ():
            sys.stdout.write(clean(line))
            sys.stdout.flush()
    return process.returncode


def listen(args: Sequence[str], on_line: Callable[[str], None], *, env: Mapping[str, str] | None = None) -> int:
    """Run without a terminal, call ``on_line`` with each line of standard error, and return the exit code.

    Raises UserError if it cannot be started.
    """
    none = subprocess.DEVNULL
    pipes = {"stdin": none, "stdout": none, "stderr": subprocess.PIPE}
    with _started(args, env=_environment(env), text=True, errors="replace", **pipes) as process:
        for line in process.stderr or ():
            on_line(line.rstrip("\n"))
    return process.returncode


def stream(
    args: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, exactly: bool = False,
    interactive: bool = False,
) -> int:  # fmt: skip
    """Run with the user's own terminal and return the exit code; ``exactly``: no environment but ``env``.

    An ``interactive`` program handles Ctrl-C itself if there is a terminal.
    Raises UserError if it cannot be started.
    """
    ctrl_c = interruption.leave_ctrl_c_to_program() if interactive and sys.stdin.isatty() else nullcontext()
    with _started(args, env=_environment(env, exactly), cwd=cwd) as process, ctrl_c:
        process.wait()
    return process.returncode


def start(
    args: Sequence[str], *, env: Mapping[str, str], log: Path, daemon: bool = False, cwd: Path | None = None
) -> Process[bytes]:
    """Start in the background, with both outputs in the file ``log``.

    A ``daemon`` gets a session of its own, so it outlives the terminal, and no
    environment but ``env``. Raises UserError if it cannot be started.
    """
    interruption.check()
    with log.open("wb") as output:
        try:
            return subprocess.Popen(
                list(args), env=_environment(env, exactly=daemon), cwd=cwd, start_new_session=daemon,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        except OSError as problem:
            raise _cannot_start(args[0], problem) from None
