"""What architectures cost: known for all of them, exactly, before any is evaluated.

Here a space meets a device: rows and architectures become workloads, workloads become times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latency import (
    Device,
    EncodedPredictor,
    Prediction,
    Workload,
    concatenate,
    from_choices,
)
from latency.regression.linear_model import Row
from latency.tracing.cache import traced
from nas.costs.cost_table import CostTable
from search_spaces import (
    Architecture,
    Block,
    InputError,
    NumericChoice,
    SearchSpace,
    Slot,
    TemporalSpace,
    feature_names,
)
from supernet import build_backbone, parameter_count
from supernet.operators import TemporalOperator, build

# How a table of blocks spells the image U-Net itself, beside the slots and their options.
BACKBONE_SLOT, BACKBONE_OPTION = "backbone", "image"


class BlockRun(nn.Module):
    """A temporal block at one clip's shapes, callable as a network is."""

    def __init__(self, operator: TemporalOperator, frames: int) -> None:
        super().__init__()
        self.operator = operator
        self.frames = frames

    def forward(self, x_NCHW: Tensor, context_BLC: Tensor) -> Tensor:
        """Shape kept."""
        out: Tensor = self.operator(x_NCHW, self.frames, context_BLC)
        return out


def block_run(slot: Slot, block: Block) -> BlockRun | None:
    """A block's module ready to trace or to time; None where nothing stands."""
    operator = build(block, slot)
    return None if operator is None else BlockRun(operator, slot.frames).eval()


def block_inputs(space: TemporalSpace, slot: Slot) -> tuple[Tensor, Tensor]:
    """Random inputs of `block_run`: one clip's features and its context."""
    x_NCHW = torch.randn(slot.frames, slot.channels, slot.height, slot.width)
    return x_NCHW, torch.zeros(1, space.unet.context_tokens, space.unet.context_channels)


def image_inputs(space: TemporalSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of the image U-Net: one clip's frames as images."""
    unet = space.unet
    x_NCHW = torch.randn(unet.frames, unet.in_channels, unet.height, unet.width)
    context = torch.zeros(unet.frames, unet.context_tokens, unet.context_channels)
    return x_NCHW, torch.full((unet.frames,), 0.5), context


def clip_inputs(space: TemporalSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of a video network: one clip, its time and its context."""
    unet = space.unet
    x_BCTHW = torch.randn(1, unet.in_channels, unet.frames, unet.height, unet.width)
    context = torch.zeros(1, unet.context_tokens, unet.context_channels)
    return x_BCTHW, torch.full((1,), 0.5), context


def _traced(module: nn.Module, inputs: tuple[Tensor, ...], name: str, key: object) -> Workload:
    """The workload of a network of our own classes, which `key` decides; others have no cache."""
    return traced(module, inputs, name, key=repr(key), packages=("nas", "supernet"))


@dataclass(frozen=True)
class Part:
    """What one block, or the image U-Net, brings to a network."""

    workload: Workload
    parameters: int


class SpaceCosts:
    """The workloads and parameters of a temporal space, each block traced once and for all.

    Traces are kept in the user's cache (`latency.tracing.cache`): a space of 0.6B networks takes a
    minute or two the first time, and seconds from then on.
    """

    def __init__(self, space: TemporalSpace) -> None:
        self.space = space
        self._alike: dict[tuple[object, ...], Part] = {}

    @cached_property
    def backbone(self) -> Part:
        """The image U-Net over the frames of one clip."""
        with torch.device("meta"):
            network = build_backbone(self.space.unet).eval()
            inputs = image_inputs(self.space)
        workload = _traced(network, inputs, BACKBONE_SLOT, self.space.unet)
        return Part(workload, parameter_count(network))

    def trace_all(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Trace what is not traced yet; `advance` is told after each of `pieces`."""
        _ = self.backbone
        for done, (slot, block) in enumerate(self.pieces, 1):
            self.block(slot, block)
            advance(done)

    @property
    def pieces(self) -> list[tuple[Slot, Block]]:
        """Every block in every slot."""
        return [(slot, block) for slot in self.space.slots for block in self.space.blocks()]

    def block(self, slot: Slot, block: Block) -> Part | None:
        """A block in a slot; None where nothing stands. Slots of one shape are traced once."""
        if not block.operator.module:
            return None
        once, repeats = block.once()
        shape = (slot.channels, slot.height, slot.width, slot.frames)
        key = (block.operator.module, once.settings, *shape)
        if key not in self._alike:
            with torch.device("meta"):
                run = block_run(slot, once)
                inputs = block_inputs(self.space, slot)
            assert run is not None
            workload = _traced(run, inputs, str(once), key)
            self._alike[key] = Part(workload, parameter_count(run))
        one = self._alike[key]
        operations = one.workload.operations * repeats
        parameters = one.parameters * repeats
        named = replace(one.workload, name=f"{slot.name}={block}", operations=operations)
        return Part(replace(named, parameters=parameters), parameters)

    def parts(self, architecture: Architecture) -> list[Part]:
        """The image U-Net and the blocks of an architecture, in the order of the slots."""
        blocks = (
            self.block(slot, self.space.block(architecture, slot)) for slot in self.space.slots
        )
        return [self.backbone, *(part for part in blocks if part is not None)]

    def workload(self, architecture: Architecture) -> Workload:
        """The workload of an architecture's network."""
        parts = (part.workload for part in self.parts(architecture))
        return concatenate(str(architecture), parts)

    def block_workload(self, slot_name: str, option: str) -> Workload:
        """The workload of a row of a table of blocks; InputError for an unknown slot or option."""
        if (slot_name, option) == (BACKBONE_SLOT, BACKBONE_OPTION):
            return self.backbone.workload
        slots = {slot.name: slot for slot in self.space.slots}
        if slot_name not in slots:
            listed = ", ".join([*slots, BACKBONE_SLOT])
            raise InputError(f"no slot {slot_name!r} in space {self.space.name!r}; slots: {listed}")
        part = self.block(slots[slot_name], self.space.parse_block(option))
        if part is None:
            raise InputError(f"option {option!r} of slot {slot_name!r} does nothing to measure")
        return part.workload


def workload_of(
    space: SearchSpace, architecture: Architecture, costs: SpaceCosts | None
) -> Workload:
    """The workload of any space's architecture; of a tabular one, its decisions by name."""
    if costs is not None:
        return costs.workload(architecture)
    return from_choices(str(architecture), list(architecture.items()), numeric_choices(space))


def numeric_choices(space: SearchSpace) -> set[str]:
    """The choices whose numbers vary freely."""
    return {choice.name for choice in space.choices if isinstance(choice, NumericChoice)}


class Costs:
    """Latency, parameters and memory of every architecture of a space on one device."""

    def __init__(self, space_costs: SpaceCosts, device: Device) -> None:
        self.space = space_costs.space
        self.device = device
        self._backbone = space_costs.backbone
        self._image = device.model.intercept + device.part_row(self._backbone.workload)
        self._parts: dict[tuple[str, str], tuple[Row, Part | None]] = {}
        for slot in self.space.slots:
            for block in self.space.blocks():
                part = space_costs.block(slot, block)
                row = device.part_row(part.workload) if part else np.zeros_like(self._image)
                self._parts[slot.name, str(block)] = (row, part)
        self.table = CostTable(
            self.space,
            device,
            self.image_ms,
            (self._backbone.workload, self._backbone.parameters),
            self._of_part,
        )
        # The device may know neither the parts nor the rates to guess them by: say so now.
        device.predict(space_costs.workload(self.slowest))

    def network_ms(self, architecture: Architecture) -> Prediction:
        """One forward pass over one clip, with bounds."""
        rows = (self._parts[key][0] for key in self._blocks(architecture))
        return self.device.bounded(sum(rows, self._image))

    def per_slot_ms(self, architecture: Architecture) -> dict[str, float]:
        """What each slot's block adds."""
        return {
            name: float(self._parts[name, block][0][0])
            for name, block in self._blocks(architecture)
        }

    def block_rows(self) -> list[dict[str, Any]]:
        """A row for every block in every slot: what it adds to a call, with bounds, and its size.

        `peak_mb` is what its activations add while it runs beside the image U-Net's.
        """
        found = []
        for (slot, block), (row, part) in self._parts.items():
            if part is not None:
                alone = self.device.bounded(row)
                found.append(
                    {
                        "slot": slot,
                        "option": block,
                        "predicted_ms": alone.latency_ms,  # nothing that a calibration takes
                        "low_ms": alone.low_ms,
                        "high_ms": alone.high_ms,
                        "parameters_count": part.parameters,
                        "weights_mb": self.device.memory_mb(replace(part.workload, peak_bytes=0)),
                        "peak_mb": self.device.memory_mb(replace(part.workload, operations=())),
                    }
                )
        return found

    @property
    def image_ms(self) -> float:
        """The image U-Net without any temporal block."""
        return float(self._image[0])

    def parameters(self, architecture: Architecture) -> int:
        """How many numbers the network holds."""
        found = (self._parts[key][1] for key in self._blocks(architecture))
        return self._backbone.parameters + sum(part.parameters for part in found if part)

    def memory_mb(self, architecture: Architecture) -> float:
        """Weights and peak activations in MB (1e6 bytes); an upper bound, see `concatenate`."""
        found = (self._parts[key][1] for key in self._blocks(architecture))
        workloads = [self._backbone.workload, *(part.workload for part in found if part)]
        return self.device.memory_mb(concatenate("network", workloads))

    def _of_part(self, slot: str, block: str) -> tuple[float, Workload | None, int]:
        row, part = self._parts[slot, block]
        return float(row[0]), part.workload if part else None, part.parameters if part else 0

    def too_large(self, limit_mb: float) -> list[str]:
        """The blocks that fit in no network: not even alone beside the image U-Net."""
        found = []
        for (slot, block), (_, part) in self._parts.items():
            if part is not None:
                alone = concatenate("alone", [self._backbone.workload, part.workload])
                if self.device.memory_mb(alone) > limit_mb:
                    found.append(f"{slot}={block}")
        return found

    @cached_property
    def fastest(self) -> Architecture:
        """The architecture of the lowest predicted latency: slots add, so each decides alone."""
        return self._least(lambda key: float(self._parts[key][0][0]))

    @cached_property
    def slowest(self) -> Architecture:
        """The architecture of the highest predicted latency."""
        return self._least(lambda key: -float(self._parts[key][0][0]))

    @cached_property
    def smallest(self) -> Architecture:
        """The architecture with the fewest parameters."""

        def parameters(key: tuple[str, str]) -> int:
            part = self._parts[key][1]
            return part.parameters if part else 0

        return self._least(parameters)

    def encoded(self) -> EncodedPredictor:
        """The same latencies for `search_spaces.encode`d architectures, in bulk.

        Raises:
            InputError: blocks have settings of their own, so that columns don't add.
        """
        if any(block.settings for block in self.space.blocks()):
            raise InputError(
                f"space {self.space.name!r} has blocks with settings: the columns of its encoding "
                "do not add; ask for each network"
            )
        names = (name.partition("=") for name in feature_names(self.space))
        parts = [self._parts[slot, block][1] for slot, _, block in names]
        return EncodedPredictor.of(
            self.device,
            [part.workload if part else None for part in parts],
            always=[self._backbone.workload],
        )

    def _least(self, cost: Callable[[tuple[str, str]], float]) -> Architecture:
        """The architecture that takes each slot's cheapest block."""
        values: dict[str, object] = {}
        for slot in self.space.slots:
            costs = {block: cost((slot.name, str(block))) for block in self.space.blocks()}
            block = min(costs, key=lambda each: costs[each])
            values[slot.name] = block.operator.name
            values |= {f"{slot.name}.{name}": value for name, value in block.settings}
        return self.space.architecture(values)

    def _blocks(self, architecture: Architecture) -> list[tuple[str, str]]:
        return [(s.name, str(self.space.block(architecture, s))) for s in self.space.slots]


def layout(space: TemporalSpace, architecture: Architecture) -> Mapping[str, str]:
    """Slot to block, as people read it."""
    return {slot.name: str(space.block(architecture, slot)) for slot in space.slots}
