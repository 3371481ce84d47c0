"""Anchors: networks of the calibration that are measured again, so that like is compared with like.

A machine is slower or faster an hour later, whatever runs on it. What some networks take now over
what they took then says by how much, and predictions of others are judged beside that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean

from nas.pipeline.host_profile import UNSEEN
from nas.run.run_folder import RunFolder
from search_spaces import Architecture, TemporalSpace, read_table

ANCHORS = 5  # from the quickest to the slowest of those that judged the calibration


@dataclass(frozen=True)
class Drift:
    """How the machine differs from when it was calibrated.

    Args:
        ratio: of what anchors take now to what they took then (a geometric mean).
        anchors: so many.
    """

    ratio: float
    anchors: int


def anchors(folder: RunFolder, space: TemporalSpace) -> dict[Architecture, float]:
    """Networks that were measured when the run's machine was calibrated, and their ms then."""
    file = folder.file(f"measured/{UNSEEN}.csv")
    if not file.exists():
        return {}
    table = read_table(file, space)
    times_ms = zip(table.architectures, table.metric("latency_ms").tolist(), strict=True)
    ordered = sorted(times_ms, key=lambda each: each[1])
    places = {round(place * (len(ordered) - 1) / (ANCHORS - 1)) for place in range(ANCHORS)}
    return dict(ordered[place] for place in sorted(places))


def drift_of(then_ms: Mapping[Architecture, float], now_ms: Mapping[Architecture, float]) -> Drift:
    """The drift, by what anchors took then and take now."""
    return Drift(geometric_mean(now_ms[each] / ms for each, ms in then_ms.items()), len(then_ms))
