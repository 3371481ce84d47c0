"""The torch.export programs of a network: what runs without this toolkit."""

import io
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from latency.tracing.reasons import first_line
from nas.costs.modules import clip_inputs
from search_spaces import Architecture, InputError, TemporalSpace
from supernet import DownFeatures, VideoUNet
from temporal_bundle.manifest import MOST_CLIPS

MOST_FRAMES = 1024  # that a program takes; torch.export wants to know bounds


@dataclass(frozen=True)
class Programs:
    """The torch.export programs of a network, as the bytes of their files; without weights."""

    denoiser: bytes
    features: bytes


def export_programs(
    network: VideoUNet, space: TemporalSpace, architecture: Architecture
) -> Programs:
    """Export a network and its down path with batch and frames free.

    The programs hold shapes and no weights, so that these stand in a bundle once: whoever opens one
    assigns them (`load_state_dict(..., strict=True, assign=True)`).
    """
    with torch.device("meta"):
        down = DownFeatures(space, architecture)
    # The right device for what a program makes by itself; memory that nobody writes costs nothing.
    down.to_empty(device="cpu")
    return Programs(_export(network, space), _export(down, space))


def export_network_program(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """Export any network at the sizes of its inputs, as functions of tensors alone.

    Raises:
        InputError: torch.export cannot.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module.eval(), inputs)
            if any(_writes(node) for node in program.graph.nodes):  # `x += y`, ReLU(inplace=True)
                program = program.run_decompositions({})
                _spell_out(program)
            # Tied weights have several names, of which each is a parameter.
            learned = {name for name, _ in module.named_parameters(remove_duplicate=False)}
            return _saved(program, learned)
        except Exception as error:  # whatever somebody's network makes of it
            raise InputError(
                f"torch.export cannot take the network: {first_line(error)}"
            ) from error


def _writes(node: Node) -> bool:
    """Whether an operation changes a tensor that it was given."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _spell_out(program: Any) -> None:
    """Call reshapes by their plain name: decompositions leave one that no reader takes."""
    for node in program.graph.nodes:
        if node.target is torch.ops.aten._unsafe_view.default:  # noqa: SLF001
            node.target = torch.ops.aten.reshape.default
    program.graph_module.recompile()


def _export(module: nn.Module, space: TemporalSpace) -> bytes:
    learned = {name for name, _ in module.named_parameters()}
    clips = torch.export.Dim("clips", min=1, max=MOST_CLIPS)
    frames = torch.export.Dim("frames", min=1, max=MOST_FRAMES)
    # Two of each: torch.export would take a single clip, or frame, for a constant.
    x_BCTHW, time_B, context_BLC = (torch.cat([x, x]) for x in clip_inputs(space))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module.eval(),
            (x_BCTHW, time_B, context_BLC),
            dynamic_shapes=({0: clips, 2: frames}, {0: clips}, {0: clips}),
        )
        return _saved(program, learned)


def _saved(program: Any, learned: set[str]) -> bytes:
    """A program as a file's bytes, with shapes in place of what was learned."""
    for name, tensor in list(program.state_dict.items()):
        bare = torch.empty_like(tensor, device="meta")
        program.state_dict[name] = nn.Parameter(bare) if name in learned else bare
    for node in program.graph.nodes:  # where our source files stood is nobody's business
        node.meta.pop("stack_trace", None)
    program.example_inputs = None  # megabytes of pickled zeros
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()
