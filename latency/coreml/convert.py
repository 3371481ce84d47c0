"""Convert torch modules to Core ML in mixed precision, on Linux as on a Mac.

`export_program` makes torch's program of a module, rewritten for the Neural Engine; `convert` makes
coremltools' model of it in memory, `latency.coreml.packaging` writes packages.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Graph, Node

from latency.coreml.quiet import import_coremltools
from latency.graph_passes.simplify_reshapes import simplify_reshapes

aten = torch.ops.aten
TRIGONOMETRIC = frozenset({aten.sin.default, aten.cos.default})
# A part of a network, of the path of a module in it: `down0` of `temporal.down0.conv`.
PartOf = Callable[[str], str]
MARK = "__"  # between a part and the name of an operation


@dataclass(frozen=True)
class Exported:
    """An exported program of fixed shapes, and the names of its inputs and outputs in a package."""

    program: Any  # torch.export's
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("output",)
    parts: tuple[str, ...] = ()  # with which the names of operations may begin

    def shapes(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Shapes of the inputs and of the outputs."""
        given, made = inputs_and_outputs(self.program)
        return [_shape(node) for node in given], [_shape(node) for node in made]


def export_program(
    module: nn.Module,
    inputs: Sequence[Tensor],
    part_of: PartOf | None = None,
    names: Sequence[str] = (),
) -> Exported:
    """Export a module at the shapes of `inputs` with torch.export, with the fewest reshapes.

    Operations are named after the part that they belong to, so that a package still says it.
    Inputs are called `names`, or input_0, input_1, ...
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), tuple(inputs)).run_decompositions({})
    simplify_reshapes(program)
    parts = _name_parts(program, part_of) if part_of else ()
    given = tuple(names) or tuple(f"input_{i}" for i in range(len(inputs)))
    return Exported(program, given, parts=parts)


def convert(module: nn.Module, inputs: Sequence[Tensor], target: str = "iOS18") -> Any:
    """Convert a module at the shapes of `inputs` to a Core ML model (MLModel) in float16.

    `target` is coremltools' name of the oldest system to run on (iOS16, iOS17, iOS18).
    Inputs are named input_0, input_1, ...; save the result with `.save(path)`.
    """
    return convert_program(export_program(module, inputs), target)


def save(module: nn.Module, inputs: Sequence[Tensor], path: Path, target: str = "iOS18") -> None:
    """Convert a module and save it as an .mlpackage."""
    convert(module, inputs, target).save(str(path))


def convert_program(found: Exported, target: str = "iOS18", package: Path | None = None) -> Any:
    """Convert an exported program in mixed precision: float16, but float32 where angles need it.

    Written to `package` if one is given.
    """
    coremltools = import_coremltools()
    float32 = _float32_nodes(found.program.graph_module.graph)
    given, _ = inputs_and_outputs(found.program)
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        warnings.simplefilter("ignore")  # as its bars: progress is said by who calls this
        return coremltools.convert(
            found.program,
            inputs=[
                coremltools.TensorType(name, _shape(node), dtype=_type(node, float32))
                for name, node in zip(found.inputs, given, strict=True)
            ],
            outputs=[coremltools.TensorType(name, dtype=np.float16) for name in found.outputs],
            minimum_deployment_target=getattr(coremltools.target, target),
            compute_precision=coremltools.transform.FP16ComputePrecision(
                lambda operation: operation.name not in float32
            ),
            package_dir=str(package) if package else None,
            skip_model_load=True,
        )


def inputs_and_outputs(program: Any) -> tuple[list[Node], list[Node]]:
    """Find the nodes of a program's inputs and of its outputs; weights are none."""
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    signature = program.graph_signature
    given = [nodes[name] for name in signature.user_inputs]
    return given, [nodes[name] for name in signature.user_outputs]


def _type(node: Node, float32: frozenset[str]) -> type[np.generic]:
    """The type of an input; ids of tokens are beyond float16's whole numbers."""
    if not node.meta["val"].is_floating_point():
        return np.int32
    return np.float32 if node.name in float32 else np.float16


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape)


def _float32_nodes(graph: Graph) -> frozenset[str]:
    """Choose what stays in float32: all that only leads to sines and cosines.

    Their angles reach 1000, where float16 knows halves. An input among these is float32 as well,
    so that no cast is needed.
    """
    found: set[Node] = set()
    for node in reversed(list(graph.nodes)):
        leads = node.users and all(user in found for user in node.users)
        if node.target in TRIGONOMETRIC or (leads and node.op != "output"):
            found.add(node)
    return frozenset(node.name for node in found)


def _name_parts(program: Any, part_of: PartOf) -> tuple[str, ...]:
    """Name every operation after its part; the parts in their order come back."""
    signature = program.graph_signature
    parts: dict[str, None] = {}
    for node in program.graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        part = part_of(_module_path(node.meta.get("nn_module_stack") or {}))
        parts[part] = None
        old = node.name
        node._rename(f"{part}{MARK}{old}")  # noqa: SLF001
        signature.replace_all_uses(old, node.name)
    program.graph_module.recompile()
    return tuple(parts)


def _module_path(stack: Mapping[str, tuple[str, Any]]) -> str:
    """The innermost module's path, empty for the network itself."""
    return next((path for path, _ in reversed(list(stack.values()))), "")
