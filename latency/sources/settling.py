"""Keeping a device busy until its clock has settled: what it sustains, not what it can in a burst.

Processors and phones run faster than they can keep up: until a budget of power is spent (a
second to a minute), or until they are warm (minutes).
"""

import statistics
import time
from collections.abc import Callable

from latency.sources.contract import Runner

WINDOW_S = 1.0
WINDOWS = 5  # that must agree one after another
WITHIN = 0.02  # of each other: their medians


def settle(
    runner: Runner, most_s: float, clock: Callable[[], float] = time.perf_counter
) -> dict[str, str | float]:
    """Call something over and over until its time stays the same, or time is up; as notes.

    A burst is steady, too, until its budget is spent, so nothing is believed in the first half of
    `most_s`. `settled_after_s` says when it settled, `not_settled_in_s` that it had not by then.
    """
    begun = clock()
    medians_ms: list[float] = []
    while clock() - begun < most_s:
        medians_ms.append(_window_ms(runner, clock))
        last = medians_ms[-WINDOWS:]
        if clock() - begun < most_s / 2:
            continue
        if len(last) == WINDOWS and max(last) <= (1 + WITHIN) * min(last):
            return {"settled_after_s": clock() - begun}
    return {"not_settled_in_s": most_s}


def _window_ms(runner: Runner, clock: Callable[[], float]) -> float:
    """The median time of the calls that are begun within a window; of one at least."""
    end = clock() + WINDOW_S
    samples_ms = list(runner(1).samples_ms)
    while clock() < end:
        samples_ms += runner(1).samples_ms
    return statistics.median(samples_ms)
