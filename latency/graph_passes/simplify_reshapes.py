"""Graph pass: simplify chains of reshapes and transposes to the fewest, before Core ML conversion.

Modules are written for any number of clips and with einops: exported at one clip, much of what
they say about shapes is said twice. Outputs stay equal, rank and count never grow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export.graph_signature import TensorArgument
from torch.fx import Graph, Node

from latency.graph_passes.fx_tools import RESHAPE, RESHAPES, TRANSPOSES, insert_call, shape_of
from latency.graph_passes.layout import Layout, Step
from latency.graph_passes.lower_norms import lower_channel_norms, lower_group_norms
from latency.graph_passes.sink_reshapes import sink_reshapes

aten = torch.ops.aten
Layouts = dict[Node, Layout]  # of a node, seen from each node before it


def simplify_reshapes(program: Any) -> Any:
    """Rewrite a program of torch.export (decomposed, of fixed shapes) in place; return it."""
    graph: Graph = program.graph_module.graph
    for node in graph.nodes:
        if node.target is aten._assert_tensor_metadata.default:  # noqa: SLF001
            graph.erase_node(node)  # torch.export's own check, which computes nothing
    lower_group_norms(graph)
    lower_channel_norms(graph)
    _sink_expands(graph)
    _simplify_chains(graph)
    sink_reshapes(graph, frozenset(program.graph_signature.user_inputs))
    _simplify_chains(graph)
    graph.lint()
    made: Any = graph.output_node().args[0]
    specs = program.graph_signature.output_specs
    for index, node in enumerate(made):
        specs[index] = replace(specs[index], arg=TensorArgument(node.name))
    program.graph_module.recompile()
    return program


# Repetition --------------------------------------------------------------------------------------


def _sink_expands(graph: Graph) -> None:
    """Sink expands below reshapes that only add or drop axes of 1: one chain then, not two."""
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
        h = insert_call(graph, node, RESHAPE, expand.args[0], before)
        node.replace_all_uses_with(insert_call(graph, node, aten.expand.default, h, shape))
        graph.erase_node(node)
        graph.erase_node(expand)


def _aligned(narrow: tuple[int, ...], wide: tuple[int, ...]) -> tuple[int, ...]:
    """With the axes in front that an expansion adds."""
    return (1,) * (len(wide) - len(narrow)) + narrow


# Chains ------------------------------------------------------------------------------------------


def _simplify_chains(graph: Graph) -> None:
    for root, chain in list(_chains(graph)):
        _rewrite(graph, root, chain)
    graph.eliminate_dead_code()


def _chains(graph: Graph) -> Iterator[tuple[Node, list[Node]]]:
    """Find chains: each value that is reshaped or transposed, with all that is made of it so."""
    chains: dict[Node, list[Node]] = {}
    roots: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.target in RESHAPES or node.target in TRANSPOSES:
            roots[node] = roots.get(node.args[0], node.args[0])
            chains.setdefault(roots[node], []).append(node)
    yield from chains.items()


@dataclass(frozen=True)
class _Plan:
    """Which nodes of a chain are kept, and of which earlier one each is made."""

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
    new = _emit(graph, root, kept, best)
    for node, replacement in new.items():
        for user in [user for user in node.users if node is not root and user not in chained]:
            user.replace_input_with(node, replacement)
    for node in reversed(chain):
        graph.erase_node(node)


def _emit(graph: Graph, root: Node, kept: list[Node], plan: _Plan) -> dict[Node, Node]:
    """Emit the plan's operations into the graph: what stands in place of each kept node."""
    shared: dict[tuple[Node, tuple[Step, ...]], Node] = {}
    new = {root: root}
    for node in kept:
        base, steps = plan.bases[node], plan.steps[node]
        h = new[base]
        for index, step in enumerate(steps, start=1):
            key = (base, steps[:index])
            if key not in shared:
                target = aten.permute.default if step.transposes else RESHAPE
                shared[key] = insert_call(graph, node, target, h, step.sizes)
            h = shared[key]
        new[node] = h
    return new


def _layouts(chain: list[Node]) -> dict[Node, Layouts]:
    """Propagate layouts: each node of a chain as seen from every node before it."""
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
    """Plan greedily: make each kept node of the kept one from which it takes the fewest steps."""
    bases: dict[Node, Node] = {}
    steps: dict[Node, tuple[Step, ...]] = {}
    for node in kept:
        options = {b: layouts[node][b].steps() for b in (root, *bases) if b in layouts[node]}
        possible = {base: found for base, found in options.items() if found is not None}
        if not possible:
            return None
        bases[node] = min(possible, key=lambda base: _cost(possible[base]))
        steps[node] = possible[bases[node]]
    return _Plan(bases, steps)


def _cost(steps: tuple[Step, ...]) -> tuple[int, int]:
    return sum(step.is_long for step in steps), len(steps)
