"""Transfer learning: learn other devices' latencies on the same space, for a new one to resemble.

Each source becomes a function of the network by ridge regression: additive over choice and option,
with pairwise interactions where held-out rows of that table say that they help. Denoised so, a
source predicts networks that it never measured, and its noise is not taken for structure. What it
would save by skipping dead parts is learned beside, for devices that do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from latency.regression.features import DEAD, Feature, design_matrix, features_of_network
from latency.workload.workload import Workload, option_of
from search_spaces import InputError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Pair = tuple[str, str]

RIDGE = 1.0
WINSORIZED = 0.001  # share of rows at either end that are drawn in: broken clocks, cold starts
ROWS_A_PAIR = 4  # pairs are not tried with fewer rows to each


@dataclass(frozen=True)
class Source:
    """A source device of the transfer: its measured networks of the space."""

    name: str
    networks: Sequence[Workload]
    latency_ms: Sequence[float]


@dataclass(frozen=True)
class Sources:
    """All source devices as regressions, each of mean one over its own table.

    `additive` (sources, 1 + features): an intercept, then a weight for each feature;
    `interactions` (sources, pairs): a weight for each two choices' options that meet in a network.
    """

    names: tuple[str, ...]
    features: tuple[Feature, ...]
    additive: Matrix
    pairs: tuple[Pair, ...]
    interactions: Matrix
    center: Vector  # (features,) mean of each feature over the sources' networks
    variance: Vector  # (features,) its variance
    dead: tuple[Feature, ...]  # every kind of dead part of every group
    saved: Matrix  # (sources, dead) by not running such a part, as a share of the mean
    networks: int  # in all tables together

    def predict(self, networks: Sequence[Workload]) -> Matrix:
        """Predict what each source takes in units of its own mean, (networks, sources)."""
        rows = [name_features(network) for network in networks]
        found = self.additive[:, 0] + design_matrix(rows, self.features) @ self.additive[:, 1:].T
        if self.pairs:
            found = found + interaction_matrix(rows, self.pairs) @ self.interactions.T
        return found

    def saved_by(self, dead: Sequence[Feature]) -> Matrix:
        """What each source would save by not running such parts, (sources, dead)."""
        return _align_columns(self.saved, self.dead, dead)


def name_features(network: Workload) -> dict[Feature, float]:
    """Count each choice with its option in a network (one-hot): `down0=conv3d`."""
    found = features_of_network(network, lambda _: 0.0)
    return {feature: count for feature, count in found.items() if feature[0] == "name"}


def interaction_matrix(rows: Sequence[dict[Feature, float]], pairs: Sequence[Pair]) -> Matrix:
    """Make the columns of pairwise interactions (networks, pairs): 1 where both names stand."""
    position = {pair: index for index, pair in enumerate(pairs)}
    found = np.zeros((len(rows), len(pairs)))
    for index, row in enumerate(rows):
        for pair in combinations(sorted(name for _, name in row), 2):
            if pair in position:
                found[index, position[pair]] = 1.0
    return found


def learn_sources(sources: Sequence[Source]) -> Sources:
    """Fit the source devices, for others to transfer from (`latency.calibrate(borrow=...)`).

    Raises:
        InputError: no source; one with fewer than ten networks, or with equal or impossible
            latencies.
    """
    if not sources:
        raise InputError("no device to borrow from; give one source or more")
    fitted = [_fit_table(alike) for alike in _group_by_table(sources)]
    features = tuple(dict.fromkeys(f for one in fitted for f in one.features))
    # Moments of all tables' networks together: an option may stand in one table alone.
    sizes = np.array([one.networks for one in fitted]) / sum(one.networks for one in fitted)
    center = sizes @ np.stack([_align(one.center, one.features, features) for one in fitted])
    square = sizes @ np.stack(
        [_align(one.variance + one.center**2, one.features, features) for one in fitted]
    )
    pairs = tuple(dict.fromkeys(p for one in fitted for p in one.pairs))
    dead = tuple(dict.fromkeys(part for one in fitted for part in one.dead))
    return Sources(
        names=tuple(name for one in fitted for name in one.names),
        features=features,
        additive=np.concatenate([_align_additive(one, features) for one in fitted]),
        pairs=pairs,
        interactions=np.concatenate(
            [_align_columns(one.interactions, one.pairs, pairs) for one in fitted]
        ),
        center=center,
        variance=np.maximum(square - center**2, 0.0),
        dead=dead,
        saved=np.concatenate([_align_columns(one.saved, one.dead, dead) for one in fitted]),
        networks=sum(one.networks for one in fitted),
    )


def matrix_normal_effects(sources: Sources) -> Matrix:
    """Learn how sources differ, as choice times option: (effects, features) of a prior covariance.

    A step between two options costs alike anywhere: the covariance of two names' weights is that
    of their choices times that of their options (a matrix normal prior, Dawid 1981), both from the
    sources' departures from their mean.
    """
    names = [name for _, name in sources.features]
    choices = sorted({name.partition("=")[0] for name in names})
    options = sorted({option_of(name) for name in names})
    rows = [choices.index(name.partition("=")[0]) for name in names]
    columns = [options.index(option_of(name)) for name in names]
    apart = np.zeros((len(sources.names), len(choices), len(options)))
    apart[:, rows, columns] = sources.additive[:, 1:]
    held = np.zeros(apart.shape[1:], dtype=bool)
    held[rows, columns] = True
    means = apart.sum(axis=2) / np.maximum(held.sum(axis=1), 1)
    apart = np.where(held, apart - means[:, :, None], 0.0)
    if len(sources.names) > 1:
        apart = apart - apart.mean(axis=0)
    by_choice = np.einsum("sco,sdo->cd", apart, apart)
    by_option = np.einsum("sco,scp->op", apart, apart)
    covariance = by_choice[np.ix_(rows, rows)] * by_option[np.ix_(columns, columns)]
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _group_by_table(sources: Sequence[Source]) -> list[list[Source]]:
    """Check the sources and group those of one table, which share a design matrix."""
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


def _fit_table(sources: Sequence[Source]) -> Sources:
    counted = [features_of_network(network, lambda _: 0.0) for network in sources[0].networks]
    rows = [{f: count for f, count in row.items() if f[0] == "name"} for row in counted]
    features = tuple(sorted({feature for row in rows for feature in row}))
    columns = design_matrix(rows, features)
    latency = np.stack(
        [_winsorized(np.asarray(s.latency_ms, dtype=float)) for s in sources], axis=1
    )
    latency = latency / latency.mean(axis=0)
    pairs = _estimable_pairs(rows)
    interactions = np.zeros((len(sources), 0))
    weights = _ridge(columns, latency)
    dead, saved = _savings(counted, features, columns, latency)
    if pairs:
        both = np.concatenate([columns, interaction_matrix(rows, pairs)], axis=1)
        if _held_out_error(both, latency) < _held_out_error(columns, latency):
            weights = _ridge(both, latency)
            interactions = weights[1 + len(features) :].T
    return Sources(
        names=tuple(source.name for source in sources),
        features=features,
        additive=weights[: 1 + len(features)].T,
        pairs=pairs if interactions.shape[1] else (),
        interactions=interactions,
        center=columns.mean(axis=0),
        variance=columns.var(axis=0),
        dead=dead,
        saved=saved,
        networks=len(rows),
    )


def _savings(
    rows: Sequence[dict[Feature, float]],
    features: Sequence[Feature],
    columns: Matrix,
    latency: Matrix,
) -> tuple[tuple[Feature, ...], Matrix]:
    """What not running a dead part saves by its kind and group, and (sources, kinds and groups).

    What a live one costs beyond the cheapest option of its choice, in the mean over choices, less
    what the source leaves out of a dead one already.
    """
    options = [option_of(name) for _, name in features]
    groups = sorted(set(options))
    dead = tuple((kind, group) for kind in DEAD for group in groups)
    weights = _ridge(np.concatenate([columns, design_matrix(rows, dead)], axis=1), latency)[1:].T
    above = weights[:, : len(features)].copy()
    choices = np.array([name.partition("=")[0] for _, name in features])
    for choice in sorted(set(choices)):
        above[:, choices == choice] -= above[:, choices == choice].min(axis=1, keepdims=True)
    alike = np.array([[option == group for option in options] for group in groups], dtype=float)
    by_group = above @ (alike / alike.sum(axis=1, keepdims=True)).T
    left_out = -weights[:, len(features) :]
    return dead, np.maximum(np.tile(by_group, len(DEAD)) - left_out, 0.0)


def _estimable_pairs(rows: Sequence[dict[Feature, float]]) -> tuple[Pair, ...]:
    """List the pairs of names that meet; none where the table is too small to estimate them."""
    names = {name for row in rows for _, name in row}
    if any("=" not in name for name in names):
        return ()  # numbers that vary freely have no options to pair
    choices = len({name.partition("=")[0] for name in names})
    likely = len(names) ** 2 * (choices - 1) / (2 * max(choices, 1))
    if likely * ROWS_A_PAIR > len(rows):
        return ()
    return pairs_met(rows)


def pairs_met(rows: Sequence[dict[Feature, float]]) -> tuple[Pair, ...]:
    """List the pairs of names that stand together in some network."""
    return tuple(
        sorted({p for row in rows for p in combinations(sorted(name for _, name in row), 2)})
    )


def _winsorized(latency_ms: Vector) -> Vector:
    low, high = np.quantile(latency_ms, [WINSORIZED, 1 - WINSORIZED])
    return np.clip(latency_ms, low, high)


def _ridge(columns: Matrix, targets: Matrix) -> Matrix:
    """Ridge regression (1 + columns, targets): an intercept, then weights."""
    center, mean = columns.mean(axis=0), targets.mean(axis=0)
    centered = columns - center
    gram = centered.T @ centered + RIDGE * np.eye(columns.shape[1])
    weights = np.linalg.solve(gram, centered.T @ (targets - mean))
    return np.concatenate([(mean - center @ weights)[None], weights])


def _held_out_error(columns: Matrix, targets: Matrix) -> float:
    """Hold out every fifth row: mean squared error of a fit to the others."""
    held = np.arange(len(columns)) % 5 == 0
    weights = _ridge(columns[~held], targets[~held])
    missed = weights[0] + columns[held] @ weights[1:] - targets[held]
    return float((missed**2).mean())


def _align_additive(one: Sources, features: Sequence[Feature]) -> Matrix:
    placed = _align_columns(one.additive[:, 1:], one.features, features)
    return np.concatenate([one.additive[:, :1], placed], axis=1)


def _align(values: Vector, keys: Sequence[Feature], among: Sequence[Feature]) -> Vector:
    row: Vector = _align_columns(values[None], keys, among)[0]
    return row


def _align_columns(values: Matrix, keys: Sequence[object], among: Sequence[object]) -> Matrix:
    position = {key: index for index, key in enumerate(among)}
    kept = [index for index, key in enumerate(keys) if key in position]
    found = np.zeros((len(values), len(among)))
    found[:, [position[keys[index]] for index in kept]] = values[:, kept]
    return found
