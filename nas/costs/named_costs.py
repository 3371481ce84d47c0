"""Costs of options by name, on a device that was calibrated on a table of the space's choices."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from latency import Device, EncodedPredictor, Prediction, from_choices
from nas.costs import extremes
from nas.costs.contract import Meter, Vector
from nas.costs.fixed_parts import FixedPart
from search_spaces import Architecture, Choice, InputError, SearchSpace, encode, feature_names

MOST_SAID = 5


class NamedCosts:
    """Latency of every architecture of a space whose options have names alone.

    Args:
        space: the architectures.
        device: that knows the space's choices by name.

    Raises:
        InputError: the device knows other choices than the space has.
    """

    sizes: Mapping[str, Meter] = {}  # nobody knows what such networks hold
    published_parts: tuple[FixedPart, ...] = ()

    def __init__(self, space: SearchSpace, device: Device) -> None:
        self.space = space
        self.device = device
        names = [choice.name for choice in space.choices]
        if sorted(names) != sorted(device.choices):
            raise InputError(
                f"device {device.name!r} was calibrated on a table of "
                f"{', '.join(device.choices)}, and space {space.name!r} decides "
                f"{', '.join(names)}; calibrate one on a table of this space"
            )
        self._predictor = EncodedPredictor.of_choices(device, space)

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One call of each network, (n,)."""
        return self._predicted(architectures)[0]

    def upper_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """The upper bound of each, (n,)."""
        return self._predicted(architectures)[2]

    def network_ms(self, architecture: Architecture) -> Prediction:
        """One call, with bounds."""
        return Prediction(*(float(each[0]) for each in self._predicted([architecture])))

    def per_choice_ms(self, architecture: Architecture) -> Mapping[str, float]:
        """What each choice's option adds to the network with the quickest option there instead.

        Whole networks tell differences between options apart, and no more.
        """
        encoded = encode(self.space, [architecture])[0]
        decided = self.space.assigned(architecture)
        found = {}
        for choice in self.space.choices:
            if isinstance(choice, Choice) and choice.name in decided:
                columns = [self._column[f"{choice.name}={option}"] for option in choice.options]
                others = np.tile(encoded, (len(columns), 1))
                others[:, columns] = np.eye(len(columns))
                latency_ms = self._predictor.predict(others)[0]
                place = choice.options.index(decided[choice.name])
                found[choice.name] = float(latency_ms[place] - latency_ms.min())
        return found

    @cached_property
    def _column(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(feature_names(self.space))}

    @cached_property
    def fastest(self) -> Architecture:
        """The architecture of the lowest predicted latency that was found."""
        return extremes.least(self.space, self.latencies_ms)

    @cached_property
    def slowest(self) -> Architecture:
        """The architecture of the highest predicted latency that was found."""
        return extremes.least(self.space, lambda some: -self.latencies_ms(some))

    @property
    def unmeasured(self) -> list[str]:
        """Options of the space that the device never met, as `choice=option`."""
        options = [
            from_choices("", [(choice.name, option)])
            for choice in self.space.choices
            if isinstance(choice, Choice)
            for option in choice.options
        ]
        return self.device.unmeasured_options(options)

    @property
    def doubts(self) -> Sequence[str]:
        """Options that were never measured."""
        never = self.unmeasured
        if not never:
            return ()
        more = " ..." if never[MOST_SAID:] else ""
        said = (
            f"{self.device.name} never measured {', '.join(never[:MOST_SAID])}{more}: networks "
            "with these are guessed; measure some"
        )
        return [said]

    def describe(self, architecture: Architecture) -> str:
        """A network in a few words."""
        return str(architecture)

    def _predicted(self, architectures: Sequence[Architecture]) -> tuple[Vector, Vector, Vector]:
        found = self._predictor.predict(encode(self.space, architectures))
        latency_ms, low_ms, high_ms = (np.asarray(each, dtype=np.float64) for each in found)
        return latency_ms, low_ms, high_ms
