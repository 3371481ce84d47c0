"""Exported programs with the fewest reshapes and transposes, before Core ML is made of them.

Modules are written for any number of clips and with einops: exported at one clip, much of what
they say about shapes is said twice. Outputs stay equal, rank and count never grow.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export.graph_signature import TensorArgument
from torch.fx import Graph, Node

from latency.graph_passes.fx_tools import RESHAPE, RESHAPES, TRANSPOSES, call, shape_of
from latency.graph_passes.layout import LONGEST_AXIS, Layout, Step
from latency.graph_passes.sink_reshapes import lift

aten = torch.ops.aten
Layouts = dict[Node, Layout]  # of a node, seen from each node before it


def lean(program: Any) -> Any:
    """The program itself (torch.export's, decomposed, of fixed shapes), rewritten in place."""
    graph: Graph = program.graph_module.graph
    for node in graph.nodes:
        if node.target is aten._assert_tensor_metadata.default:  # noqa: SLF001
            graph.erase_node(node)  # torch.export's own check, which computes nothing
    _spell_group_norms(graph)
    _spell_channel_norms(graph)
    _widen_last(graph)
    _shorten(graph)
    lift(graph, frozenset(program.graph_signature.user_inputs))
    _shorten(graph)
    graph.lint()
    made: Any = graph.output_node().args[0]
    specs = program.graph_signature.output_specs
    for index, node in enumerate(made):
        specs[index] = replace(specs[index], arg=TensorArgument(node.name))
    program.graph_module.recompile()
    return program


# Group norms -------------------------------------------------------------------------------------


def _spell_group_norms(graph: Graph) -> None:
    """A group norm is an instance norm of groups, which Core ML has: rank 4, four operations.

    Coremltools spells it in ten, at rank 5, and squares deviations in float16, which overflow at
    256; inside one operation the runtime chooses how to add up.
    """
    for node in list(graph.nodes):
        if node.target is not aten.group_norm.default:
            continue
        x, groups, weight, bias, eps = _group_norm(*node.args)
        shape = shape_of(x)
        grouped = _grouped(shape, groups)
        if grouped is None:
            continue
        h = call(graph, node, RESHAPE, x, grouped)
        normed = (h, None, None, None, None, True, 0.0, eps, False)
        h = call(graph, node, aten.instance_norm.default, *normed)
        h = call(graph, node, RESHAPE, h, shape)
        for target, factor in ((aten.mul.Tensor, weight), (aten.add.Tensor, bias)):
            if factor is not None:
                spread = (1, -1, *(1 for _ in shape[2:]))
                h = call(graph, node, target, h, call(graph, node, RESHAPE, factor, spread))
        node.replace_all_uses_with(h)
        graph.erase_node(node)


def _spell_channel_norms(graph: Graph) -> None:
    """A layer norm of images' channels, between two turns that put these last and back, needs none.

    Torch normalises the last axes alone; of what is spelled here coremltools makes a layer norm of
    the first axis again.
    """
    for node in list(graph.nodes):
        if node.target is not aten.layer_norm.default or len(node.users) != 1:
            continue
        x, sizes, weight, bias, eps = _layer_norm(*node.args)
        (after,) = node.users
        turns = [(x, [0, 2, 3, 1]), (after, [0, 3, 1, 2])]
        if len(sizes) != 1 or any(not _turns(each, order) for each, order in turns):
            continue
        given = x.args[0]
        mean = call(graph, node, aten.mean.dim, given, [1], True)
        away = call(graph, node, aten.sub.Tensor, given, mean)
        squared = call(graph, node, aten.mul.Tensor, away, away)
        variance = call(graph, node, aten.mean.dim, squared, [1], True)
        scale = call(graph, node, aten.add.Tensor, variance, eps)
        scale = call(graph, node, aten.rsqrt.default, scale)
        h = call(graph, node, aten.mul.Tensor, away, scale)
        for target, factor in ((aten.mul.Tensor, weight), (aten.add.Tensor, bias)):
            if factor is not None:
                h = call(graph, node, target, h, call(graph, node, RESHAPE, factor, (1, -1, 1, 1)))
        after.replace_all_uses_with(h)
        graph.erase_node(after)
        graph.erase_node(node)
        if not x.users:
            graph.erase_node(x)


def _turns(node: Any, order: list[int]) -> bool:
    if not (isinstance(node, Node) and node.target is aten.permute.default):
        return False
    found: Any = node.args[1]
    return list(found) == order


def _layer_norm(
    x: Any, sizes: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5, _: Any = None
) -> tuple[Node, list[int], Node | None, Node | None, float]:
    """The arguments of aten.layer_norm, of which a graph leaves out the last."""
    return x, sizes, weight, bias, eps


def _group_norm(
    x: Any, groups: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5, _: Any = None
) -> tuple[Node, int, Node | None, Node | None, float]:
    """The arguments of aten.group_norm, of which a graph leaves out the last."""
    return x, groups, weight, bias, eps


def _grouped(shape: tuple[int, ...], groups: int) -> tuple[int, ...] | None:
    """(images, groups, ..., ...) with two axes to normalise over, neither of them too long."""
    images, channels, *pixels = shape
    numbers = [channels // groups, *pixels]
    for cut in range(len(numbers) - 1, 0, -1):
        sides = (math.prod(numbers[:cut]), math.prod(numbers[cut:]))
        if max(sides) <= LONGEST_AXIS:
            return (images, groups, *sides)
    return None


# Repetition --------------------------------------------------------------------------------------


def _widen_last(graph: Graph) -> None:
    """Repeat after reshaping, where that only adds or drops axes of 1: one chain then, not two."""
    for node in reversed(list(graph.nodes)):
        if node.target not in RESHAPES:
            continue
        expand = node.args[0]
        if expand.target is not aten.expand.default or len(expand.users) > 1:
            continue
        wide, shape = shape_of(expand), shape_of(node)
        narrow = _aligned(shape_of(expand.args[0]), wide)
        if [n for n in wide if n > 1] != [n for n in shape if n > 1]:
            continue
        sizes = iter([n for n, w in zip(narrow, wide, strict=True) if w > 1])
        before = tuple(1 if size == 1 else next(sizes) for size in shape)
        h = call(graph, node, RESHAPE, expand.args[0], before)
        node.replace_all_uses_with(call(graph, node, aten.expand.default, h, shape))
        graph.erase_node(node)
        graph.erase_node(expand)


def _aligned(narrow: tuple[int, ...], wide: tuple[int, ...]) -> tuple[int, ...]:
    """With the axes in front that an expansion adds."""
    return (1,) * (len(wide) - len(narrow)) + narrow


# Chains ------------------------------------------------------------------------------------------


def _shorten(graph: Graph) -> None:
    for root, chain in list(_chains(graph)):
        _rewrite(graph, root, chain)
    graph.eliminate_dead_code()


def _chains(graph: Graph) -> Iterator[tuple[Node, list[Node]]]:
    """Each value that is reshaped or transposed, with all that is made of it so, in order."""
    chains: dict[Node, list[Node]] = {}
    roots: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.target in RESHAPES or node.target in TRANSPOSES:
            roots[node] = roots.get(node.args[0], node.args[0])
            chains.setdefault(roots[node], []).append(node)
    yield from chains.items()


@dataclass(frozen=True)
class _Plan:
    """Which nodes of a chain are made, and of which earlier one each."""

    bases: dict[Node, Node]
    steps: dict[Node, tuple[Step, ...]]

    @property
    def cost(self) -> tuple[int, int]:
        """Axes too long, and operations; equal beginnings on equal bases are shared."""
        begun = {
            (base, self.steps[node][:end])
            for node, base in self.bases.items()
            for end in range(1, len(self.steps[node]) + 1)
        }
        return sum(steps[-1].is_long for _, steps in begun), len(begun)


def _rewrite(graph: Graph, root: Node, chain: list[Node]) -> None:
    chained = set(chain)
    layouts = _layouts(chain)
    needed = [node for node in chain if any(user not in chained for user in node.users)]
    # Fewer and fewer of the values in between: none may be needed, or one may serve two.
    best = _plan(root, chain, layouts)
    if best is None:  # a turn of six axes at once: coremltools has its own way with these
        return
    kept = list(chain)
    for node in (*reversed(chain), *chain):
        if node in kept and node not in needed:
            without = [other for other in kept if other is not node]
            plan = _plan(root, without, layouts)
            if plan is not None and plan.cost <= best.cost:
                best, kept = plan, without
    new = _made(graph, root, kept, best)
    for node, replacement in new.items():
        for user in [user for user in node.users if node is not root and user not in chained]:
            user.replace_input_with(node, replacement)
    for node in reversed(chain):
        graph.erase_node(node)


def _made(graph: Graph, root: Node, kept: list[Node], plan: _Plan) -> dict[Node, Node]:
    """What the graph has in place of each kept node, once the plan's operations stand in it."""
    shared: dict[tuple[Node, tuple[Step, ...]], Node] = {}
    new = {root: root}
    for node in kept:
        base, steps = plan.bases[node], plan.steps[node]
        h = new[base]
        for index, step in enumerate(steps, start=1):
            key = (base, steps[:index])
            if key not in shared:
                target = aten.permute.default if step.transposes else RESHAPE
                shared[key] = call(graph, node, target, h, step.sizes)
            h = shared[key]
        new[node] = h
    return new


def _layouts(chain: list[Node]) -> dict[Node, Layouts]:
    """Each node of a chain as seen from every node before it that it can be made of."""
    found: dict[Node, Layouts] = {}
    for node in chain:
        source = node.args[0]
        assert isinstance(source, Node)
        seen = {**found.get(source, {}), source: Layout.of(shape_of(source))}
        moved = ((base, _moved(layout, node)) for base, layout in seen.items())
        found[node] = {base: layout for base, layout in moved if layout is not None}
    return found


def _moved(layout: Layout, node: Node) -> Layout | None:
    if node.target in RESHAPES:
        return layout.reshaped(shape_of(node))
    rank = len(layout.shape)
    if node.target is aten.permute.default:
        axes: Any = node.args[1]
        order = [axis % rank for axis in axes]
    else:
        order = list(range(rank))
        swapped: Any = node.args[1:] or (0, -1)  # aten.t names none
        a, b = (axis % rank for axis in swapped)
        order[a], order[b] = order[b], order[a]
    return layout.transposed(order)


def _plan(root: Node, kept: list[Node], layouts: dict[Node, Layouts]) -> _Plan | None:
    """Each kept node made of the kept one from which it takes the fewest operations."""
    bases: dict[Node, Node] = {}
    steps: dict[Node, tuple[Step, ...]] = {}
    for node in kept:
        options = {b: layouts[node][b].steps() for b in (root, *bases) if b in layouts[node]}
        possible = {base: found for base, found in options.items() if found is not None}
        if not possible:
            return None
        bases[node] = min(possible, key=lambda base: _effort(possible[base]))
        steps[node] = possible[bases[node]]
    return _Plan(bases, steps)


def _effort(steps: tuple[Step, ...]) -> tuple[int, int]:
    return sum(step.is_long for step in steps), len(steps)
