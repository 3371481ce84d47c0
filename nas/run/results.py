"""What a search found, in the words of people: losses, latencies, the front and the winner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.costs.limits import Limits
from nas.problem.pareto import nondominated
from nas.problem.problem import Problem, Vector
from nas.study.evaluations import Evaluated
from search_spaces import Architecture

Origin = Literal["search", "random", "uniform"]


@dataclass(frozen=True)
class Found:
    """An evaluated network."""

    trial: int | None  # in the study of its origin; a uniform layout is in none
    architecture: Architecture
    loss: float  # the first objective that evaluations find out, negated where more is better
    latency_ms: float  # of the pipeline on the main device; NaN where nothing predicts it
    values: tuple[float, ...]  # of all objectives, in their order and their own units
    origin: Origin = "search"  # who proposed it
    count: int | None = None  # on how many clips, or what a fidelity counts, if one does
    is_full: bool = True  # whether it was seen as closely as any; else values are estimates
    samples: tuple[float, ...] = ()  # of the first of them, where evaluations tell it by the sample
    looked: tuple[float, ...] = ()  # what the last look found of the unknown ones, if any looked


def found(
    evaluated: Sequence[Evaluated], problem: Problem, limits: Limits, origin: Origin = "search"
) -> list[Found]:
    """Trials with what people ask of them first."""
    if not evaluated:
        return []
    place = quality_place(problem)
    sign = float(problem.signs[place])
    latencies_ms = np.full(len(evaluated), np.nan)
    if limits.targets:
        main = limits.targets[0]
        latencies_ms = limits.pipelines_ms([e.architecture for e in evaluated], main)
    return [
        Found(
            each.trial,
            each.architecture,
            sign * each.values[place],
            latency_ms,
            each.values,
            origin,
            *_closeness(each, problem),
            each.samples,
            each.looked,
        )
        for each, latency_ms in zip(evaluated, latencies_ms.tolist(), strict=True)
    ]


def _closeness(each: Evaluated, problem: Problem) -> tuple[int | None, bool]:
    fidelity = problem.fidelity
    return (None, True) if fidelity is None else (each.count, each.count == fidelity.full)


def quality_place(problem: Problem) -> int:
    """Which objective counts as the quality: the first that evaluations find out."""
    return int(np.flatnonzero(~problem.is_known)[0])


def missed(networks: Sequence[Found], problem: Problem) -> Vector:
    """By how much each network misses the goal's region, (n,); 0 or less is inside.

    The most that it passes a limit by, as a share of that objective's range over the networks.
    """
    values = np.array([network.values for network in networks]) * problem.signs
    ranges = np.maximum(np.ptp(values, axis=0), 1e-9)
    return np.asarray(((values - problem.corner) / ranges).max(axis=1))


def inside(problem: Problem, *groups: list[Found]) -> list[list[Found]]:
    """Of each group the networks in the goal's region; all, where none of any is.

    An estimate, of a network that was not seen fully, proves nothing: it counts beside others, or
    where nothing was seen fully.
    """
    every = [network for group in groups for network in group]
    kept = dict(zip(map(id, every), missed(every, problem) <= 0, strict=True))
    if not any(kept[id(network)] for network in closest(every)):
        return list(groups)
    return [[network for network in group if kept[id(network)]] for group in groups]


def front(networks: Sequence[Found], problem: Problem) -> list[Found]:
    """Those that no other beats in every objective, fastest first."""
    kept = nondominated(np.array([network.values for network in networks]) * problem.signs)
    return sorted(
        (network for network, keep in zip(networks, kept, strict=True) if keep),
        key=lambda network: (np.nan_to_num(network.latency_ms), network.loss),
    )


def winner(networks: Sequence[Found]) -> Found:
    """The best quality of what was seen most closely; everything evaluated is inside the budget."""
    return min(closest(networks), key=in_order)


def closest(networks: Sequence[Found]) -> list[Found]:
    """Those that were seen fully; where none was, those that were seen most closely."""
    full = [network for network in networks if network.is_full]
    most = max((network.count or 0 for network in networks), default=0)
    return full or [network for network in networks if network.count == most]


def most_closely(*groups: Sequence[Found]) -> list[Found]:
    """Each network once, as it was seen most closely by whichever group."""
    found: dict[Architecture, Found] = {}
    for network in (network for group in groups for network in group):
        other = found.get(network.architecture)
        if other is None or (network.count or 0) > (other.count or 0):
            found[network.architecture] = network
    return list(found.values())


def in_order(network: Found) -> tuple[float, float]:
    """By what networks are sorted, the best first: of equals in quality, the faster."""
    return network.loss, float(np.nan_to_num(network.latency_ms))
