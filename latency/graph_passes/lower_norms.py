"""Graph pass: lower group and layer norms to operations of Core ML, with fewer transposes."""

import math
from typing import Any

import torch
from torch.fx import Graph, Node

from latency.graph_passes.fx_tools import RESHAPE, insert_call, shape_of
from latency.graph_passes.layout import LONGEST_AXIS

aten = torch.ops.aten


def lower_group_norms(graph: Graph) -> None:
    """Lower a group norm to an instance norm of its groups: rank 4, four operations.

    Coremltools writes it in ten, at rank 5, and squares deviations in float16, which overflow at
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
        h = insert_call(graph, node, RESHAPE, x, grouped)
        normed = (h, None, None, None, None, True, 0.0, eps, False)
        h = insert_call(graph, node, aten.instance_norm.default, *normed)
        h = insert_call(graph, node, RESHAPE, h, shape)
        for target, factor in ((aten.mul.Tensor, weight), (aten.add.Tensor, bias)):
            if factor is not None:
                spread = (1, -1, *(1 for _ in shape[2:]))
                h = insert_call(
                    graph, node, target, h, insert_call(graph, node, RESHAPE, factor, spread)
                )
        node.replace_all_uses_with(h)
        graph.erase_node(node)


def lower_channel_norms(graph: Graph) -> None:
    """Lower a layer norm of images' channels so that the transposes before and after it can go.

    Torch normalises the last axes alone; of what is written here coremltools makes a layer norm of
    the first axis again.
    """
    for node in list(graph.nodes):
        if node.target is not aten.layer_norm.default or len(node.users) != 1:
            continue
        x, sizes, weight, bias, eps = _layer_norm(*node.args)
        (after,) = node.users
        turns = [(x, [0, 2, 3, 1]), (after, [0, 3, 1, 2])]
        if len(sizes) != 1 or any(not _permutes_by(each, order) for each, order in turns):
            continue
        given = x.args[0]
        mean = insert_call(graph, node, aten.mean.dim, given, [1], True)
        away = insert_call(graph, node, aten.sub.Tensor, given, mean)
        squared = insert_call(graph, node, aten.mul.Tensor, away, away)
        variance = insert_call(graph, node, aten.mean.dim, squared, [1], True)
        scale = insert_call(graph, node, aten.add.Tensor, variance, eps)
        scale = insert_call(graph, node, aten.rsqrt.default, scale)
        h = insert_call(graph, node, aten.mul.Tensor, away, scale)
        for target, factor in ((aten.mul.Tensor, weight), (aten.add.Tensor, bias)):
            if factor is not None:
                h = insert_call(
                    graph, node, target, h, insert_call(graph, node, RESHAPE, factor, (1, -1, 1, 1))
                )
        after.replace_all_uses_with(h)
        graph.erase_node(after)
        graph.erase_node(node)
        if not x.users:
            graph.erase_node(x)


def _permutes_by(node: Any, order: list[int]) -> bool:
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
