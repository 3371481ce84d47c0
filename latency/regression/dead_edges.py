"""Dead edges in a fit: whether a device runs what is off every path of a cell is learned.

Beside the prior of a device that runs everything stand those of devices that skip what nothing
reads, or all that is off every path: groups then count without their dead parts, and sources stand
as if they skipped the same.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from latency.regression.features import DEAD, Feature

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
Variances = dict[str, float]

# A device may skip what nothing reads, or all that is off every path of a cell.
SKIPPED = {"read": DEAD[:2], "live": DEAD}
OF_SOURCES = ("average", "sources")  # terms that stand for sources as if they skipped, too
SKIPS = 0.1  # how likely a device is to skip either, beside running everything
SKIPPED_VARIANCE = 0.01  # of what is skipped, where sources say what the rest costs


def completed(features: set[Feature]) -> set[Feature]:
    """Add every kind of dead part of every group: who skips one kind may skip the others."""
    if not any(kind in DEAD for kind, _ in features):
        return features
    return features | {(dead, name) for kind, name in features if kind == "group" for dead in DEAD}


def terms(
    features: Sequence[Feature], effect_of: Callable[[Feature], Vector]
) -> Iterator[tuple[str, Matrix]]:
    """Name and effects of each term, (effects, columns): without what is skipped, and that alone.

    Args:
        features: of networks.
        effect_of: the unit effect of a feature, (columns,).
    """
    for term, kinds in skipped(features).items():
        dead = [effect_of(feature) for feature in features if feature[0] in kinds]
        yield term, _live_effects(features, kinds, effect_of)
        yield f"{term} alone", np.stack(dead)


def priors_by_name(usual: Variances, features: Sequence[Feature]) -> list[tuple[Variances, float]]:
    """Variances with their probability: as usual, and with groups as who skips has them."""
    rest = {name: variance for name, variance in usual.items() if name != "group"}
    skipping = [({**rest, term: usual["group"]}, SKIPS) for term in skipped(features)]
    return [(usual, 1.0), *skipping]


def priors_of_transfer(
    usual: Variances, features: Sequence[Feature]
) -> list[tuple[Variances, float]]:
    """Variances with their probability: as usual, and from sources as if they skipped."""
    skipping = [
        (
            {f"{n} {term}" if n in OF_SOURCES else n: v for n, v in usual.items()}
            | {f"{term} alone": SKIPPED_VARIANCE},
            SKIPS,
        )
        for term in skipped(features)
    ]
    return [(usual, 1.0), *skipping]


def skipped(features: Sequence[Feature]) -> dict[str, tuple[str, ...]]:
    """SKIPPED, where a measured network held anything dead."""
    return SKIPPED if any(kind in DEAD for kind, _ in features) else {}


def _live_effects(
    features: Sequence[Feature], kinds: Sequence[str], effect_of: Callable[[Feature], Vector]
) -> Matrix:
    """Effects of a group's live parts: its dead ones are taken back."""
    groups = [feature for feature in features if feature[0] == "group"]
    effects = np.stack([effect_of(group) for group in groups])
    for kind, name in features:
        if kind in kinds:
            effects[groups.index(("group", name))] -= effect_of((kind, name))
    return effects
