"""torch.fx tools: which nodes are reshapes and transposes, and how a call is inserted."""

from typing import Any

import torch
from torch.fx import Graph, Node
from torch.fx.node import map_arg

aten = torch.ops.aten
RESHAPE = aten.reshape.default
# Their result has their input's numbers in the same order.
RESHAPES = frozenset(
    {
        *(aten.view.default, aten._unsafe_view.default, aten.reshape.default),  # noqa: SLF001
        *(aten.unsqueeze.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims),
        *(aten.clone.default, aten.contiguous.default, aten.alias.default, aten.detach.default),
        *(aten.flatten.using_ints, aten.unflatten.int),
    }
)
TRANSPOSES = frozenset({aten.permute.default, aten.transpose.int, aten.t.default})


def insert_call(graph: Graph, before: Node, target: Any, *arguments: Any, **named: Any) -> Node:
    """Insert a call before a node, with its value and the place of `before` in the network."""
    with graph.inserting_before(before):
        listed = tuple(list(a) if isinstance(a, tuple) else a for a in arguments)
        node = graph.call_function(target, listed, named)  # coremltools knows no tuple of sizes
    values: Any = map_arg(listed, lambda n: n.meta["val"])
    node.meta["val"] = target(*values, **named)
    for name in ("nn_module_stack", "torch_fn"):
        if name in before.meta:
            node.meta[name] = before.meta[name]
    return node


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of the tensor that a node makes."""
    return tuple(int(size) for size in node.meta["val"].shape)
