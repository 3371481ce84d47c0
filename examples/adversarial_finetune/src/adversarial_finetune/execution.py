"""How networks compute: in float32 or bfloat16, with all activations kept or with few of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from adversarial_finetune.segments import segmented

Precision = Literal["float32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")


@dataclass(frozen=True)
class Execution:
    """What does not change what is learned, but for rounding.

    Args:
        device: that trains.
        precision: of activations and products; weights, their averages and losses are float32.
        checkpointing: compute activations again in the backward pass instead of keeping them.
        accumulate: pieces of a process's share of a batch, one after the other.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    checkpointing: bool = False
    accumulate: int = 1

    def network(self, module: nn.Module, *, learns: bool = True) -> "Network":
        """A network that computes so; one that does not learn keeps no activations anyway."""
        called = segmented(module) if self.checkpointing and learns else module
        return Network(module, called, self.device.partition(":")[0], self.precision)


@dataclass(frozen=True)
class Network:
    """A module, and how it is called; its answers are in float32."""

    module: nn.Module
    called: Callable[..., Any]
    kind: str  # of device
    precision: Precision

    def __call__(self, *inputs: Tensor) -> Any:
        """The module's answers."""
        if self.precision == "float32":
            return self.called(*inputs)
        with torch.autocast(self.kind, torch.bfloat16):
            found = self.called(*inputs)
        return found.float() if isinstance(found, Tensor) else [each.float() for each in found]
