"""Graph pass: sink reshapes below the operations that commute with them, so that pairs cancel.

Work between two reshapes is then done in the shape before the first. A convolution over time reads
(clips, frames, channels, pixels); of one clip that is the shape of its images with two axes joined
and a 1 in front, and padding, slicing and adding need neither.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

from latency.graph_passes.fx_tools import RESHAPE, RESHAPES, insert_call, shape_of

aten = torch.ops.aten
POINTWISE = frozenset(
    {
        *(aten.silu.default, aten.relu.default, aten.gelu.default, aten.sigmoid.default),
        *(aten.tanh.default, aten.neg.default, aten.clone.default),
    }
)
BINARY = frozenset({aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor})
PAD, SLICE, CAT = aten.pad.default, aten.slice.Tensor, aten.cat.default
Groups = tuple[tuple[int, ...], ...]  # of each axis after a reshape, the axes before it


@dataclass(frozen=True)
class _Region:
    """The operations between a reshape and those that follow, and how axes correspond."""

    start: Node
    groups: Groups
    body: tuple[Node, ...]

    def rewrite(self, graph: Graph) -> None:
        """Compute the body in the shape before the reshape; those that follow read that."""
        source = self.start.args[0]
        assert isinstance(source, Node)
        new = {self.start: source}
        for node in self.body:
            arguments = self._arguments(graph, node, new)
            new[node] = insert_call(graph, node, node.target, *arguments, **node.kwargs)
        for node in (self.start, *self.body):
            for user in list(node.users):
                if user not in new:
                    user.replace_input_with(node, new[node])
        for node in reversed((self.start, *self.body)):
            graph.erase_node(node)

    def _arguments(self, graph: Graph, node: Node, new: dict[Node, Node]) -> tuple[Any, ...]:
        first, *others = node.args
        if node.target is CAT:
            assert isinstance(first, (list, tuple))
            return ([new[n] for n in first], self._axis(_axis_of(node)))  # type: ignore[index]
        if node.target is PAD:
            return (new[first], self._pads(node), *others[1:])  # type: ignore[index]
        if node.target is SLICE:
            return (new[first], self._axis(_axis_of(node)), *others[1:])  # type: ignore[index]
        shape = shape_of(new[next(n for n in node.all_input_nodes if n in new)])
        return tuple(self._operand(graph, node, given, new, shape) for given in node.args)

    def _operand(
        self, graph: Graph, node: Node, given: Any, new: dict[Node, Node], shape: tuple[int, ...]
    ) -> Any:
        """An argument of a pointwise operation; a constant's axes are those of its result."""
        if not isinstance(given, Node) or given in new:
            return new.get(given, given) if isinstance(given, Node) else given
        sizes = shape_of(given)
        aligned = (1,) * (len(self.groups) - len(sizes)) + sizes
        before = [0] * len(shape)
        for size, axes in zip(aligned, self.groups, strict=True):
            for axis in axes:
                before[axis] = 1 if size == 1 else shape[axis]
        return insert_call(graph, node, RESHAPE, given, tuple(before))

    def _axis(self, axis: int) -> int:
        return self.groups[axis][0]

    def _pads(self, node: Node) -> list[int]:
        """Two numbers an axis, from the last axis on, as torch wants them."""
        rank = 1 + max(axis for axes in self.groups for axis in axes)
        pads = [(0, 0)] * rank
        for axis, sides in _padded(node).items():
            pads[self._axis(axis)] = sides
        return [number for sides in reversed(pads) for number in sides]


def sink_reshapes(graph: Graph, inputs: Container[str]) -> None:
    """Sink every reshape that can go; `inputs` name the program's inputs, the rest are weights."""
    computed = _computed_from_inputs(graph, inputs)
    for start in list(graph.nodes):
        if start.target in RESHAPES and start in computed and start.users:
            region = _region(start, computed)
            if region is not None:
                region.rewrite(graph)
                computed = _computed_from_inputs(graph, inputs)


def _computed_from_inputs(graph: Graph, inputs: Container[str]) -> set[Node]:
    """Find the nodes that depend on inputs; the rest are weights and constants."""
    computed: set[Node] = set()
    for node in graph.nodes:
        own = node.op == "placeholder" and node.name in inputs
        if own or any(n in computed for n in node.all_input_nodes):
            computed.add(node)
    return computed


def _region(start: Node, computed: set[Node]) -> _Region | None:
    """Collect what follows a reshape until other reshapes; None if anything else reads of it."""
    groups = _groups(shape_of(start.args[0]), shape_of(start))  # type: ignore[arg-type]
    if groups is None:
        return None
    inside, body = {start}, list[Node]()
    reached = {user for user in start.users if user.target not in RESHAPES}
    for node in _after(start):
        if node not in reached:
            continue
        held = all(n in inside or n not in computed for n in node.all_input_nodes)
        if not held or not _commutes_with_reshape(node, groups, inside):
            return None
        inside.add(node)
        body.append(node)
        reached |= {user for user in node.users if user.target not in RESHAPES}
    return _Region(start, groups, tuple(body)) if body else None


def _after(node: Node) -> Iterator[Node]:
    while node.op != "output":
        node = node.next
        yield node


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> Groups | None:
    """Which axes each axis joins, where a reshape only joins axes and adds or drops ones."""
    found, axis = [], 0
    for size in after:
        joined: list[int] = []
        product = 1
        while product < size and axis < len(before):
            joined.append(axis)
            product *= before[axis]
            axis += 1
        if product != size:
            return None
        found.append(tuple(joined))
    rest = tuple(range(axis, len(before)))
    return tuple(found) if not rest and all(n > 1 for n in before) else None


def _commutes_with_reshape(node: Node, groups: Groups, inside: set[Node]) -> bool:
    single = {axis for axis, axes in enumerate(groups) if len(axes) == 1}
    if node.target in POINTWISE:
        return True
    if node.target in BINARY:
        same = [n for n in node.all_input_nodes if n in inside]
        return all(shape_of(n) == shape_of(node) for n in same)
    if node.target is CAT:
        parts: Any = node.args[0]
        return all(n in inside for n in parts) and _axis_of(node) in single
    if node.target is SLICE:
        return _axis_of(node) in single
    if node.target is PAD:  # mirrors are for the last axes alone
        return "constant" in (*node.args, "constant")[2:3] and set(_padded(node)) <= single
    return False


def _axis_of(node: Node) -> int:
    """Of a concatenation or a slice, counted from the front."""
    axis: Any = node.args[1] if len(node.args) > 1 else 0
    return int(axis) % len(shape_of(node))


def _padded(node: Node) -> dict[int, tuple[int, int]]:
    """How many numbers are put before and behind each axis that is padded."""
    pads: Any = node.args[1]
    last = len(shape_of(node)) - 1
    sides = {last - i // 2: (pads[i], pads[i + 1]) for i in range(0, len(pads), 2)}
    return {axis: both for axis, both in sides.items() if any(both)}
