"""Linear model: an intercept, and what each part of a network adds to it, in ms or in log ms.

Every weight is a row: its mean, then how far it moves along each of a few directions in which the
weights are uncertain together, then a variance of its own. Rows add over the parts of a network,
so a mean with its spread costs one sum.
"""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from latency.regression.bayesian_linear import noise_scale
from latency.regression.features import BASE, Feature, features_of_part
from latency.regression.links import LINKS, Link
from latency.workload.workload import Workload
from search_spaces import InputError
from search_spaces.files.document import Json, finite

Row = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]

UNMEASURED_SHARE = 0.3  # one standard deviation of a prediction with no network behind it


@dataclass(frozen=True)
class Noise:
    """Heteroscedastic noise of a measurement: `share` of `mean_ms` there, a power of latency."""

    mean_ms: float = 1.0
    share: float = UNMEASURED_SHARE
    exponent: float = 2.0

    def sd_ms(self, latency_ms: npt.ArrayLike) -> Row:
        """Standard deviation of measurements that take `latency_ms` in the mean."""
        scale = noise_scale(np.asarray(latency_ms) / self.mean_ms, self.exponent)
        return np.asarray(self.mean_ms * self.share * scale)


@dataclass(frozen=True)
class LinearModel:
    """Fitted weights; `pairs` are interactions of two parts that stand in one network.

    All in ms by the identity link; of the logarithm of ms by the log link, where parts multiply.
    """

    intercept: Row
    weights: dict[Feature, Row]
    noise: Noise = field(default_factory=Noise)
    pairs: dict[tuple[str, str], float] = field(default_factory=dict)
    unseen_ms: float = 0.0  # spread of an option in a place where no fitted network held it
    unknown_ms: float = 0.0  # of one that none held anywhere
    networks: int = 0  # that it was fitted to
    link: Link = "identity"

    @staticmethod
    def sum_of_parts(constant: Row, share: float = UNMEASURED_SHARE) -> "LinearModel":
        """Sum what the parts take by themselves: the model before any network was measured."""
        return LinearModel(constant, {BASE: np.eye(1, len(constant))[0]}, Noise(share=share))

    def part_row(self, part: Workload, base_ms: float) -> Row:
        """The row that a part adds."""
        row = np.zeros_like(self.intercept)
        for feature, value in features_of_part(part, base_ms).items():
            weight = self.weights.get(feature)
            if weight is not None:
                row[:-1] += value * weight[:-1]
                row[-1] += value * value * weight[-1]  # a power would raise where it overflows
            elif feature[0] == "name":
                known = ("group", part.group) in self.weights
                spread_ms = self.unseen_ms if known else self.unknown_ms
                row[-1] += spread_ms * spread_ms
        return row

    def interaction_ms(self, network: Workload) -> float:
        """Sum the pairwise interactions of a network's parts."""
        names = sorted(part.name for part in network.leaves) if self.pairs else []
        return sum(self.pairs.get(pair, 0.0) for pair in combinations(names, 2))

    def spread_ms(self, rows: Rows) -> Rows:
        """Standard deviation of predicted measurements, of summed rows (..., 2 + directions)."""
        known = (rows[..., 1:-1] ** 2).sum(axis=-1) + rows[..., -1]
        spread: Rows = np.sqrt(known + self.noise.sd_ms(rows[..., 0]) ** 2)
        return spread

    def to_json(self) -> Json:
        """As a device's document has it: numbers alone."""
        weights: dict[str, dict[str, list[float]]] = {}
        for (kind, name), row in self.weights.items():
            weights.setdefault(kind, {})[name] = _rounded(row)
        return {
            "intercept": _rounded(self.intercept),
            "weights": weights,
            "pairs": [[*pair, ms] for pair, ms in self.pairs.items()],
            "noise": dict(self.noise.__dict__),
            "unseen_ms": self.unseen_ms,
            "unknown_ms": self.unknown_ms,
            "networks": self.networks,
            **({"link": self.link} if self.link != LINKS[0] else {}),
        }

    @staticmethod
    def from_json(entry: Json, where: str) -> "LinearModel":
        """Read a model out of a device's document; InputError where a number is none."""
        intercept = _row(entry.get("intercept"), f"{where}, intercept")
        weights = {}
        for kind, rows in _object(entry.get("weights"), f"{where}, weights").items():
            for name, row in _object(rows, f"{where}, weights, {kind}").items():
                at = f"{where}, weights, {kind}, {name}"
                weights[kind, name] = _row(row, at, len(intercept))
        noise = _object(entry.get("noise"), f"{where}, noise")
        levels = {n: finite(noise.get(n), f"{where}, noise, {n}") for n in Noise().__dict__}
        if not (levels["mean_ms"] > 0 and levels["share"] >= 0 and abs(levels["exponent"]) <= 4):
            raise InputError(f"{where}, noise: {levels} is none: mean_ms must be positive")
        pairs = {}
        for one, other, ms in entry.get("pairs") or ():
            pairs[str(one), str(other)] = finite(ms, f"{where}, pairs, {one}, {other}")
        unseen_ms, unknown_ms, networks = (
            finite(entry.get(name, 0.0), f"{where}, {name}")
            for name in ("unseen_ms", "unknown_ms", "networks")
        )
        return LinearModel(
            intercept=intercept,
            weights=weights,
            noise=Noise(**levels),
            pairs=pairs,
            unseen_ms=unseen_ms,
            unknown_ms=unknown_ms,
            networks=int(networks),
            link=_link(entry.get("link", LINKS[0]), f"{where}, link"),
        )


def _rounded(row: Row) -> list[float]:
    """Nine digits: more say nothing about a time, and fill the file."""
    return [float(f"{value:.9g}") for value in row]


def _row(values: object, where: str, length: int | None = None) -> Row:
    if not isinstance(values, list) or len(values) < 2 or length not in {None, len(values)}:
        raise InputError(f"{where}: expected {length or 'two or more'} numbers, found {values!r}")
    row = np.array([finite(value, where) for value in values])
    if row[-1] < 0:
        raise InputError(f"{where}: the last number is a variance; {row[-1]:g} is negative")
    return row


def _link(value: object, where: str) -> Link:
    for link in LINKS:
        if value == link:
            return link
    raise InputError(f"{where}: {value!r} is none of {', '.join(LINKS)}")


def _object(value: object, where: str) -> Json:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, found {value!r}")
    return value
