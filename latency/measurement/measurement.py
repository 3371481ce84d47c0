"""Measurements: (workload, latency_ms) seen on one device, and how they stand in a table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from latency.workload.workload import Workload
from search_spaces import InputError

LEAST_MS, MOST_MS = 1e-6, 1e9  # a nanosecond, and eleven days: beyond them a unit is wrong
LARGEST_COUNT = 1e12  # of a number that varies freely
CONTRADICTION = 100.0  # times as long as expected: units are a thousand apart, launches are not


class NotHereError(InputError):
    """This machine cannot measure what another could."""


@dataclass(frozen=True)
class Timing:
    """The latency of repeated runs: median and spread."""

    latency_ms: float  # median
    samples: int
    std_ms: float
    p10_ms: float
    p90_ms: float

    @staticmethod
    def of(samples_ms: Sequence[float]) -> "Timing":
        """Summarise samples in ms by their median and spread."""
        low, high = (float(q) for q in np.percentile(samples_ms, [10, 90]))
        spread = statistics.pstdev(samples_ms)
        return Timing(statistics.median(samples_ms), len(samples_ms), spread, low, high)

    def columns(self) -> dict[str, float]:
        """As the columns of a table have it."""
        return {
            "latency_ms": self.latency_ms,
            "samples": self.samples,
            "std_ms": self.std_ms,
            "p10_ms": self.p10_ms,
            "p90_ms": self.p90_ms,
        }


@dataclass(frozen=True)
class Measurement:
    """A workload and the time it took: a block, a chain's block or a whole network, all alike."""

    workload: Workload
    latency_ms: float

    def __post_init__(self) -> None:
        found: object = self.latency_ms
        if not isinstance(found, Real):
            raise InputError(f"{self.workload.name}: latency {found!r} is not a number")
        object.__setattr__(self, "latency_ms", float(found))  # of numpy's, a plain one

    @property
    def of_network(self) -> bool:
        """Whether the workload was put together from parts."""
        return bool(self.workload.parts)


def check_measurements(measurements: Sequence[Measurement]) -> None:
    """Check measurements: refuse what no latency model can be fitted to.

    Raises:
        InputError: fewer than two measurements, a time that is not positive or absurd, all times
            equal, or times so far apart that their units must differ.
    """
    if len(measurements) < 2:
        raise InputError(
            f"{len(measurements)} measurement(s): a calibration needs two or more, ten to be useful"
        )
    for measurement in measurements:
        if _is_nothing(measurement):
            continue
        if not (np.isfinite(measurement.latency_ms) and measurement.latency_ms > 0):
            raise InputError(
                f"{measurement.workload.name}: latency {measurement.latency_ms} ms is not positive"
            )
        if not LEAST_MS <= measurement.latency_ms <= MOST_MS:
            raise InputError(
                f"{measurement.workload.name}: {measurement.latency_ms:g} ms is no time of a "
                "network; is a unit wrong?"
            )
        for part in measurement.workload.leaves:
            if not all(abs(operation.count) <= LARGEST_COUNT for operation in part.operations):
                raise InputError(
                    f"{measurement.workload.name}: {part.name} is out of range, which is up to "
                    f"{LARGEST_COUNT:g}"
                )
    fitted = [m for m in measurements if m.of_network or m.workload.measurable]
    if len({measurement.latency_ms for measurement in fitted}) == 1 and len(fitted) > 1:
        raise InputError(
            f"all {len(fitted)} latencies are {fitted[0].latency_ms:g} ms: constant "
            "measurements calibrate nothing; check the column"
        )
    _check_sums(measurements)
    _check_repeated(measurements)


def _is_nothing(measurement: Measurement) -> bool:
    """Whether a block that has a name alone was measured to cost nothing, as one that skips."""
    named = not measurement.of_network and not measurement.workload.measurable
    return named and measurement.latency_ms == 0.0


def _check_repeated(measurements: Sequence[Measurement]) -> None:
    """Refuse one thing measured in two units."""
    same: dict[tuple[object, ...], list[Measurement]] = {}
    for measurement in measurements:
        names = (part.name for part in measurement.workload.leaves)
        same.setdefault((measurement.of_network, *names), []).append(measurement)
    for group in same.values():
        least = min(group, key=lambda each: each.latency_ms)
        most = max(group, key=lambda each: each.latency_ms)
        far = most.latency_ms > CONTRADICTION * least.latency_ms
        if far and least.workload.digest == most.workload.digest:
            raise InputError(
                f"{most.workload.name}: was measured as {least.latency_ms:g} ms and as "
                f"{most.latency_ms:g} ms: is a unit wrong? mend or remove one"
            )


def _check_sums(measurements: Sequence[Measurement]) -> None:
    """Refuse networks and blocks that were measured in different units."""
    blocks = {m.workload.digest: m.latency_ms for m in measurements if not m.of_network}
    ratios = []
    for network in measurements if blocks else ():
        parts = network.workload.parts
        known = [blocks[part.digest] for part in parts if part.digest in blocks]
        # What was not measured may be most of a network, so only too short a one tells anything.
        if sum(known) and (len(known) == len(parts) or network.latency_ms < sum(known)):
            ratios.append(network.latency_ms / sum(known))
    ratio = float(np.median(ratios)) if ratios else 1.0
    if not 1 / CONTRADICTION < ratio < CONTRADICTION:
        times = float(f"{ratio:.2g}")
        raise InputError(
            f"the networks take {times:,g} times the sum of their blocks: is a unit wrong? name "
            "each table's column after its unit (_ms, _us, _s)"
        )
