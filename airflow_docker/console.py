"""All output for people. Messages go to standard error, results to standard output."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

DONE, FAILED, WARNING = "✓", "✗", "!"
_COLOURS = {DONE: "32", FAILED: "31", WARNING: "33"}
_GAP = "  "
"""Between two columns of a table."""
_lock = threading.Lock()
_erase: list[str] = []
"""The escape sequence that erases the transient line, if there is one."""


def _coloured(mark: str) -> str:
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return mark
    return f"\x1b[{_COLOURS[mark]}m{mark}\x1b[0m"


def say(text: str = "") -> None:
    """Print a plain line."""
    if not os.environ.get("AIRFLOW_DOCKER_QUIET"):
        _print(text)


def _print(text: str, end: str = "\n") -> None:
    with _lock:
        print(f"{_erase.pop() if _erase else ''}{text}", file=sys.stderr, end=end, flush=True)


def transient(text: str) -> None:
    """Print a line that the next one replaces; a plain line where there is no terminal."""
    if os.environ.get("AIRFLOW_DOCKER_QUIET"):
        return
    if not is_terminal():
        _print(text)
        return
    _print(text[: shutil.get_terminal_size().columns - 1], end="")
    _erase.append("\r\x1b[2K")


@contextmanager
def tidied() -> Iterator[None]:
    """Erase the transient line at the end, because other programs write to the terminal too."""
    try:
        yield
    finally:
        if _erase:
            _print("", end="")


def done(text: str) -> None:
    """Print what has been done."""
    say(f"{_coloured(DONE)} {text}")


def warn(text: str) -> None:
    """Print a warning. Nothing stops."""
    _print(f"{_coloured(WARNING)} {text}")


def failed(text: str) -> None:
    """Print what failed; an error follows."""
    _print(f"{_coloured(FAILED)} {text}")


def is_terminal() -> bool:
    """True if a person watches standard error."""
    return sys.stderr.isatty()


def out(text: str) -> None:
    """Print a result, on standard output."""
    print(text, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is being done, and at the end that it is done, with the time it took."""
    began = time.monotonic()
    say(f"· {text} …")
    try:
        yield
    except Exception:
        failed(text)
        raise
    done(f"{text} ({time.monotonic() - began:.1f} s)")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], on_stderr: bool = False) -> None:
    """Print a table. On a terminal long values are folded; in a pipe nothing is cut."""
    stream = sys.stderr if on_stderr else sys.stdout
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    is_plain = all(cell.isascii() and cell.isprintable() for row in rows for cell in row)
    total_width = sum(widths) + len(_GAP) * len(widths)
    if not is_plain or (stream.isatty() and total_width > shutil.get_terminal_size().columns):
        _draw(columns, rows, on_stderr, None if stream.isatty() else max(80, total_width))
        return
    is_bold = stream.isatty() and not os.environ.get("NO_COLOR")
    lines = [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in (columns, *rows)]
    lines[0] = f"\x1b[1m{lines[0]}\x1b[0m" if is_bold else lines[0]
    print("\n".join(lines if any(columns) else lines[1:]), file=stream, flush=True)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], on_stderr: bool, width: int | None) -> None:
    """The same by rich: folded cells, letters of any width. Importing it takes longer than most verbs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for row in rows:
        grid.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console(width=width, stderr=on_stderr).print(grid)


@contextmanager
def progress() -> Iterator[Progress | None]:
    """Progress bars on a terminal; None elsewhere, where plain lines are printed."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars


def confirm(question: str) -> bool:
    """Ask on the terminal. Every answer except yes counts as no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
