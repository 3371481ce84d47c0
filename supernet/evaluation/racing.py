"""Racing (F-race with paired t tests): select the best network on as few clips as that takes.

All networks see the same clips. After 32, 64, 128, ... those that are behind the leader beyond
chance are eliminated (Maron and Moore 1994, "Hoeffding races"; with paired tests Birattari and
others 2002, "F-Race"). Every look at every pair is paid for: each test has the share
(1 - confidence) / (pairs with the best x looks) of the chance to err (Bonferroni), so the truly
best network is eliminated with at most probability 1 - confidence, whatever the looks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from search_spaces import InputError
from supernet.evaluation.estimates import Estimate
from supernet.evaluation.evaluation import Validation
from supernet.flow_matching import Denoiser

FIRST_CLIPS = 32  # enough for the t distribution to be fair to losses, which lean to one side
K = TypeVar("K")


@dataclass(frozen=True)
class Standing:
    """A network's result in a race."""

    loss: Estimate
    behind: Estimate  # the best, paired over the clips that this network was seen on
    dropped: bool


@dataclass(frozen=True)
class Verdict(Generic[K]):
    """A race's result: the winner, all standings, and whether it was decided beyond chance."""

    best: K
    standings: dict[K, Standing]
    decided: bool  # False: the limit was reached with several still in the race

    @property
    def clips(self) -> int:
        """Total of the clips that networks were evaluated on."""
        return sum(standing.loss.clips for standing in self.standings.values())


def tell_apart(
    candidates: Mapping[K, Denoiser],
    validation: Validation,
    at_most_clips: int = 1024,
    confidence: float = 0.95,
) -> Verdict[K]:
    """Race the candidates by validation loss and select the best.

    Args:
        candidates: the networks by name.
        validation: its clips are taken from the first on, up to `at_most_clips`.
        at_most_clips: where the race ends, decided or not.
        confidence: the least probability that the truly best is not eliminated.

    Raises:
        InputError: no candidate, or a limit or a confidence that make no sense.
    """
    if not candidates:
        raise InputError("there is no network to tell apart")
    if at_most_clips < 2 or not 0 < confidence < 1:
        raise InputError(
            "telling networks apart takes at least 2 clips and a confidence between 0 and 1; found "
            f"{at_most_clips} and {confidence}"
        )
    losses: dict[K, Tensor] = {name: torch.zeros(0) for name in candidates}
    racing = list(candidates)
    looks = _looks(at_most_clips)
    chance = (1 - confidence) / (max(1, len(candidates) - 1) * len(looks))
    for clips in looks:
        for name in racing:
            before = losses[name]
            more = validation.losses(candidates[name], len(before), clips)
            losses[name] = torch.cat([before, more])
        best = min(racing, key=lambda name: float(losses[name].mean()))
        racing = [
            name
            for name in racing
            if name == best
            or not _is_behind(validation.estimate(losses[name] - losses[best]), chance)
        ]
        if len(racing) == 1:
            break
    return Verdict(best, _standings(losses, best, racing, validation), len(racing) == 1)


def _standings(
    losses: Mapping[K, Tensor], best: K, racing: Sequence[K], validation: Validation
) -> dict[K, Standing]:
    """Each network's loss, and its paired difference to the best over the clips that it saw."""
    return {
        name: Standing(
            validation.estimate(loss_B),
            validation.estimate(loss_B - losses[best][: len(loss_B)]),
            name not in racing,
        )
        for name, loss_B in losses.items()
    }


def _looks(at_most_clips: int) -> list[int]:
    """Numbers of clips at each look, doubled from look to look, as few looks waste little."""
    first = min(FIRST_CLIPS, at_most_clips)
    doublings = math.ceil(math.log2(at_most_clips / first))
    return [min(first << number, at_most_clips) for number in range(doublings + 1)]


def _is_behind(difference: Estimate, chance: float) -> bool:
    """One-sided t test: whether a paired difference is above 0, at the level `chance`."""
    from scipy.stats import t

    beyond = float(t.isf(chance, difference.degrees_of_freedom))
    return difference.value > beyond * difference.error
