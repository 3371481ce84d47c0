"""Cost models of a space on a device, as the pipeline asks them, whoever prices the networks.

block_costs     blocks of a U-Net, which add
named_costs     options by name, of a device that was calibrated on a table
traced_costs    networks that a function builds, traced
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latency import Device, Prediction
from nas.costs.fixed_parts import FixedPart
from search_spaces import Architecture, SearchSpace

Vector = npt.NDArray[np.float64]
Meter = Callable[[Sequence[Architecture]], Vector]


class Sized(Protocol):
    """What networks hold, whatever they run on."""

    @property
    def space(self) -> SearchSpace:
        """Whose architectures are meant."""

    @property
    def sizes(self) -> Mapping[str, Meter]:
        """What is known of n architectures, (n,), by its name as an objective.

        `parameters_count`, `memory_mb`, `flops_count`: those that this one knows.
        """


class Costs(Sized, Protocol):
    """What networks cost on one device: known of all of them before any is evaluated."""

    @property
    def device(self) -> Device:
        """Where they run."""

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One call of each network, (n,)."""

    def upper_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """The upper bound of each, (n,)."""

    def network_ms(self, architecture: Architecture) -> Prediction:
        """One call, with bounds."""

    def per_choice_ms(self, architecture: Architecture) -> Mapping[str, float]:
        """What the options of choices add to a call, of those whose costs are told apart."""

    @property
    def fastest(self) -> Architecture:
        """The architecture of the lowest predicted latency."""

    @property
    def slowest(self) -> Architecture:
        """The architecture of the highest predicted latency."""

    @property
    def doubts(self) -> Sequence[str]:
        """What of the latencies is a guess, in lines for people."""

    @property
    def published_parts(self) -> tuple[FixedPart, ...]:
        """What is published to run beside such a network, once a pass of the pipeline."""

    def describe(self, architecture: Architecture) -> str:
        """A network in a few words."""
