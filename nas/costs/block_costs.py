"""What architectures cost on a device: known for all of them before any is evaluated.

Here a space meets a device: workloads become times, which add. Nothing here needs torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from latency import Device, EncodedPredictor, Prediction, Workload, concatenate
from latency.regression.linear_model import Row
from nas.costs.contract import Meter, Vector
from nas.costs.cost_table import CostTable
from nas.costs.fixed_parts import FixedPart, published_parts
from nas.costs.workloads import Part, SpaceCosts
from search_spaces import Architecture, InputError, TemporalSpace, feature_names

NO_BLOCK = "the image network (no temporal block)"


class BlockCosts:
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
            self._image,
            lambda slot, block: self._parts[slot, block][0],
        )
        # The device may know neither the parts nor the rates to guess them by: say so now.
        device.predict(space_costs.workload(self.slowest))

    def network_ms(self, architecture: Architecture, *, same_hour: bool = False) -> Prediction:
        """One forward pass over one clip, with bounds; `same_hour`: as the device was measured."""
        rows = (self._parts[key][0] for key in self._blocks(architecture))
        device = self.device.same_hour if same_hour else self.device
        return device.bounded(sum(rows, self._image))

    def latencies_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """One call of each network, (n,)."""
        return self.table.latencies_ms(architectures)

    def upper_ms(self, architectures: Sequence[Architecture]) -> Vector:
        """The upper bound of each, (n,)."""
        return self.table.upper_ms(architectures)

    @property
    def sizes(self) -> Mapping[str, Meter]:
        """What networks hold, in bulk."""
        return {"parameters_count": self.table.parameters, "memory_mb": self.table.memories_mb}

    @property
    def doubts(self) -> Sequence[str]:
        """None: every block was priced."""
        return ()

    @cached_property
    def published_parts(self) -> tuple[FixedPart, ...]:
        """What is published to run beside the network, once a clip."""
        return tuple(published_parts(self.space, self.device))

    def describe(self, architecture: Architecture) -> str:
        """A network in a few words: its slots that hold a block."""
        held = {s: b for s, b in layout(self.space, architecture).items() if b != "none"}
        return " ".join(f"{s}={b}" for s, b in held.items()) or NO_BLOCK

    def per_choice_ms(self, architecture: Architecture) -> Mapping[str, float]:
        """What each slot's block adds."""
        return self.per_slot_ms(architecture)

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
