"""Execution of a training: mixed precision, gradient checkpointing, compiled blocks, device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from search_spaces import InputError
from supernet.operators import TemporalOperator


@dataclass(frozen=True)
class Execution:
    """Settings of how a training is computed; what is trained is the same but for rounding."""

    bf16: bool = False  # mixed precision: networks in bfloat16; weights and losses in float32
    checkpointing: bool = False  # gradient checkpointing: recompute activations instead of keeping
    compiled: bool = False  # torch.compile each block of the backbone
    accelerator: str = "cpu"  # or "cuda"

    def __post_init__(self) -> None:
        if self.accelerator not in ("cpu", "cuda"):
            raise InputError(f"unknown accelerator {self.accelerator!r}; known: cpu, cuda")

    @property
    def device(self) -> torch.device:
        """Where weights and batches are."""
        return torch.device(self.accelerator)

    def precision(self) -> torch.autocast:
        """Mixed precision (autocast) for computing losses; gradients are not taken inside it."""
        return torch.autocast(self.accelerator, dtype=torch.bfloat16, enabled=self.bf16)


@contextmanager
def executed(module: nn.Module, execution: Execution) -> Iterator[None]:
    """Apply an execution to a module: move, compile, checkpoint; afterwards it is as before.

    Raises:
        InputError: there is no such device here.
    """
    if execution.accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU here that torch can use; train on the processor")
    module.to(execution.device)
    changed = blocks_of(module) if execution.checkpointing or execution.compiled else []
    for part in changed:
        call: Any = part.forward
        # Every setting of an operator would be a graph of its own.
        if execution.compiled and not isinstance(part, TemporalOperator):
            call = torch.compile(call, dynamic=False)
        part.forward = _checkpointed(call) if execution.checkpointing else call
    try:
        yield
    finally:
        for part in changed:
            del part.forward  # the instance's own, which hides the class's


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """Find the blocks of a network: each temporal operator, and what the backbone is made of.

    A supernet is never compiled as a whole: every architecture would be a graph of its own.
    """
    found: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, TemporalOperator):
            found.append(child)
        elif isinstance(child, (nn.ModuleList, nn.ModuleDict)) or _holds_blocks(child):
            found += blocks_of(child)
        elif next(child.children(), None) is not None:  # a layer alone is not worth it
            found.append(child)
    return found


def _holds_blocks(module: nn.Module) -> bool:
    return any(isinstance(child, nn.ModuleList) for child in module.children())


def _checkpointed(call: Any) -> Any:
    def forward(*arguments: Any, **named: Any) -> Any:
        return checkpoint(call, *arguments, use_reentrant=False, **named)

    return forward
