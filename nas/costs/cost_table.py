"""Costs of many architectures at once: a number for each slot and block, added by index.

Exactly the sums of `BlockCosts`, in the same order, so that one network and a thousand agree.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from latency import Device, Workload
from latency.measurement.validation import SHORTEST_MS
from latency.predictor.device import MB
from latency.regression.linear_model import Row
from search_spaces import Architecture, Choice, TemporalSpace
from search_spaces.space.integer_encoding import IntegerEncoder

Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class BlockIndex:
    """Which block stands in which slot, as numbers: the order of `TemporalSpace.blocks`."""

    def __init__(self, space: TemporalSpace) -> None:
        self._coder = IntegerEncoder(space)
        self._slots = [slot.name for slot in space.slots]
        place = {choice.name: index for index, choice in enumerate(space.choices)}
        settings = {s.name: s.options for o in space.operators for s in o.settings}
        self._places = [
            [place[slot], *(place[f"{slot}.{name}"] for name in settings)] for slot in self._slots
        ]
        # One place for each operator and each option of a setting, the first of them for none.
        shape = [len(space.operators), *(len(options) + 1 for options in settings.values())]
        self._numbers = np.full(shape, -1, dtype=np.intp)
        for number, block in enumerate(space.blocks()):
            decided = dict(block.settings)
            at = [
                options.index(decided[name]) + 1 if name in decided else 0
                for name, options in settings.items()
            ]
            self._numbers[(space.operators.index(block.operator), *at)] = number
        assert all(isinstance(space.choices[p], Choice) for places in self._places for p in places)

    def of(self, architectures: Sequence[Architecture]) -> Indices:
        """(n, slots) of n architectures."""
        codes = self._coder.codes(architectures).astype(np.intp)
        found = np.empty((len(architectures), len(self._slots)), dtype=np.intp)
        for slot, (operator, *settings) in enumerate(self._places):
            at = (codes[:, operator], *(codes[:, place] + 1 for place in settings))
            found[:, slot] = self._numbers[at]
        return found


class CostTable:
    """What every block costs in every slot of one space on one device.

    Args:
        space: its slots and blocks.
        device: for its memory.
        image_ms: the image U-Net alone.
        image: its workload and its parameters.
        part: by slot and block, what the block adds in ms, its workload and its parameters.
        image_row: of the device's linear model, for bounds; as `row` has them of a block.
        row: by slot and block.

    Attributes:
        index: which block an architecture has in which slot.
        ms: (slots, blocks), what each adds to a call.
        parameter_counts: (slots, blocks).
        weights_mb: (slots, blocks).
        peaks_mb: (slots, blocks), of which the largest of a network's adds to the image U-Net's.
    """

    def __init__(
        self,
        space: TemporalSpace,
        device: Device,
        image_ms: float,
        image: tuple[Workload, int],
        part: Callable[[str, str], tuple[float, Workload | None, int]],
        image_row: Row,
        row: Callable[[str, str], Row],
    ) -> None:
        self.index = BlockIndex(space)
        self._device, self._image_row = device, image_row
        self._rows = np.array([[row(s.name, str(b)) for b in space.blocks()] for s in space.slots])
        self.image_ms, (workload, self.image_parameters) = image_ms, image
        parts = [[part(slot.name, str(block)) for block in space.blocks()] for slot in space.slots]
        # A number of the device over a number as it was traced; of all parts the widest decides.
        held = [w for slot in parts for _, w, _ in slot if w] + [workload]
        widest = max(each.number_bytes for each in held)
        wanted = (device.analytical and device.analytical.number_bytes) or widest
        scale = wanted / widest / MB
        self.image_mb = (workload.weight_bytes + workload.peak_bytes) * scale
        self.ms = np.array([[ms for ms, _, _ in slot] for slot in parts])
        self.parameter_counts = np.array([[float(count) for _, _, count in s] for s in parts])
        self.weights_mb = scale * np.array(
            [[w.weight_bytes if w else 0 for _, w, _ in s] for s in parts]
        )
        self.peaks_mb = scale * np.array(
            [[w.peak_bytes if w else 0 for _, w, _ in s] for s in parts]
        )

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One forward pass over one clip, (n,)."""
        return self.latencies_of(self.index.of(architectures))

    def latencies_of(self, blocks: Indices) -> Vector:
        """The same by the number of each slot's block, (n, slots)."""
        total = np.full(len(blocks), self.image_ms)
        for costs_ms, chosen in zip(self.ms, blocks.T, strict=True):
            total += costs_ms[chosen]
        return np.asarray(np.maximum(total, SHORTEST_MS))

    def upper_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """The upper bound of each latency, (n,)."""
        blocks = self.index.of(architectures)
        rows = np.tile(self._image_row, (len(blocks), 1))
        for of_slot, chosen in zip(self._rows, blocks.T, strict=True):
            rows += of_slot[chosen]
        return np.asarray(self._device.bounds_of(rows)[2])

    def parameters(self, architectures: Sequence[Architecture]) -> Vector:
        """How many numbers each network holds, (n,)."""
        return self.parameters_of(self.index.of(architectures))

    def parameters_of(self, blocks: Indices) -> Vector:
        """The same by the number of each slot's block, (n, slots)."""
        return self._summed(self.parameter_counts, blocks) + self.image_parameters

    def memories_mb(self, architectures: Sequence[Architecture]) -> Vector:
        """Weights and peak activations in MB (1e6 bytes), (n,); see `latency.concatenate`."""
        return self.memories_of(self.index.of(architectures))

    def memories_of(self, blocks: Indices) -> Vector:
        """The same by the number of each slot's block, (n, slots)."""
        largest = np.zeros(len(blocks))
        for peaks_mb, chosen in zip(self.peaks_mb, blocks.T, strict=True):
            np.maximum(largest, peaks_mb[chosen], out=largest)
        return self._summed(self.weights_mb, blocks) + largest + self.image_mb

    def _summed(self, costs: Vector, blocks: Indices) -> Vector:
        total = np.zeros(len(blocks))
        for of_slot, chosen in zip(costs, blocks.T, strict=True):
            total += of_slot[chosen]
        return total
