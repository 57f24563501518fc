"""Two ways of doing one thing, in turn: medians and their ratio. No figure of one side stands without the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Side = Callable[[], None]


@dataclass(frozen=True)
class Result:
    """``ours`` and ``theirs`` are medians (seconds, or bytes); the ratio is to be at most ``limit``."""

    name: str
    against: str
    ours: float
    theirs: float
    limit: float
    runs: int
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def reached(self) -> bool:
        return self.ratio <= self.limit


def seconds(side: Side) -> float:
    """How long one run takes."""
    began = time.perf_counter()
    side()
    return time.perf_counter() - began


def compare(
    name: str, against: str, ours: Side, theirs: list[Side], limit: float, runs: int,
    before_ours: Side = lambda: None, before_theirs: Side = lambda: None, combine: Callable[[list[float]], float] = sum,
) -> Result:  # fmt: skip
    """Run both sides ``runs`` times in turn; ``theirs`` is the parts of the other side, put together by ``combine``.

    What must be set up before a run is not counted.
    """
    mine, other = [], []
    for _ in range(runs):
        before_ours()
        mine.append(seconds(ours))
        before_theirs()
        other.append(combine([seconds(part) for part in theirs]))
    return Result(name, against, statistics.median(mine), statistics.median(other), limit, runs)
