"""What a search found, in the words of people: losses, latencies, the front and the winner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nas.costs.limits import QUALITY, Limits
from nas.problem.pareto import nondominated
from nas.problem.problem import Problem
from nas.study.study import Evaluated
from search_spaces import Architecture

Origin = Literal["search", "random", "uniform"]


@dataclass(frozen=True)
class Found:
    """An evaluated network."""

    trial: int | None  # in the study of its origin; a uniform layout is in none
    architecture: Architecture
    loss: float  # validation loss
    latency_ms: float  # of the pipeline on the main device
    values: tuple[float, ...]  # of all objectives, in their order; each is minimised
    origin: Origin = "search"  # who proposed it


def found(
    evaluated: Sequence[Evaluated], problem: Problem, limits: Limits, origin: Origin = "search"
) -> list[Found]:
    """Trials with what people ask of them first."""
    if not evaluated:
        return []
    place = [objective.name for objective in problem.objectives].index(QUALITY)
    latencies_ms = limits.pipelines_ms([e.architecture for e in evaluated], limits.targets[0])
    return [
        Found(each.trial, each.architecture, each.values[place], latency_ms, each.values, origin)
        for each, latency_ms in zip(evaluated, latencies_ms.tolist(), strict=True)
    ]


def front(networks: Sequence[Found]) -> list[Found]:
    """Those that no other beats in every objective, fastest first."""
    kept = nondominated(np.array([network.values for network in networks]))
    return sorted(
        (network for network, keep in zip(networks, kept, strict=True) if keep),
        key=lambda network: (network.latency_ms, network.loss),
    )


def curve(networks: Sequence[Found]) -> list[Found]:
    """The front of loss against latency alone, fastest first."""
    kept = nondominated(np.array([(network.loss, network.latency_ms) for network in networks]))
    return sorted(
        (network for network, keep in zip(networks, kept, strict=True) if keep),
        key=lambda network: network.latency_ms,
    )


def winner(networks: Sequence[Found]) -> Found:
    """The best quality; everything evaluated is inside the budget."""
    return min(networks, key=lambda network: (network.loss, network.latency_ms))
