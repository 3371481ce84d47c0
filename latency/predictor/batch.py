"""Batch prediction: latency of one-hot encoded architectures by one matrix product, millions a s.

A linear model's rows add over the parts of a network, so the rows of all options stand in one
matrix, and the encoding of `search_spaces.encode` says which of them a network has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latency.predictor.device import Device
from latency.workload.workload import Workload, from_choices
from search_spaces import InputError, NumericChoice, SearchSpace, feature_names

Vector = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]

CHUNK = 8192  # networks at a time: their rows stay in the cache


@dataclass(frozen=True)
class EncodedPredictor:
    """Predict a device's latency of the one-hot encoded architectures of one space."""

    device: Device
    constant: Vector  # (2 + directions,)
    rows: Matrix  # (columns of the encoding, 2 + directions)
    interactions: Matrix | None  # (columns, columns): ms where both stand; upper triangle
    # Of each edge of a graph that may be absent: the column that says so, and the edge's others.
    edges: tuple[tuple[int, tuple[int, ...]], ...] = ()

    @staticmethod
    def of(
        device: Device, parts: Sequence[Workload | None], always: Sequence[Workload] = ()
    ) -> "EncodedPredictor":
        """Compile a device for columns that each say whether a part stands (None: costs nothing).

        `always` are parts that every network has, as the image U-Net.
        """
        for part in (*parts, *always):
            if part is not None:
                device.check_known(part)
        constant = device.model.intercept + sum(device.part_row(part) for part in always)
        rows = np.stack(
            [device.part_row(part) if part else np.zeros_like(constant) for part in parts]
        )
        names = [part.name if part else "" for part in parts]
        place = {name: index for index, name in enumerate(names)}
        interactions = np.zeros((len(parts), len(parts)), dtype=np.float32)
        for (one, other), ms in device.model.pairs.items():
            if one in place and other in place:
                low, high = sorted((place[one], place[other]))
                interactions[low, high] = ms
        return EncodedPredictor(
            device,
            constant.astype(np.float32),
            rows.astype(np.float32),
            interactions if interactions.any() else None,
        )

    @staticmethod
    def of_choices(device: Device, space: SearchSpace) -> "EncodedPredictor":
        """Compile a device for a tabular space, whose options have names alone.

        Edges of a graph that are off every path, of which an encoding says nothing, are absent.
        """
        found = EncodedPredictor.of(device, list(_option_parts(space)))
        constant, rows = found.constant.copy(), found.rows.copy()
        index = 0
        for choice in space.choices:
            if isinstance(choice, NumericChoice):  # encoded as a share of its range
                low, extent = choice.low, choice.high - choice.low
                constant += rows[index] * _powers(low, len(constant))
                rows[index] *= _powers(extent, len(constant))
                index += 1
            else:
                index += len(choice.options)
        return EncodedPredictor(device, constant, rows, found.interactions, tuple(_edges(space)))

    def predict(self, encoded: Matrix) -> tuple[Vector, Vector, Vector]:
        """Predict (latency_ms, low_ms, high_ms) of (networks, columns), each (networks,)."""
        encoded = np.asarray(encoded)
        if encoded.ndim != 2 or encoded.shape[1] != len(self.rows):
            raise InputError(
                f"encoded architectures of shape {encoded.shape}; expected {len(self.rows)} columns"
            )
        found = np.empty((3, len(encoded)), dtype=np.float32)
        for begin in range(0, len(encoded), CHUNK):
            rows = slice(begin, begin + CHUNK)
            found[:, rows] = self._chunk(np.asarray(encoded[rows], dtype=np.float32))
        return found[0], found[1], found[2]

    def _chunk(self, encoded: Matrix) -> Matrix:
        if self.edges:
            encoded = encoded.copy()
        for absent, others in self.edges:
            encoded[:, absent] = 1.0 - encoded[:, others].sum(axis=1)
        total = encoded @ self.rows
        total += self.constant
        if self.interactions is not None:
            total[:, 0] += np.einsum("nc,nc->n", encoded @ self.interactions, encoded)
        return np.stack(self.device.bounds_of(total)).astype(np.float32)


def _powers(factor: float, length: int) -> Vector:
    """What a row is multiplied by for so many of a part: its last number is a variance."""
    powers = np.full(length, factor, dtype=np.float32)
    powers[-1] = factor**2
    return powers


def _edges(space: SearchSpace) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Where the columns of each edge stand that may be absent: that one, and the others."""
    place = {name: index for index, name in enumerate(feature_names(space))}
    absent = {name: graph.absent for graph in space.graphs for name in graph.choices}
    for choice in space.choices:
        gone = [o for o in getattr(choice, "options", ()) if o in absent.get(choice.name, ())]
        if gone:
            columns = {o: place[f"{choice.name}={o}"] for o in getattr(choice, "options", ())}
            yield columns[gone[0]], tuple(at for o, at in columns.items() if o != gone[0])


def _option_parts(space: SearchSpace) -> Iterator[Workload]:
    """The parts that the columns of `search_spaces.encode` stand for, in their order."""
    for choice in space.choices:
        if isinstance(choice, NumericChoice):
            yield from from_choices("", [(choice.name, 1)], {choice.name}).parts
        else:
            for option in choice.options:
                yield from from_choices("", [(choice.name, option)]).parts
