"""Successive halving: the last few networks are trained on alone, and the better half stays.

A supernet that was trained for minutes orders networks by how fast they learn. What each becomes
is told better by a short training of its own, from the weights that it inherited (Jamieson and
Talwalkar 2016, arXiv:1502.07943).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from search_spaces import Architecture, TemporalSpace
from supernet import Supernet, TrainingPlan, Validation, VideoUNet, train_network
from supernet.training.training import Schedule

SEED = 1000  # beside the plan's: each round sees clips that the others and the winner do not
WARMUP = 5  # a fifth of a round


def rounds(networks: int, steps: int) -> list[tuple[int, int]]:
    """How many networks each round trains, and for how many steps: each round has an equal share.

    >>> rounds(6, 360)
    [(6, 20), (3, 40), (2, 60)]
    """
    counts = []
    while networks > 1:
        counts.append(networks)
        networks = math.ceil(networks / 2)
    return [(count, max(1, steps // (len(counts) * count))) for count in counts]


def schedule_of(plan: TrainingPlan, steps: int) -> Schedule:
    """The plan's, for a short training that is judged as it ends: at a rate of nothing."""
    warmup = max(1, steps // WARMUP)
    return replace(plan.schedule(steps), warmup_passes=warmup, final_share=0.0)


def trained_by_halving(
    architectures: Sequence[Architecture],
    steps: int,
    supernet: Supernet,
    space: TemporalSpace,
    plan: TrainingPlan,
    validation: Validation,
    file_of: Callable[[str], Path],
    advance: Callable[[int], None],
) -> dict[Architecture, VideoUNet]:
    """Every network as it was when it left, or won.

    Args:
        architectures: the finalists.
        steps: of all of them together.
        supernet: what they inherit.
        space: theirs.
        plan: of their training.
        validation: judges them after each round.
        file_of: where a file of this name is kept; a training that is finished is not done twice.
        advance: is told how many steps are done.
    """
    networks = {each: supernet.extract(each) for each in architectures}
    staying, done = list(architectures), 0
    for place, (count, each_steps) in enumerate(rounds(len(architectures), steps), 1):
        losses: dict[Architecture, float] = {}
        for architecture in staying[:count]:
            path = file_of(
                f"finalist-{list(architectures).index(architecture)}-{place}.safetensors"
            )
            networks[architecture] = train_network(
                networks[architecture],
                space,
                architecture,
                replace(plan, seed=plan.seed + SEED * place),
                each_steps,
                path,
                schedule=schedule_of(plan, each_steps),
            )
            losses[architecture] = validation.loss(networks[architecture]).value
            done += each_steps
            advance(done)
        staying = sorted(staying[:count], key=losses.__getitem__)[: math.ceil(count / 2)]
    return networks
