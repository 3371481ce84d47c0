"""Pairwise interactions: what options of two choices change together, beside what each does.

Those of two groups count alike wherever they stand (`s0=conv` beside `expand=4` as `s1=conv`), and
each pair may depart from that.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from latency.regression.features import Feature
from latency.regression.transfer import Pair, interaction_matrix, pairs_met
from latency.workload.workload import option_of

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Variances = dict[str, float]

MOST = 1000  # pairs: more make a device's file large, and few networks say little of each
# Variances of all pairs together over a whole network, as those of options.
VARIANCES: tuple[Variances, ...] = (
    {"pair": 0.01, "pair group": 0.03},
    {"pair": 0.1, "pair group": 0.03},
)
LIKELY = 0.3  # that options interact so, beside none doing


def met(rows: Sequence[dict[Feature, float]]) -> tuple[tuple[Pair, ...], Matrix]:
    """Pairs of names that stand together in some network, and their columns (networks, pairs).

    None where numbers vary freely, or where there are too many.
    """
    named = [{f: count for f, count in row.items() if f[0] == "name"} for row in rows]
    pairs = () if any("=" not in name for row in named for _, name in row) else pairs_met(named)
    if len(pairs) > MOST:
        pairs = ()
    return pairs, interaction_matrix(named, pairs)


def terms(pairs: Sequence[Pair], columns: Matrix) -> Iterator[tuple[str, Matrix]]:
    """Name and effects of each term, (effects, columns).

    Args:
        pairs: the last of the columns.
        columns: of the design, (networks, columns); its first is the constant.
    """
    if not pairs:
        return
    each = np.eye(columns.shape[1])[-len(pairs) :]
    each[:, 0] = -columns[:, -len(pairs) :].mean(axis=0)  # centred, as other features
    groups = [tuple(sorted(map(option_of, pair))) for pair in pairs]
    alike = sorted(set(groups))
    members = np.zeros((len(alike), len(pairs)))
    members[[alike.index(group) for group in groups], np.arange(len(pairs))] = 1.0
    for name, effects in (("pair", each), ("pair group", members @ each)):
        moved = float(((columns @ effects.T) ** 2).sum(axis=1).mean())
        yield name, effects / np.sqrt(moved) if moved > 1e-12 else effects * 0.0


def main_effects(pairs: Sequence[Pair], features: Sequence[Feature], center: Vector) -> Matrix:
    """What of the weights are main effects, as in functional ANOVA: (1 + features, columns).

    A pair adds to its options' own effects by how often the other option stands; what is left of it
    is independent of those.

    Args:
        pairs: the last of the columns, which are a constant, the centred features, and these.
        features: they are.
        center: their usual value.
    """
    place = {name: index for index, (kind, name) in enumerate(features) if kind == "name"}
    found = np.eye(1 + len(features), 1 + len(features) + len(pairs))
    for column, (one, other) in enumerate(pairs, 1 + len(features)):
        first, second = place[one], place[other]
        found[1 + first, column], found[1 + second, column] = center[second], center[first]
        found[0, column] = center[first] * center[second]
    return found


def priors(usual: Sequence[tuple[Variances, float]]) -> list[tuple[Variances, float]]:
    """Variances with their probability: as usual, and with interactions."""
    paired = [
        ({**variances, **more}, probability * LIKELY)
        for variances, probability in usual
        for more in VARIANCES
    ]
    return [*usual, *paired]
