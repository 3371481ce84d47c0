"""Budgets: the limits that a winner must keep."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from nas.costs import Costs, layout
from search_spaces import Architecture, InputError

TRIES = 2000  # draws in search of a network that keeps all limits


@dataclass(frozen=True)
class Budget:
    """Limits as a person gives them; None where there is none.

    `latency` is in ms for the whole pipeline ("4120") or a share of the slowest network's ("60%").
    """

    latency: str | None = "60%"
    parameters: int | None = None
    memory_mb: float | None = None
    steps: int = 4
    fixed_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.latency is not None:
            value, _ = _parse(self.latency)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"latency budget {self.latency!r} is not positive")
        if self.steps < 1:
            raise InputError(f"steps must be at least 1; found {self.steps}")
        if not (math.isfinite(self.fixed_ms) and self.fixed_ms >= 0):
            raise InputError(f"fixed parts of the pipeline cannot take {self.fixed_ms} ms")
        for name in ("parameters", "memory_mb"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"{name.replace('_', ' ')} budget {limit} is not positive")


@dataclass(frozen=True)
class Limits:
    """A budget on one device, in numbers, and what architectures use of it."""

    costs: Costs
    budget: Budget
    latency_ms: float  # of the pipeline; infinite where there is no limit

    def pipeline_ms(self, architecture: Architecture) -> float:
        """All denoising steps and the fixed parts."""
        network_ms = self.costs.network_ms(architecture).latency_ms
        return self.budget.steps * network_ms + self.budget.fixed_ms

    def excess(self, architecture: Architecture) -> dict[str, float]:
        """By how much each limit is passed: positive is over it, in the limit's own unit."""
        found = {}
        if math.isfinite(self.latency_ms):
            found["latency_ms"] = self.pipeline_ms(architecture) - self.latency_ms
        if self.budget.parameters is not None:
            found["parameters"] = float(
                self.costs.parameters(architecture) - self.budget.parameters
            )
        if self.budget.memory_mb is not None:
            found["memory_mb"] = self.costs.memory_mb(architecture) - self.budget.memory_mb
        return found

    @property
    def too_large(self) -> list[str]:
        """Blocks whose memory alone passes the limit, so that no network with them is proposed."""
        limit_mb = self.budget.memory_mb
        return [] if limit_mb is None else self.costs.too_large(limit_mb)

    def keeps(self, architecture: Architecture) -> bool:
        """Whether an architecture is inside every limit."""
        return all(excess <= 0 for excess in self.excess(architecture).values())


def resolve(budget: Budget, costs: Costs) -> Limits:
    """A budget's limits on a device; the device's own memory limit is one of them.

    Raises:
        InputError: not even the network that uses least of a limit keeps it.
    """
    given_mb, device_mb = budget.memory_mb, costs.device.memory_limit_mb
    if device_mb is not None:
        given_mb = device_mb if given_mb is None else min(given_mb, device_mb)
    budget = replace(budget, memory_mb=given_mb)
    latency_ms = math.inf
    if budget.latency is not None:
        value, is_share = _parse(budget.latency)
        whole = Limits(costs, budget, math.inf)
        latency_ms = value * whole.pipeline_ms(costs.slowest) if is_share else value
    limits = Limits(costs, budget, latency_ms)
    fastest_ms = limits.pipeline_ms(costs.fastest)
    if fastest_ms > latency_ms:
        raise InputError(
            f"the latency budget of {latency_ms:.4g} ms is below the fastest network: "
            f"{describe(costs, costs.fastest)} takes {fastest_ms:.4g} ms "
            f"({budget.steps} steps) on {costs.device.name}; raise --latency-ms"
        )
    smallest = costs.smallest
    for name in ("parameters", "memory_mb"):
        excess = limits.excess(smallest).get(name, 0.0)
        if excess > 0:
            raise InputError(
                f"the {name} budget is passed by {excess:.4g} by the smallest network, "
                f"{describe(costs, smallest)}; raise it"
            )
    rng = np.random.default_rng(0)
    drawn = (costs.space.sample(rng) for _ in range(TRIES))
    if not any(limits.keeps(a) for a in itertools.chain((costs.fastest, smallest), drawn)):
        raise InputError(
            f"no network keeps all budgets together: none of {TRIES} at random, neither the "
            f"fastest ({describe(costs, costs.fastest)}) nor the smallest; raise one of them"
        )
    return limits


def describe(costs: Costs, architecture: Architecture) -> str:
    """A network in a few words: its slots that hold a block."""
    held = {s: b for s, b in layout(costs.space, architecture).items() if b != "none"}
    return " ".join(f"{s}={b}" for s, b in held.items()) or "the image network (no temporal block)"


def _parse(latency: str) -> tuple[float, bool]:
    """(number, whether it is a share of the slowest network's)."""
    text = latency.strip()
    is_share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise InputError(
            f"latency budget {latency!r}: expected ms, or a share of the slowest network's (60%)"
        ) from None
    return (value / 100, True) if is_share else (value, False)
