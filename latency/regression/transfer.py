"""Other devices that were measured on the same space: what a new one may resemble.

Each source becomes a function of the network: additive over choice and option, with pairs of them
where held-out rows of that table say that pairs help. Denoised so, a source predicts networks
that it never measured, and its noise is not taken for structure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from latency.regression.features import Feature, matrix, of_network
from latency.workload.workload import Workload
from search_spaces import InputError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Pair = tuple[str, str]

RIDGE = 1.0
TRIMMED = 0.001  # share of rows at either end that are drawn in: broken clocks, cold starts
ROWS_A_PAIR = 4  # pairs are not tried with fewer rows to each


@dataclass(frozen=True)
class Source:
    """A device that lends: measured networks of the space."""

    name: str
    networks: Sequence[Workload]
    latency_ms: Sequence[float]


@dataclass(frozen=True)
class Sources:
    """All sources as functions, each of mean one over its own table.

    `additive` (sources, 1 + features): a constant, then a weight for each feature;
    `paired` (sources, pairs): a weight for each two choices' options that meet in a network.
    """

    names: tuple[str, ...]
    features: tuple[Feature, ...]
    additive: Matrix
    pairs: tuple[Pair, ...]
    paired: Matrix
    center: Vector  # (features,) mean of each feature over the sources' networks
    variance: Vector  # (features,) its variance
    networks: int  # in all tables together

    def predict(self, networks: Sequence[Workload]) -> Matrix:
        """(networks, sources): what each source takes, in units of its own mean."""
        rows = [names_of(network) for network in networks]
        found = self.additive[:, 0] + matrix(rows, self.features) @ self.additive[:, 1:].T
        if self.pairs:
            found = found + pair_matrix(rows, self.pairs) @ self.paired.T
        return found


def names_of(network: Workload) -> dict[Feature, float]:
    """How often each choice and option stands in a network: `down0=conv3d`."""
    found = of_network(network, lambda _: 0.0)
    return {feature: count for feature, count in found.items() if feature[0] == "name"}


def pair_matrix(rows: Sequence[dict[Feature, float]], pairs: Sequence[Pair]) -> Matrix:
    """(networks, pairs): 1 where both names of a pair stand in a network."""
    position = {pair: index for index, pair in enumerate(pairs)}
    found = np.zeros((len(rows), len(pairs)))
    for index, row in enumerate(rows):
        for pair in combinations(sorted(name for _, name in row), 2):
            if pair in position:
                found[index, position[pair]] = 1.0
    return found


def learn_sources(sources: Sequence[Source]) -> Sources:
    """Sources as functions.

    Raises:
        InputError: no source; one with fewer than ten networks, or with equal or impossible
            latencies.
    """
    if not sources:
        raise InputError("no device to borrow from; give one source or more")
    fitted = [_learn_table(alike) for alike in _by_networks(sources)]
    features = tuple(dict.fromkeys(f for one in fitted for f in one.features))
    # Moments of all tables' networks together: an option may stand in one table alone.
    sizes = np.array([one.networks for one in fitted]) / sum(one.networks for one in fitted)
    center = sizes @ np.stack([_spread(one.center, one.features, features) for one in fitted])
    square = sizes @ np.stack(
        [_spread(one.variance + one.center**2, one.features, features) for one in fitted]
    )
    pairs = tuple(dict.fromkeys(p for one in fitted for p in one.pairs))
    return Sources(
        names=tuple(name for one in fitted for name in one.names),
        features=features,
        additive=np.concatenate([_spread_additive(one, features) for one in fitted]),
        pairs=pairs,
        paired=np.concatenate([_placed(one.paired, one.pairs, pairs) for one in fitted]),
        center=center,
        variance=np.maximum(square - center**2, 0.0),
        networks=sum(one.networks for one in fitted),
    )


def _by_networks(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources of one table together: they share the matrix of features."""
    groups: dict[int, list[Source]] = {}
    for source in sources:
        latency_ms = np.asarray(source.latency_ms, dtype=float)
        if len(latency_ms) != len(source.networks):
            raise InputError(
                f"{source.name}: {len(latency_ms)} latencies of {len(source.networks)} networks"
            )
        if len(latency_ms) < 10:
            raise InputError(f"{source.name}: {len(latency_ms)} networks; to borrow takes ten")
        if not (np.isfinite(latency_ms).all() and (latency_ms > 0).all()):
            raise InputError(f"{source.name}: holds latencies that are not positive")
        if np.ptp(latency_ms) == 0:
            raise InputError(f"{source.name}: all latencies are equal, so nothing can be borrowed")
        groups.setdefault(id(source.networks), []).append(source)
    return list(groups.values())


def _learn_table(sources: Sequence[Source]) -> Sources:
    rows = [names_of(network) for network in sources[0].networks]
    features = tuple(sorted({feature for row in rows for feature in row}))
    columns = matrix(rows, features)
    latency = np.stack([_trimmed(np.asarray(s.latency_ms, dtype=float)) for s in sources], axis=1)
    latency = latency / latency.mean(axis=0)
    pairs = _possible_pairs(rows)
    paired = np.zeros((len(sources), 0))
    weights = _ridge(columns, latency)
    if pairs:
        both = np.concatenate([columns, pair_matrix(rows, pairs)], axis=1)
        if _held_out_error(both, latency) < _held_out_error(columns, latency):
            weights = _ridge(both, latency)
            paired = weights[1 + len(features) :].T
    return Sources(
        names=tuple(source.name for source in sources),
        features=features,
        additive=weights[: 1 + len(features)].T,
        pairs=pairs if paired.shape[1] else (),
        paired=paired,
        center=columns.mean(axis=0),
        variance=columns.var(axis=0),
        networks=len(rows),
    )


def _possible_pairs(rows: Sequence[dict[Feature, float]]) -> tuple[Pair, ...]:
    """All pairs of names that meet; none where the table is too small to tell them apart."""
    names = {name for row in rows for _, name in row}
    if any("=" not in name for name in names):
        return ()  # numbers that vary freely have no options to pair
    choices = len({name.partition("=")[0] for name in names})
    likely = len(names) ** 2 * (choices - 1) / (2 * max(choices, 1))
    if likely * ROWS_A_PAIR > len(rows):
        return ()
    return tuple(
        sorted({p for row in rows for p in combinations(sorted(name for _, name in row), 2)})
    )


def _trimmed(latency_ms: Vector) -> Vector:
    low, high = np.quantile(latency_ms, [TRIMMED, 1 - TRIMMED])
    return np.clip(latency_ms, low, high)


def _ridge(columns: Matrix, targets: Matrix) -> Matrix:
    """(1 + columns, targets): a constant, then weights."""
    center, mean = columns.mean(axis=0), targets.mean(axis=0)
    centered = columns - center
    gram = centered.T @ centered + RIDGE * np.eye(columns.shape[1])
    weights = np.linalg.solve(gram, centered.T @ (targets - mean))
    return np.concatenate([(mean - center @ weights)[None], weights])


def _held_out_error(columns: Matrix, targets: Matrix) -> float:
    """Mean squared error on every fifth row of a fit to the others."""
    held = np.arange(len(columns)) % 5 == 0
    weights = _ridge(columns[~held], targets[~held])
    missed = weights[0] + columns[held] @ weights[1:] - targets[held]
    return float((missed**2).mean())


def _spread_additive(one: Sources, features: Sequence[Feature]) -> Matrix:
    placed = _placed(one.additive[:, 1:], one.features, features)
    return np.concatenate([one.additive[:, :1], placed], axis=1)


def _spread(values: Vector, keys: Sequence[Feature], among: Sequence[Feature]) -> Vector:
    row: Vector = _placed(values[None], keys, among)[0]
    return row


def _placed(values: Matrix, keys: Sequence[object], among: Sequence[object]) -> Matrix:
    position = {key: index for index, key in enumerate(among)}
    found = np.zeros((len(values), len(among)))
    found[:, [position[key] for key in keys]] = values
    return found
