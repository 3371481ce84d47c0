"""Which of several networks is the best, on as many clips as that takes and no more.

All sit the same exam. After 32, 64, 128, ... clips those that are behind the leader beyond chance
drop out. It is a race (Maron and Moore 1994, "Hoeffding races"; with paired t tests Birattari and
others 2002, "F-Race") whose every look at every pair is paid for: each test has the share
(1 - confidence) / (pairs with the best x looks) of the chance to err (Bonferroni), so the truly
best network is dropped with at most probability 1 - confidence, whatever the looks.
"""

import math
from collections.abc import Mapping
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
    """How a network came out."""

    loss: Estimate
    behind: Estimate  # the best, paired over the clips that this network was seen on
    dropped: bool


@dataclass(frozen=True)
class Verdict(Generic[K]):
    """The best, how all others stand, and whether chance alone could have chosen it."""

    best: K
    standings: dict[K, Standing]
    decided: bool  # False: the limit was reached with several still in the race

    @property
    def clips(self) -> int:
        """Clips that networks were evaluated on, in all."""
        return sum(standing.loss.clips for standing in self.standings.values())


def tell_apart(
    candidates: Mapping[K, Denoiser],
    exam: Validation,
    at_most_clips: int = 1024,
    confidence: float = 0.95,
) -> Verdict[K]:
    """The best of the candidates by the exam's loss.

    Args:
        candidates: the networks by name.
        exam: its clips are taken from the first on; how many it has by itself does not matter.
        at_most_clips: where the race ends, decided or not.
        confidence: the least probability that the truly best is not dropped.

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
            more = exam.losses(candidates[name], len(before), clips)
            losses[name] = torch.cat([before, more])
        best = min(racing, key=lambda name: float(losses[name].mean()))
        racing = [
            name
            for name in racing
            if name == best or not _is_behind(exam.estimate(losses[name] - losses[best]), chance)
        ]
        if len(racing) == 1:
            break
    standings = {
        name: Standing(
            exam.estimate(loss_B),
            exam.estimate(loss_B - losses[best][: len(loss_B)]),
            name not in racing,
        )
        for name, loss_B in losses.items()
    }
    return Verdict(best, standings, len(racing) == 1)


def _looks(at_most_clips: int) -> list[int]:
    """Numbers of clips: doubled from look to look, as few looks waste little."""
    first = min(FIRST_CLIPS, at_most_clips)
    doublings = math.ceil(math.log2(at_most_clips / first))
    return [min(first << number, at_most_clips) for number in range(doublings + 1)]


def _is_behind(difference: Estimate, chance: float) -> bool:
    """Whether the difference is above 0, with so much of a chance to err at most."""
    from scipy.stats import t

    beyond = float(t.isf(chance, difference.freedom))
    return difference.value > beyond * difference.error
