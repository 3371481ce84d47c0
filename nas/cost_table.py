"""Costs of many architectures at once: a number for each slot and block, added by index.

Exactly the sums of `Costs`, in the same order, so that one network and a thousand agree.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from latency import Device, Workload
from latency.device import MB
from latency.validation import SHORTEST_MS
from search_spaces import Architecture, Choice, TemporalSpace
from search_spaces.codes import Coder

Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class BlockIndex:
    """Which block stands in which slot, as numbers: the order of `TemporalSpace.blocks`."""

    def __init__(self, space: TemporalSpace) -> None:
        self._coder = Coder(space)
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
    """

    def __init__(
        self,
        space: TemporalSpace,
        device: Device,
        image_ms: float,
        image: tuple[Workload, int],
        part: Callable[[str, str], tuple[float, Workload | None, int]],
    ) -> None:
        self._index = BlockIndex(space)
        self._device = device
        self._image_ms, (self._image, self._image_parameters) = image_ms, image
        self._parts = [
            [part(slot.name, str(block)) for block in space.blocks()] for slot in space.slots
        ]

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One forward pass over one clip, (n,)."""
        total = np.full(len(architectures), self._image_ms)
        for slot, blocks in enumerate(self._index.of(architectures).T):
            total = total + self._ms[slot, blocks]
        return np.asarray(np.maximum(total, SHORTEST_MS))

    def parameters(self, architectures: Sequence[Architecture]) -> Vector:
        """How many numbers each network holds, (n,)."""
        return np.asarray(self._image_parameters + self._summed(self._parameters, architectures))

    def memories_mb(self, architectures: Sequence[Architecture]) -> Vector:
        """Weights and peak activations in MB (1e6 bytes), (n,); see `latency.concatenate`."""
        image, indices = self._image, self._index.of(architectures)
        weights = image.weight_bytes + self._summed(self._weight_bytes, architectures)
        peaks = image.peak_bytes + self._largest(self._peak_bytes, indices)
        widths = np.maximum(image.number_bytes, self._largest(self._number_bytes, indices))
        physical = self._device.physical
        wanted = physical.number_bytes if physical and physical.number_bytes else widths
        return np.asarray((weights + peaks) * (wanted / widths) / MB)

    def _summed(self, table: Vector, architectures: Sequence[Architecture]) -> Vector:
        indices = self._index.of(architectures)
        return np.asarray(table[np.arange(len(table)), indices].sum(axis=1))

    def _largest(self, table: Vector, indices: Indices) -> Vector:
        return np.asarray(table[np.arange(len(table)), indices].max(axis=1))

    @cached_property
    def _ms(self) -> Vector:
        return np.array([[ms for ms, _, _ in slot] for slot in self._parts])

    @cached_property
    def _parameters(self) -> Vector:
        return np.array([[float(count) for _, _, count in slot] for slot in self._parts])

    @cached_property
    def _weight_bytes(self) -> Vector:
        return np.array([[w.weight_bytes if w else 0.0 for _, w, _ in s] for s in self._parts])

    @cached_property
    def _peak_bytes(self) -> Vector:
        return np.array([[w.peak_bytes if w else 0.0 for _, w, _ in s] for s in self._parts])

    @cached_property
    def _number_bytes(self) -> Vector:
        return np.array([[w.number_bytes if w else 0.0 for _, w, _ in s] for s in self._parts])
