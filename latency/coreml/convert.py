"""Torch modules to Core ML packages, on Linux as on a Mac.

`exported` makes torch's program of a module, rewritten for the Neural Engine; `convert` makes
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
from latency.graph_passes.simplify_reshapes import lean

aten = torch.ops.aten
WAVES = frozenset({aten.sin.default, aten.cos.default})
# A part of a network, of the path of a module in it: `down0` of `temporal.down0.conv`.
PartOf = Callable[[str], str]
MARK = "__"  # between a part and the name of an operation


@dataclass(frozen=True)
class Exported:
    """A program of fixed shapes, and what its inputs and outputs are called in a package."""

    program: Any  # torch.export's
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("output",)
    parts: tuple[str, ...] = ()  # with which the names of operations may begin

    def shapes(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Of the inputs and of the outputs."""
        given, made = boundary(self.program)
        return [_shape(node) for node in given], [_shape(node) for node in made]


def exported(
    module: nn.Module,
    inputs: Sequence[Tensor],
    part_of: PartOf | None = None,
    names: Sequence[str] = (),
) -> Exported:
    """The program of a module at the shapes of `inputs`, with the fewest reshapes.

    Operations are named after the part that they belong to, so that a package still says it.
    Inputs are called `names`, or input_0, input_1, ...
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), tuple(inputs)).run_decompositions({})
    lean(program)
    parts = _name_parts(program, part_of) if part_of else ()
    given = tuple(names) or tuple(f"input_{i}" for i in range(len(inputs)))
    return Exported(program, given, parts=parts)


def convert(module: nn.Module, inputs: Sequence[Tensor], target: str = "iOS18") -> Any:
    """A Core ML model (coremltools' MLModel) of a module at the shapes of `inputs`, in float16.

    `target` is coremltools' name of the oldest system to run on (iOS16, iOS17, iOS18).
    Inputs are named input_0, input_1, ...; save the result with `.save(path)`.
    """
    return convert_program(exported(module, inputs), target)


def save(module: nn.Module, inputs: Sequence[Tensor], path: Path, target: str = "iOS18") -> None:
    """Convert a module and save it as an .mlpackage."""
    convert(module, inputs, target).save(str(path))


def convert_program(found: Exported, target: str = "iOS18", package: Path | None = None) -> Any:
    """A Core ML model of an exported program, in float16; written to `package` if one is given."""
    coremltools = import_coremltools()
    exact = _exact(found.program.graph_module.graph)
    given, _ = boundary(found.program)
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        warnings.simplefilter("ignore")  # as its bars: progress is said by who calls this
        return coremltools.convert(
            found.program,
            inputs=[
                coremltools.TensorType(
                    name, _shape(node), dtype=np.float32 if node.name in exact else np.float16
                )
                for name, node in zip(found.inputs, given, strict=True)
            ],
            outputs=[coremltools.TensorType(name, dtype=np.float16) for name in found.outputs],
            minimum_deployment_target=getattr(coremltools.target, target),
            compute_precision=coremltools.transform.FP16ComputePrecision(
                lambda operation: operation.name not in exact
            ),
            package_dir=str(package) if package else None,
            skip_model_load=True,
        )


def boundary(program: Any) -> tuple[list[Node], list[Node]]:
    """The nodes of a program's inputs and of its outputs; weights are none."""
    nodes = {node.name: node for node in program.graph_module.graph.nodes}
    signature = program.graph_signature
    given = [nodes[name] for name in signature.user_inputs]
    return given, [nodes[name] for name in signature.user_outputs]


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.meta["val"].shape)


def _exact(graph: Graph) -> frozenset[str]:
    """What only leads to sines and cosines: their angles reach 1000, where float16 knows halves.

    An input among these is float32 as well, so that no cast is needed.
    """
    found: set[Node] = set()
    for node in reversed(list(graph.nodes)):
        leads = node.users and all(user in found for user in node.users)
        if node.target in WAVES or (leads and node.op != "output"):
            found.add(node)
    return frozenset(node.name for node in found)


def _name_parts(program: Any, part_of: PartOf) -> tuple[str, ...]:
    """Names every operation after its part; the parts in their order come back."""
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
