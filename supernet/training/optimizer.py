"""Optimizers: AdamW, or Muon for the weights that are matrices and AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) steps by the orthogonalised
momentum of a matrix; scaled to the usual size of AdamW's step (Liu et al. 2025, arXiv:2502.16982),
so that both take the same learning rate. A convolution's weight is the matrix (out, in x kernel).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from supernet.training.muon import Muon

OptimizerName = Literal["adamw", "muon"]
SMALLEST_SIDE = 8  # channels in and out of a matrix: at its ends a network has few
STEP_COUNT = "step"  # AdamW's, one for each weight, which stays on the CPU


class Optimizer:
    """Changes named weights by their gradients; a weight that has none is left alone.

    Args:
        parameters: the weights, by name.
        kind: `muon` for the matrices among them, or `adamw` for all.
        weight_decay: of both.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], kind: OptimizerName, weight_decay: float
    ) -> None:
        self._parameters = dict(parameters)
        # Muon takes nothing but matrices: these share the memory of the weights.
        self._matrices = {
            name: nn.Parameter(parameter.data.view(len(parameter), -1))
            for name, parameter in self._parameters.items()
            if kind == "muon" and _is_matrix(parameter)
        }
        rest = [p for name, p in self._parameters.items() if name not in self._matrices]
        self._adamw = torch.optim.AdamW(rest, weight_decay=weight_decay) if rest else None
        self._muon = (
            Muon(self._matrices.values(), weight_decay=weight_decay) if self._matrices else None
        )

    def step(self, learning_rate: float) -> None:
        """Go down the gradients."""
        for name, matrix in self._matrices.items():
            gradient = self._parameters[name].grad
            matrix.grad = None if gradient is None else gradient.flatten(1)
        for optimizer in (self._adamw, self._muon):
            if optimizer is not None:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate
                optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Momenta, moments and counts, as `name:entry`."""
        return {
            f"{name}:{entry}": tensor
            for name in self._parameters
            for entry, tensor in self._state_of(name).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        for key, tensor in state.items():
            name, _, entry = key.rpartition(":")
            there = tensor if entry == STEP_COUNT else tensor.to(self._parameters[name])
            self._state_of(name, begin=True)[entry] = there

    def _state_of(self, name: str, *, begin: bool = False) -> dict[str, Tensor]:
        optimizer = self._muon if name in self._matrices else self._adamw
        assert optimizer is not None
        weight = self._matrices.get(name, self._parameters[name])
        if begin:
            optimizer.state.setdefault(weight, {})
        found: dict[str, Tensor] = optimizer.state.get(weight, {})
        return found


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and min(parameter.shape[:2]) >= SMALLEST_SIDE
