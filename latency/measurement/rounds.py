"""Rounds of a measurement: when each was, and what it found; a table's column `round_times`.

Every job is visited once a round, so each is an anchor: what all of them take in one round beside
another says how the machine drifts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces import InputError

LATEST_S = 1e11  # the year 5138


@dataclass(frozen=True)
class Round:
    """What one job took in one round.

    Args:
        at_s: when it was measured, in seconds since 1970 in UTC.
        latency_ms: the median of that visit.
    """

    at_s: float
    latency_ms: float


def rounds_text(rounds: Sequence[Round]) -> str:
    """Rounds as a cell of a table has them: `1764511234.1:12.31 1764511264.0:12.4`."""
    return " ".join(f"{each.at_s:.1f}:{each.latency_ms:.6g}" for each in rounds)


def rounds_of(cell: object, where: str) -> tuple[Round, ...]:
    """Read the rounds out of a cell; an empty one holds none.

    Raises:
        InputError: anything but times and latencies.
    """
    if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
        return ()
    found = []
    for part in str(cell).split():
        at, _, latency = part.partition(":")
        try:
            at_s, latency_ms = float(at), float(latency)
        except ValueError:
            at_s = latency_ms = math.nan
        if not (0 <= at_s <= LATEST_S and 0 < latency_ms < math.inf):
            raise InputError(
                f"{where}: {part[:40]!r} is no round; expected seconds since 1970 and ms, as "
                "1764511234.1:12.31"
            )
        found.append(Round(at_s, latency_ms))
    return tuple(found)
