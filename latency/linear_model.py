"""The fitted predictor: a network takes a constant and what each of its parts adds.

A part adds its measured (or roofline) time, corrected by what whole networks showed of parts of
its group and of its very name. Low-dimensional and additive: on public tables ten networks
already rank the rest (README, "How far to trust a prediction").
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latency.measurement import Measurement
from latency.workload import Workload
from search_spaces import InputError
from search_spaces.document import Json, finite

Vector = npt.NDArray[np.float64]
BaseTime = Callable[[Workload], float]
# Penalties that cross-validation chooses among; infinity leaves the features out.
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0, float("inf"))
BASE_PENALTY = 0.1  # holds the factor on measured times near 1 while networks are few


@dataclass(frozen=True)
class LinearModel:
    """The numbers of a fit, in ms."""

    intercept_ms: float = 0.0
    base_factor: float = 1.0
    group_factors: dict[str, float] = field(default_factory=dict)  # per ms of base time
    group_ms: dict[str, float] = field(default_factory=dict)  # per occurrence
    name_ms: dict[str, float] = field(default_factory=dict)  # per occurrence of the very part

    def part_ms(self, part: Workload, base_ms: float) -> float:
        """What a part adds to a network's time."""
        factor = self.base_factor + self.group_factors.get(part.group, 0.0)
        each = self.group_ms.get(part.group, 0.0) + self.name_ms.get(part.name, 0.0)
        return base_ms * factor + occurrences(part) * each

    def to_json(self) -> Json:
        """Numbers alone."""
        return dict(self.__dict__)

    @staticmethod
    def from_json(entry: Json, where: str) -> "LinearModel":
        """A model out of a device document; InputError where a number is none."""

        def numbers(name: str) -> dict[str, float]:
            values = entry.get(name, {})
            if not isinstance(values, dict):
                raise InputError(f"{where}, {name}: expected an object of numbers")
            return {key: finite(v, f"{where}, {name}, {key}") for key, v in values.items()}

        return LinearModel(
            finite(entry.get("intercept_ms"), f"{where}, intercept_ms"),
            finite(entry.get("base_factor"), f"{where}, base_factor"),
            numbers("group_factors"),
            numbers("group_ms"),
            numbers("name_ms"),
        )


@dataclass(frozen=True)
class Fit:
    """A model, and what it predicts of each network when that is left out."""

    model: LinearModel
    left_out_ms: Vector


def occurrences(part: Workload) -> float:
    """How often a tabular part counts (a number that varies freely is a count); else once."""
    return 1.0 if part.measurable else sum(operation.count for operation in part.operations)


def fit(networks: Sequence[Measurement], base_ms: BaseTime) -> Fit:
    """Fit to measured networks; leave-one-out error chooses features and penalties."""
    design = _Design(tuple(networks), base_ms)
    best: tuple[float, Vector, Vector] | None = None
    for penalties in itertools.product(PENALTIES, repeat=3):
        if not design.offers(penalties):
            continue
        coefficients, left_out_ms = design.solve(penalties)
        score = float(np.mean((left_out_ms - design.latency_ms) ** 2))
        if best is None or score < best[0]:
            best = (score, coefficients, left_out_ms)
    assert best is not None
    return Fit(design.model(best[1]), best[2])


@dataclass(frozen=True)
class _Design:
    """The features of the networks, in families that share a penalty each."""

    networks: tuple[Measurement, ...]
    base_ms: BaseTime

    @cached_property
    def latency_ms(self) -> Vector:
        return np.array([network.latency_ms for network in self.networks])

    @cached_property
    def families(self) -> tuple[tuple[list[str], Vector], ...]:
        """(keys, columns) of group factors, group counts and name counts."""
        rows: list[tuple[dict[str, float], dict[str, float], dict[str, float]]] = []
        for network in self.networks:
            factors: dict[str, float] = {}
            groups: dict[str, float] = {}
            names: dict[str, float] = {}
            for part in network.workload.leaves:
                count = occurrences(part)
                factors[part.group] = factors.get(part.group, 0.0) + self.base_ms(part)
                groups[part.group] = groups.get(part.group, 0.0) + count
                names[part.name] = names.get(part.name, 0.0) + count
            rows.append((factors, groups, names))
        return tuple(_columns([row[index] for row in rows]) for index in range(3))

    @cached_property
    def base(self) -> Vector:
        """The summed base time of each network."""
        return np.array([sum(map(self.base_ms, n.workload.leaves)) for n in self.networks])

    @cached_property
    def scales(self) -> tuple[Vector, ...]:
        """One unit of a feature moves a typical network by about as much as any other's."""
        return tuple(np.maximum(columns.std(axis=0), 1e-12) for _, columns in self.families)

    def offers(self, penalties: tuple[float, ...]) -> bool:
        """Whether a choice of penalties differs from those tried with families left out."""
        varies = [bool((scales > 1e-9).any()) for scales in self.scales]
        return all(
            np.isinf(penalty) or family for penalty, family in zip(penalties, varies, strict=True)
        )

    def solve(self, penalties: tuple[float, ...]) -> tuple[Vector, Vector]:
        """Coefficients, and leave-one-out predictions in ms by the hat matrix.

        In units of the mean latency and not in logs or in ratio: latency adds, and on tables that
        span a decade the fastest networks would rule a fit in ratio.
        """
        mean = float(self.latency_ms.mean())
        columns = [np.full(len(self.networks), mean), self.base]
        weights = [1e-6, BASE_PENALTY if self.base.any() else 1e12]
        for (_, family), scales, penalty in zip(self.families, self.scales, penalties, strict=True):
            for column, scale in zip(family.T, scales, strict=True):
                usable = np.isfinite(penalty) and scale > 1e-9
                columns.append(column / scale * mean if usable else np.zeros_like(column))
                weights.append(penalty if usable else 1e12)
        design = np.stack(columns, axis=1) / mean
        prior = np.zeros(design.shape[1])
        prior[1] = 1.0 if self.base.any() else 0.0
        gram = design.T @ design + np.diag(weights)
        inverse = np.linalg.inv(gram)
        wanted = self.latency_ms / mean - design @ prior
        coefficients = prior + inverse @ (design.T @ wanted)
        leverage = ((design @ inverse) * design).sum(axis=1)
        missed = self.latency_ms - design @ coefficients * mean
        return coefficients, self.latency_ms - missed / np.maximum(1 - leverage, 1e-6)

    def model(self, coefficients: Vector) -> LinearModel:
        """The coefficients in ms, by name; those that are nothing are left out."""
        mean = float(self.latency_ms.mean())
        named: list[dict[str, float]] = []
        index = 2
        for (keys, _), scales in zip(self.families, self.scales, strict=True):
            values = coefficients[index : index + len(keys)] / scales * mean
            index += len(keys)
            named.append({k: float(v) for k, v in zip(keys, values, strict=True) if abs(v) > 1e-12})
        return LinearModel(float(coefficients[0]) * mean, float(coefficients[1]), *named)


def _columns(rows: list[dict[str, float]]) -> tuple[list[str], Vector]:
    keys = sorted({key for row in rows for key in row})
    return keys, np.array([[row.get(key, 0.0) for key in keys] for row in rows])
