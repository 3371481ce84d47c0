"""Activation checkpointing of an exported program (Chen et al. 2016, arXiv:1604.06174).

A program is one long list of operations. It is cut into segments where few values cross from one to
the next; those are kept, and what a segment computes is computed again in the backward pass.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

SEGMENTS = 8
SLACK = 0.25  # of a segment's length, by which a cut may move to where fewer values cross


@dataclass(frozen=True)
class Segment:
    """Operations in order, the values that they take from before, and those wanted after."""

    operations: tuple[fx.Node, ...]
    taken: tuple[fx.Node, ...]
    given: tuple[fx.Node, ...]


def segmented(module: nn.Module, count: int = SEGMENTS) -> Callable[..., Any]:
    """The same answers as the module's, with the activations of one segment in memory at a time.

    Args:
        module: of an exported program: its inputs and outputs are tensors.
        count: of segments.
    """
    assert isinstance(module, fx.GraphModule)
    nodes = list(module.graph.nodes)
    operations = [node for node in nodes if node.op == "call_function"]
    inputs = [node for node in nodes if node.op == "placeholder"]
    output = next(node for node in nodes if node.op == "output")
    segments = _cut(operations, output, min(count, len(operations)))
    weights = [node for node in nodes if node.op == "get_attr"]
    spec = module._out_spec  # noqa: SLF001
    lone = spec is not None and spec.is_leaf()

    def answer(*tensors: Tensor) -> Any:
        values: dict[fx.Node, Any] = dict(zip(inputs, tensors, strict=True))
        held = {node: _attribute(module, str(node.target)) for node in weights}
        for segment in segments:
            taken = [values[node] for node in segment.taken]
            given = checkpoint(_run, segment, held, *taken, use_reentrant=False,
                               preserve_rng_state=False)  # fmt: skip
            values.update(zip(segment.given, given, strict=True))
        found = fx.map_arg(output.args[0], lambda node: values[node])
        return found[0] if lone else list(found)

    return answer


def _run(segment: Segment, held: dict[fx.Node, Any], *taken: Any) -> list[Any]:
    values = {**held, **dict(zip(segment.taken, taken, strict=True))}
    for node in segment.operations:
        arguments, named = fx.map_arg((node.args, node.kwargs), lambda each: values[each])
        values[node] = node.target(*arguments, **named)  # type: ignore[operator]
    return [values[node] for node in segment.given]


def _cut(operations: list[fx.Node], output: fx.Node, count: int) -> list[Segment]:
    place = {node: at for at, node in enumerate(operations)}
    last = {node: max(place.get(user, len(operations)) for user in node.users or {output: None})
            for node in operations}  # fmt: skip
    crossing = [
        sum(place[node] < at <= last[node] for node in operations)
        for at in range(len(operations) + 1)
    ]
    length = len(operations) / count
    ends = [0]
    for number in range(1, count):
        nearby = range(int((number - SLACK) * length), int((number + SLACK) * length) + 1)
        ends.append(min((at for at in nearby if at > ends[-1]), key=crossing.__getitem__))
    ends.append(len(operations))
    segments = []
    for begin, end in itertools.pairwise(ends):
        inside = tuple(operations[begin:end])
        taken = {
            each
            for node in inside
            for each in node.all_input_nodes
            if each.op != "get_attr" and place.get(each, -1) < begin
        }
        given = tuple(node for node in inside if last[node] >= end)
        segments.append(Segment(inside, tuple(taken), given))
    return segments


def _attribute(module: nn.Module, name: str) -> Tensor:
    owner, _, own = name.rpartition(".")
    found: Tensor = getattr(module.get_submodule(owner), own)
    return found
