"""Strided layouts: compose a chain of reshapes and transposes, and factor it into the fewest.

A layout is the source's flat index in mixed-radix digits: pieces of (size, stride), slowest first,
in the order of the result. Reshapes split and coalesce pieces, transposes reorder them, dimensions
of 1 are no pieces at all; so a chain of any length is one layout, which is written out anew.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_AXES = 5  # Core ML refuses a sixth
LONGEST_AXIS = 65_536  # what is longer leaves the Neural Engine
Shape = tuple[int, ...]
Piece = tuple[int, int]  # size, stride in the source


@dataclass(frozen=True)
class Step:
    """A reshape to `sizes`, or a transpose whose result's axis i is the axis sizes[i] before."""

    transposes: bool
    sizes: Shape

    @property
    def is_long(self) -> bool:
        """Whether it makes an axis that the Neural Engine does not take."""
        return not self.transposes and max(self.sizes, default=1) > LONGEST_AXIS


@dataclass(frozen=True)
class Layout:
    """How a tensor of shape `shape` holds the numbers of one of shape `source`."""

    source: Shape
    pieces: tuple[Piece, ...]  # no two neighbours that could be one
    shape: Shape

    @staticmethod
    def of(source: Sequence[int]) -> "Layout":
        """The identity layout of a tensor."""
        source = tuple(source)
        return Layout(source, _coalesced(_digits(source)), source)

    def reshaped(self, shape: Sequence[int]) -> "Layout | None":
        """Compose with a reshape; None where that cuts through a transposed axis."""
        shape = tuple(shape)
        if 0 in shape or _split_by_axes(self.pieces, shape) is None:
            return None
        return Layout(self.source, self.pieces, shape)

    def transposed(self, order: Sequence[int]) -> "Layout":
        """Compose with a transpose to another order of axes."""
        cut = _split_by_axes(self.pieces, self.shape)
        assert cut is not None, "a layout's shape fits its pieces"
        pieces = _coalesced(piece for axis in order for piece in cut[axis])
        return Layout(self.source, pieces, tuple(self.shape[axis] for axis in order))

    def steps(self) -> tuple[Step, ...] | None:
        """Factor into the fewest reshapes and transposes; None if they need a rank of 6.

        A transpose asks that each axis lies within one piece. Where the source's axes do, it comes
        first, where the result's do, it comes last; else it needs a reshape on either side.
        """
        order = sorted(self.pieces, key=lambda piece: -piece[1])
        if order == list(self.pieces):
            return () if self.shape == self.source else (Step(False, self.shape),)
        found = [steps for steps in (self._transpose_first(), self._transpose_last()) if steps]
        if found:
            return min(found, key=_cost)
        return self._transpose_between()

    def _transpose_first(self) -> tuple[Step, ...] | None:
        """Factor into a transpose of the source, and what reshape is left."""
        if len(self.source) > MOST_AXES:
            return None
        strides = _strides(self.source)
        axes = [axis for axis, size in enumerate(self.source) if size > 1]
        pieces_of = {a: _containing_piece(self.pieces, self.source[a], strides[a]) for a in axes}
        if None in pieces_of.values():
            return None
        axes.sort(key=lambda axis: (pieces_of[axis], axis))
        units = iter([axis for axis, size in enumerate(self.source) if size == 1])
        moved = [self.source[axis] for axis in axes]
        same = moved == [size for size in self.shape if size > 1]
        if same and len(self.shape) == len(self.source):
            kept = iter(axes)
            turn = tuple(next(units) if size == 1 else next(kept) for size in self.shape)
            return (Step(True, turn),)
        turn = (*units, *axes)
        return (Step(True, turn), Step(False, self.shape))

    def _transpose_last(self) -> tuple[Step, ...] | None:
        """Factor into a reshape of the source and a transpose: the above, seen from the result."""
        back = self._inverse()
        found = back._transpose_first()  # noqa: SLF001
        if found is None:
            return None
        turn = found[0].sizes
        before = tuple(back.source[axis] for axis in turn)
        undone = tuple(turn.index(axis) for axis in range(len(turn)))
        reshape = () if before == self.source else (Step(False, before),)
        return (*reshape, Step(True, undone))

    def _inverse(self) -> "Layout":
        """Invert: from the result back to the source."""
        strides = _strides([size for size, _ in self.pieces])
        back = {stride: (size, to) for (size, stride), to in zip(self.pieces, strides, strict=True)}
        pieces = (back[stride] for stride in sorted(back, reverse=True))
        return Layout(self.shape, tuple(pieces), self.source)

    def _transpose_between(self) -> tuple[Step, ...] | None:
        pieces = self.pieces
        if max(size for size, _ in pieces) > LONGEST_AXIS:
            pieces = self._shortened()
        if len(pieces) > MOST_AXES:
            return None
        before = sorted(pieces, key=lambda piece: -piece[1])
        turn = tuple(before.index(piece) for piece in pieces)
        reshape = Step(False, tuple(size for size, _ in before))
        return (reshape, Step(True, turn), Step(False, self.shape))

    def _shortened(self) -> tuple[Piece, ...]:
        """Pieces that are too long, cut where the result's axes end, if the rank allows it."""
        cut = _split_by_axes(self.pieces, self.shape)
        assert cut is not None, "a layout's shape fits its pieces"
        finer = _coalesced((piece for axis in cut for piece in axis), LONGEST_AXIS)
        return finer if len(finer) <= MOST_AXES else self.pieces


def _digits(shape: Shape) -> Iterator[Piece]:
    return (
        piece for piece in zip(shape, _strides(shape), strict=True) if piece[0] != 1
    )  # a dimension of 1 holds no digit


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _coalesced(pieces: Iterator[Piece], longest: float = math.inf) -> tuple[Piece, ...]:
    """Coalesce neighbours that follow one another in the source, if that is not too long."""
    found: list[Piece] = []
    for size, stride in pieces:
        follows = found and found[-1][1] == size * stride
        if follows and found[-1][0] * size <= longest:
            found[-1] = (found[-1][0] * size, stride)
        else:
            found.append((size, stride))
    return tuple(found)


def _split_by_axes(pieces: Sequence[Piece], shape: Shape) -> list[list[Piece]] | None:
    """Split pieces where the axes of a shape end; None where they do not divide."""
    left = list(reversed(pieces))
    axes = []
    for length in shape:
        held: list[Piece] = []
        wanted = length
        while wanted > 1:
            if not left:
                return None
            size, stride = left.pop()
            if wanted % size and size % wanted:
                return None
            taken = min(size, wanted)
            held.append((taken, stride * (size // taken)))
            if size > taken:
                left.append((size // taken, stride))
            wanted //= taken
        axes.append(held)
    return None if left else axes


def _containing_piece(pieces: Sequence[Piece], size: int, stride: int) -> int | None:
    """Find the piece that an axis of the source lies in as a whole."""
    for index, (length, step) in enumerate(pieces):
        if step <= stride and size * stride <= length * step:
            return index
    return None


def _cost(steps: Sequence[Step]) -> tuple[int, int]:
    """How many, and the rank of the transpose."""
    return len(steps), max(len(step.sizes) for step in steps if step.transposes)
