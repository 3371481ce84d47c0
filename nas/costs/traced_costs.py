"""Costs of networks that a function builds: traced, and fitted where there are too many."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from latency import Device, Prediction
from nas.costs import extremes
from nas.costs.contract import Meter, Vector
from nas.costs.fixed_parts import FixedPart
from nas.costs.per_part import per_part_ms
from nas.costs.traces import Fitted, Traces
from search_spaces import Architecture, SearchSpace

MB = 1e6
# Of the search for extremes: rounds of neighbours; traced in each, and tried where some fail.
ROUNDS, TRACED, MOST_TRIED = 6, 3, 40


class TracedSizes:
    """What networks hold, where no device is: numbers as wide as they were built.

    Args:
        traces: of the networks.
    """

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self.sizes: Mapping[str, Meter] = {
            "parameters_count": Fitted(traces, lambda w: float(w.parameters or 0)),
            "memory_mb": Fitted(traces, lambda w: (w.weight_bytes + w.peak_bytes) / MB),
            "flops_count": Fitted(traces, lambda w: float(w.flops)),
        }

    @property
    def space(self) -> SearchSpace:
        """Whose architectures are meant."""
        return self.traces.space


class TracedCosts:
    """Latency, parameters, memory and FLOPs of every architecture on one device.

    Args:
        traces: of the networks.
        device: that knows what operations cost.

    Raises:
        InputError: it does not.
    """

    published_parts: tuple[FixedPart, ...] = ()

    def __init__(self, traces: Traces, device: Device) -> None:
        self.traces = traces
        self.device = device
        device.predict(traces.workload(traces.fitted[0]))  # refused now, or never
        self._mean = Fitted(traces, lambda workload: device.predict(workload).latency_ms)
        self._upper = Fitted(traces, lambda workload: device.predict(workload).high_ms)
        self.sizes: Mapping[str, Meter] = {
            **TracedSizes(traces).sizes,
            "memory_mb": Fitted(traces, device.memory_mb),
        }

    @property
    def space(self) -> SearchSpace:
        """Whose architectures are meant."""
        return self.traces.space

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One call of each network, (n,)."""
        return self._mean(architectures)

    def upper_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """The upper bound of each, (n,)."""
        return self._upper(architectures)

    def network_ms(self, architecture: Architecture) -> Prediction:
        """One call, with bounds."""
        return self.device.predict(self.traces.workload(architecture))

    def per_choice_ms(self, architecture: Architecture) -> Mapping[str, float]:
        """What each choice's option adds, where the workload has it as a part of its own."""
        return per_part_ms(self.device, self.traces.workload(architecture))

    @property
    def error_pct(self) -> float:
        """How far the fit of latencies is off for networks that were not traced, in %."""
        return self._mean.error_pct

    @cached_property
    def fastest(self) -> Architecture:
        """The architecture of the lowest predicted latency that was found; traced."""
        return self._settled(1.0)

    @cached_property
    def slowest(self) -> Architecture:
        """The architecture of the highest predicted latency that was found; traced."""
        return self._settled(-1.0)

    @property
    def doubts(self) -> Sequence[str]:
        """How far the fit is off."""
        if not self.error_pct:
            return ()
        said = (
            f"networks that are not traced are guessed on {self.device.name}, off by "
            f"{self.error_pct:.1f}% on average; what is evaluated is traced"
        )
        return [said]

    def describe(self, architecture: Architecture) -> str:
        """A network in a few words."""
        return str(architecture)

    def _settled(self, sign: float) -> Architecture:
        """The extreme of what was traced: to begin with, of what the fit takes for one, and near.

        What the fit takes for extreme is traced, and then what it takes for the best of the
        neighbours, for as long as that is better.
        """

        def cost(architecture: Architecture) -> float:
            return sign * self._mean.exact(architecture)

        begin = self._built(extremes.looked_at(self.space), sign)
        best = min([*self.traces.fitted, *begin], key=cost)
        for _ in range(ROUNDS):
            nearer = min([best, *self._built(list(self.space.neighbours(best)), sign)], key=cost)
            if nearer == best:
                break
            best = nearer
        return best

    def _built(self, some: Sequence[Architecture], sign: float) -> list[Architecture]:
        """The few that the fit takes for most extreme, of those that can be built; traced."""
        if not some:
            return []
        order = np.argsort(sign * self.latencies_ms(some), kind="stable").tolist()
        able = (some[place] for place in order[:MOST_TRIED] if self.traces.settle(some[place]))
        return list(itertools.islice(able, TRACED))
