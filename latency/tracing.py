"""Torch modules to workloads, by way of torch.export; nothing is computed.

A module on the meta device costs no memory, however large. FLOPs are counted as torch's
FlopCounterMode counts them: two for a multiply-add, convolutions and matrix products alone.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from latency.workload import Operation, Workload
from search_spaces import InputError

# What aten calls an operation -> what we call its kind.
KINDS = {
    "conv1d": "convolution",
    "conv2d": "convolution",
    "conv3d": "convolution",
    "convolution": "convolution",
    "conv_transpose1d": "convolution",
    "conv_transpose2d": "convolution",
    "conv_transpose3d": "convolution",
    "einsum": "matmul",
    "linear": "matmul",
    "matmul": "matmul",
    "mm": "matmul",
    "bmm": "matmul",
    "addmm": "matmul",
    "baddbmm": "matmul",
    "scaled_dot_product_attention": "attention",
    "group_norm": "normalisation",
    "layer_norm": "normalisation",
    "batch_norm": "normalisation",
    "softmax": "normalisation",
    "permute": "movement",
    "transpose": "movement",
    "t": "movement",
    "cat": "movement",
    "stack": "movement",
    "clone": "movement",
    "contiguous": "movement",
    "upsample_nearest2d": "movement",
    "_upsample_nearest2d": "movement",
    "pad": "movement",
    "embedding": "gather",
}
# These only look at their input's memory in another way.
VIEWS = frozenset(
    {"view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "select", "chunk", "split"}
    | {"split_with_sizes", "unbind", "flatten", "unflatten", "alias", "detach", "getitem"}
    | {"narrow", "to", "_to_copy", "dropout"}
)
# Known when a network is loaded, not when it runs.
CONSTANTS = frozenset(["arange", "full", "zeros", "ones", "lift_fresh_copy", "scalar_tensor"])


def trace(module: nn.Module, *inputs: Tensor, name: str = "network") -> Workload:
    """The workload of `module(*inputs)`.

    Args:
        module: any module that torch.export takes; on the meta device it costs no memory.
        inputs: tensors of the shapes and types of a run; moved to the module's device.
        name: what reports call the workload.

    Raises:
        InputError: torch.export cannot trace the module; the text gives its reason.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    placed = tuple(x.to(device) for x in inputs)
    training = module.training
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module.eval(), placed)
    except Exception as error:  # torch.export raises whatever the module's code raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"{name}: torch.export cannot trace it: {type(error).__name__}: {reason}"
        ) from error
    finally:
        module.train(training)
    nodes = list(program.graph.nodes)
    signature = program.graph_signature
    weights = {*signature.inputs_to_parameters, *signature.inputs_to_buffers}
    operations = tuple(_operation(node, weights) for node in nodes if _runs(node))
    number_bytes = next((x.element_size() for x in placed if x.is_floating_point()), 4)
    return Workload(name, operations, _peak_bytes(nodes, weights), number_bytes=number_bytes)


def _runs(node: Node) -> bool:
    return (
        node.op == "call_function" and _aten(node) not in VIEWS | CONSTANTS and bool(_tensors(node))
    )


def _operation(node: Node, weights: set[str]) -> Operation:
    kind = KINDS.get(_aten(node), "elementwise")
    outputs = _tensors(node)
    if kind == "convolution" and _groups(node) > 1:
        kind = "depthwise"
    read = sum(
        _bytes(t) for n in node.all_input_nodes if n.name not in weights for t in _tensors(n)
    )
    weight = sum(_bytes(t) for n in node.all_input_nodes if n.name in weights for t in _tensors(n))
    count = FLOPS.get(_aten(node))
    return Operation(
        kind=kind,
        shape=tuple(int(size) for size in outputs[0].shape),
        flops=count(node) if count else 0,
        bytes_moved=read + sum(map(_bytes, outputs)),
        weight_bytes=weight,
        window=_window(node) if kind in {"convolution", "depthwise"} else 1,
    )


def _peak_bytes(nodes: list[Node], weights: set[str]) -> int:
    """The most activation bytes alive at once, each tensor from its making to its last use."""
    owner: dict[Node, Node] = {}
    last_use: dict[Node, int] = {}
    for index, node in enumerate(nodes):
        is_view = node.op == "call_function" and _aten(node) in VIEWS and node.all_input_nodes
        owner[node] = owner[node.all_input_nodes[0]] if is_view else node
        for used in (node, *node.all_input_nodes):
            last_use[owner.get(used, used)] = index
    ends: dict[int, list[Node]] = {}
    for node, index in last_use.items():
        ends.setdefault(index, []).append(node)
    alive = peak = 0
    sizes: dict[Node, int] = {}
    for index, node in enumerate(nodes):
        if owner[node] is node and node.op != "output" and node.name not in weights:
            sizes[node] = sum(map(_bytes, _tensors(node)))
            alive += sizes[node]
        peak = max(peak, alive)
        alive -= sum(sizes.get(ended, 0) for ended in ends.get(index, ()))
    return peak


def _aten(node: Node) -> str:
    """`conv2d` of aten.conv2d.default; in-place variants count as what they do."""
    target: Any = node.target
    packet = getattr(target, "overloadpacket", None)
    name = packet.__name__ if packet is not None else getattr(target, "__name__", str(target))
    return str(name).removesuffix("_") if str(name) != "_" else "_"


def _tensors(node: Node) -> list[Tensor]:
    def walk(value: object) -> Iterator[Tensor]:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from walk(item)

    return list(walk(node.meta.get("val")))


def _shape(argument: object) -> tuple[int, ...]:
    assert isinstance(argument, Node)
    return tuple(int(size) for size in argument.meta["val"].shape)


def _bytes(tensor: Tensor) -> int:
    return int(tensor.numel()) * tensor.element_size()


def _groups(node: Node) -> int:
    """Groups of a convolution: channels in over the weight's channels a group."""
    transposed = "transpose" in _aten(node)
    weight = _shape(node.args[1])
    return 1 if transposed else _shape(node.args[0])[1] // weight[1]


def _window(node: Node) -> int:
    """Positions of a convolution's kernel: 9 of a 3 x 3."""
    return math.prod(_shape(node.args[1])[2:])


def _output_shape(node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape)


def _convolution_flops(node: Node) -> int:
    weight, output = _shape(node.args[1]), _output_shape(node)
    return 2 * math.prod(output) * math.prod(weight[1:])


def _transposed_flops(node: Node) -> int:
    weight, given = _shape(node.args[1]), _shape(node.args[0])
    return 2 * math.prod(given) * math.prod(weight[1:])


def _product_flops(first: int) -> Callable[[Node], int]:
    """Output elements times the length of the sum; `first` is the left factor's argument."""

    def count(node: Node) -> int:
        return 2 * math.prod(_output_shape(node)) * _shape(node.args[first])[-1]

    return count


def _attention_flops(node: Node) -> int:
    query, key, value = (_shape(argument) for argument in node.args[:3])
    pairs = math.prod(query[:-1]) * key[-2]
    return 2 * pairs * (query[-1] + value[-1])


def _einsum_flops(node: Node) -> int:
    """Of a product of two: every combination of indices is a multiply-add."""
    equation, operands = node.args[0], node.args[1]
    assert isinstance(operands, (list, tuple))
    terms = str(equation).replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "." in str(equation):
        raise InputError(
            f"einsum {equation!r}: FLOPs are counted for two operands without '...'; write it so"
        )
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        sizes |= dict(zip(term, _shape(operand), strict=True))
    return 2 * math.prod(sizes.values())


FLOPS: dict[str, Callable[[Node], int]] = {
    "conv1d": _convolution_flops,
    "conv2d": _convolution_flops,
    "conv3d": _convolution_flops,
    "convolution": _convolution_flops,
    "conv_transpose1d": _transposed_flops,
    "conv_transpose2d": _transposed_flops,
    "conv_transpose3d": _transposed_flops,
    "einsum": _einsum_flops,
    "linear": _product_flops(0),
    "matmul": _product_flops(0),
    "mm": _product_flops(0),
    "bmm": _product_flops(0),
    "addmm": _product_flops(1),
    "baddbmm": _product_flops(1),
    "scaled_dot_product_attention": _attention_flops,
}
