"""Two ways of doing one thing, in turn: medians and their ratio. No figure of one side stands without the other."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Side = Callable[[], None]


@dataclass(frozen=True)
class Result:
    """``ours`` and ``theirs`` are medians (seconds, or bytes); the ratio is to be at most ``limit``.

    ``processor`` is what both took of a processor besides (seconds), where that was measured.
    """

    name: str
    against: str
    ours: float
    theirs: float
    limit: float
    runs: int
    unit: str = "s"
    processor: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def reached(self) -> bool:
        return self.ratio <= self.limit


@dataclass(frozen=True)
class Spent:
    """Seconds that passed, and those of a processor (user and system): of programs that have been waited for, and theirs."""

    wall: float
    processor: float


def spent(side: Side) -> Spent:
    """What one run takes. What engines and servers do for it, which nobody here has started, is not in it."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    side()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(time.perf_counter() - began, processor)


def processor(
    name: str, ours: Side, base: tuple[str, Side], limit: float, runs: int, off: Sequence[Side] = ()
) -> Result:
    """Processor time as a multiple of that of ``base``; what the sides ``off`` take by themselves is taken off ours."""
    our_runs, their_runs = [], []
    for _ in range(runs):
        our_runs.append(spent(ours).processor - sum(spent(side).processor for side in off))
        their_runs.append(spent(base[1]).processor)
    return Result(
        f"{name}: processor", base[0], statistics.median(our_runs), statistics.median(their_runs), limit, runs
    )


def compare(
    name: str, against: str, ours: Side, theirs: list[Side], limit: float, runs: int,
    before_ours: Side = lambda: None, before_theirs: Side = lambda: None, combine: Callable[[list[float]], float] = sum,
    has_processor: bool = True,
) -> Result:  # fmt: skip
    """Run both sides ``runs`` times in turn; ``theirs`` is the parts of the other side, put together by ``combine``.

    What must be set up before a run is not counted. ``has_processor`` is false where servers are started
    that go on, or in this process, so that nobody knows what they take.
    """
    our_runs, their_runs = [], []
    for _ in range(runs):
        before_ours()
        our_runs.append(spent(ours))
        before_theirs()
        parts = [spent(part) for part in theirs]
        their_runs.append(Spent(combine([part.wall for part in parts]), sum(part.processor for part in parts)))
    medians = [statistics.median(one.wall for one in side) for side in (our_runs, their_runs)]
    seconds = [statistics.median(one.processor for one in side) for side in (our_runs, their_runs)]
    return Result(name, against, medians[0], medians[1], limit, runs,
                  processor=(seconds[0], seconds[1]) if has_processor else None)  # fmt: skip
