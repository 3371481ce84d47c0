"""The last race: the best few networks are seen on more clips, until one stands out.

The search saw each network on the same few clips, and the best of many is often a lucky one. The
race takes clips that the search has not seen. Whoever found a network, it may win: the best of the
search, of the random baseline and of the uniform layouts always take part.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.costs.limits import Limits
from nas.problem.problem import Problem
from nas.run.results import Found, closest, in_order, most_closely, winner
from nas.temporal.quality import Quality
from search_spaces import Architecture, TemporalSpace
from supernet import ClipSource, Validation
from supernet.evaluation.racing import Verdict, tell_apart
from supernet.flow_matching import Denoiser

CONFIDENCE = 0.95
SEED = 1000  # beside the search's 0: other clips


def entrants(count: int, *groups: Sequence[Found]) -> list[Found]:
    """The best `count` networks of all groups, and the best of each group; each network once."""
    best = sorted(most_closely(*map(closest, groups)), key=in_order)
    firsts = {winner(group).architecture for group in groups if group}
    return [
        network
        for place, network in enumerate(best)
        if place < count or network.architecture in firsts
    ]


def race(
    networks: Mapping[Architecture, Denoiser],
    at_most_clips: int,
    data: ClipSource,
    advance: Callable[[int], None],
) -> Verdict[Architecture]:
    """The best of some networks.

    Args:
        networks: paths of a supernet, or networks that were trained on.
        at_most_clips: of each network; where the race ends, decided or not.
        data: the clips.
        advance: is told how many clips were seen, in all.
    """
    verdict = tell_apart(networks, Validation(data, seed=SEED), at_most_clips, CONFIDENCE)
    advance(verdict.clips)
    return verdict


def summary(verdict: Verdict[Architecture], networks: Sequence[Found]) -> dict[str, Any]:
    """The race for run.json and the report, the winner first."""
    found = {network.architecture: network for network in networks}
    order = sorted(
        verdict.standings.items(),
        key=lambda item: (item[0] != verdict.best, item[1].dropped, item[1].behind.value),
    )
    return {
        "decided": verdict.decided,
        "confidence": CONFIDENCE,
        "clips": verdict.clips,
        "standings": [
            {
                "trial": found[architecture].trial,
                "origin": found[architecture].origin,
                "loss": standing.loss.value,
                "loss_error": standing.loss.error,
                "behind": standing.behind.value,
                "behind_error": standing.behind.error,
                "clips": standing.loss.clips,
                "dropped": standing.dropped,
            }
            for architecture, standing in order
        ],
    }


def best_uniform(
    space: TemporalSpace, limits: Limits, quality: Quality, problem: Problem
) -> Found | None:
    """The best network with one block in every slot: what a search must beat to be worth it.

    Of every operator the slowest that keeps all limits is evaluated; None where none keeps them.
    """
    slowest: dict[str, tuple[float, Architecture]] = {}
    for block in space.blocks():
        architecture = space.uniform(block)
        if block.operator.module and limits.keeps(architecture):
            found = limits.pipeline_ms(architecture), architecture
            name = block.operator.name
            slowest[name] = max(slowest.get(name, found), found, key=lambda each: each[0])
    rivals = []
    for latency_ms, architecture in slowest.values():
        loss = quality.loss(architecture)
        values = tuple(problem.values(architecture, [loss]))
        rivals.append(Found(None, architecture, loss, latency_ms, values, "uniform"))
    return winner(rivals) if rivals else None
