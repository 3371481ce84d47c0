"""Exported graphs (ATen) to operations and their costs.

FLOPs are counted as torch's FlopCounterMode counts them: two for a multiply-add, convolutions and
matrix products alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from latency.tracing.flops import FlopCounts
from latency.workload import kinds
from latency.workload.liveness import Step, score_numbers
from latency.workload.workload import Operation
from search_spaces import InputError


@dataclass(frozen=True)
class Program:
    """An exported graph, the graphs of its contexts (autocast) written out in their place."""

    nodes: tuple[Node, ...]  # in the order in which they run
    same: dict[Node, Node]  # a node that only stands for another -> that one
    weights: frozenset[Node]  # parameters, buffers, constants, and views of them

    @staticmethod
    def of(exported: Any) -> "Program":
        """The program of torch.export's `ExportedProgram`."""
        same: dict[Node, Node] = {}
        nodes = tuple(_written_out(exported.graph_module, same))
        for node in nodes:
            _check_static(node)
        signature = exported.graph_signature
        names = {
            *signature.inputs_to_parameters,
            *signature.inputs_to_buffers,
            *signature.inputs_to_lifted_tensor_constants,
        }
        weights = {node for node in nodes if node.op == "placeholder" and node.name in names}
        views = kinds.ATEN_VIEWS | kinds.ATEN_TRANSPOSES | {"lift_fresh_copy"}
        for node in nodes:
            given = [same.get(n, n) for n in node.all_input_nodes]
            if _aten(node) in views and given and all(n in weights for n in given):
                weights.add(node)
        return Program(nodes, same, frozenset(weights))

    def running(self) -> Iterator[Node]:
        """The nodes that compute or move something."""
        idle = kinds.ATEN_VIEWS | kinds.ATEN_CONSTANTS
        for node in self.nodes:
            runs = node.op == "call_function" and _aten(node) not in idle
            if runs and node not in self.weights and _tensors(node):
                yield node

    def activations(self) -> Iterator[Tensor]:
        """What the running nodes make."""
        return (tensor for node in self.running() for tensor in _tensors(node))

    def operation(self, node: Node, counts: FlopCounts) -> Operation:
        """What one run of a node costs."""
        outputs, given = _tensors(node), self._given(node)
        flops = counts.of(node)
        kind = kinds.ATEN.get(_aten(node), "matmul" if flops else "elementwise")
        if kind == "convolution" and _groups(node) > 1:
            kind = "depthwise"
        read = sum(_bytes(t) for n in given if n not in self.weights for t in _tensors(n))
        return Operation(
            kind=kind,
            shape=tuple(outputs[0].shape),
            flops=flops,
            bytes_moved=read + sum(map(_bytes, outputs)),
            weight_bytes=sum(_stored_bytes(n) for n in given if n in self.weights),
            window=_window(node) if kind in {"convolution", "depthwise"} else 1,
        )

    def steps(self) -> list[Step[Node]]:
        """The program as what makes and reads activations; weights are none."""
        given = {n: _size(n) for n in self.nodes if n.op == "placeholder" and n not in self.weights}
        steps = [Step(makes=given)]
        for node in self.nodes:
            if node in self.weights or node.op in {"placeholder", "get_attr"}:
                continue
            reads = [n for n in self._given(node) if n not in self.weights and n.op != "get_attr"]
            is_view = _aten(node) in kinds.ATEN_VIEWS
            makes: dict[Node, int] = {} if node.op == "output" else {node: _size(node)}
            steps.append(Step(makes, reads, is_view, self._scratch_bytes(node)))
        return steps

    def _scratch_bytes(self, node: Node) -> int:
        """Of attention's scores, as if all were computed before any is used."""
        if kinds.ATEN.get(_aten(node)) != "attention":
            return 0
        query, key = node.args[:2]
        return score_numbers(_shape(query), _shape(key)) * _tensors(node)[0].element_size()

    def _given(self, node: Node) -> list[Node]:
        """What a node reads, each once."""
        return list(dict.fromkeys(self.same.get(n, n) for n in node.all_input_nodes))


def _written_out(module: GraphModule, same: dict[Node, Node]) -> Iterator[Node]:
    """The nodes of a graph in order; `same` learns which nodes stand for others."""
    contexts: dict[object, Any] = {}  # a context -> what it returns
    for node in module.graph.nodes:
        inner = _context(module, node)
        if inner is not None:
            given = [n for n in node.all_input_nodes if n.op != "get_attr"]
            entries = [n for n in inner.graph.nodes if n.op == "placeholder"]
            same |= {e: same.get(g, g) for e, g in zip(entries, given, strict=True)}
            *body, last = _written_out(inner, same)
            yield from (n for n in body if n not in same)
            contexts[node] = last.args[0]
        elif _aten(node) == "getitem" and node.args[0] in contexts:
            returned = contexts[node.args[0]][node.args[1]]
            same[node] = same.get(returned, returned)
        else:
            yield node


def _context(module: GraphModule, node: Node) -> GraphModule | None:
    """The graph inside a context such as `with torch.autocast(...)`, which changes no costs."""
    names = {"wrap_with_autocast", "wrap_with_set_grad_enabled", "invoke_subgraph"}
    if _aten(node) not in names:
        return None
    graph = next(n for n in node.all_input_nodes if n.op == "get_attr")
    inner = module.get_submodule(str(graph.target))
    assert isinstance(inner, GraphModule)
    return inner


def _check_static(node: Node) -> None:
    for tensor in _tensors(node):
        if not all(isinstance(size, int) for size in tensor.shape):
            raise InputError(
                f"{_aten(node)} makes a tensor whose shape {tuple(tensor.shape)} depends on the "
                "data, so that there is no one workload; use operations of fixed shapes"
            )


def _aten(node: Node) -> str:
    """`conv2d` of aten.conv2d.default; in-place variants count as what they do."""
    if node.op != "call_function":
        return ""  # the target of an input is its name, which may be `split`
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


def _bytes(tensor: Tensor) -> int:
    return int(tensor.numel()) * tensor.element_size()


def _size(node: Node) -> int:
    return sum(map(_bytes, _tensors(node)))


def _stored_bytes(weight: Node) -> int:
    """Of a weight or a view of one: what is in memory, however often it is repeated."""
    return sum(
        t.element_size() * math.prod(n for n, s in zip(t.shape, t.stride(), strict=True) if s)
        for t in _tensors(weight)
    )


def _shape(argument: object) -> tuple[int, ...]:
    assert isinstance(argument, Node)
    return tuple(int(size) for size in argument.meta["val"].shape)


def _groups(node: Node) -> int:
    """Groups of a convolution: channels in over the weight's channels a group."""
    flagged = _aten(node) == "convolution" and bool(node.args[6])
    if flagged or "transpose" in _aten(node):
        return 1
    weight = _shape(node.args[1])
    channels = _shape(node.args[0])[1 - len(weight)]  # of one image, with or without a batch
    return channels // weight[1]


def _window(node: Node) -> int:
    """Positions of a convolution's kernel: 9 of a 3 x 3."""
    return math.prod(_shape(node.args[1])[2:])
