"""What makes steps: AdamW, or Muon for the weights that are matrices and AdamW for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) steps by the nearest orthogonal
matrix to the momentum; scaled to the usual size of AdamW's step (Liu et al. 2025,
arXiv:2502.16982), so that one learning rate serves both.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from adversarial_finetune.muon import Muon

SMALLEST_SIDE = 8  # channels in and out of a matrix: at its ends a network has few
CHANNELS_LAST = (0, 2, 3, 1)
STEP_COUNT = "step"  # AdamW's, one for each weight


class Optimizer:
    """Steps of named weights.

    Args:
        parameters: the weights, by name.
        betas: of AdamW.
        muon: whether it takes the matrices; a convolution's weight is one of (out, in x kernel).
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], betas: tuple[float, float], *, muon: bool
    ) -> None:
        self._parameters = dict(parameters)
        # Muon takes matrices alone: these see the memory of the weights.
        self._matrices = {
            name: nn.Parameter(_laid(parameter.data, parameter).view(len(parameter), -1))
            for name, parameter in parameters.items()
            if muon and _is_matrix(parameter)
        }
        rest = [p for name, p in parameters.items() if name not in self._matrices]
        self._optimizers: list[torch.optim.Optimizer] = []
        if rest:
            # Fused: one pass over all weights, where a loop over hundreds of small ones would cost
            # more than it computes.
            self._optimizers.append(
                torch.optim.AdamW(rest, betas=betas, weight_decay=0.0, fused=True)
            )
        if self._matrices:
            self._optimizers.append(Muon(self._matrices.values(), weight_decay=0.0))

    def step(self, learning_rate: float) -> None:
        """Go down the gradients of the weights, and clear them."""
        for name, matrix in self._matrices.items():
            parameter = self._parameters[name]
            if parameter.grad is not None:
                matrix.grad = _laid(parameter.grad, parameter).flatten(1)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Moments and counts, by name."""
        return {
            f"{name}:{key}": value
            for name in self._parameters
            for key, value in self._state(name).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        for entry, held in state.items():
            name, _, key = entry.rpartition(":")
            weight = self._weight(name)
            # Laid out as its weight is: the fused step goes by memory.
            there = torch.empty_like(held if key == STEP_COUNT else weight, device=weight.device)
            self._state(name)[key] = there.copy_(held)

    def _weight(self, name: str) -> nn.Parameter:
        return self._matrices.get(name, self._parameters[name])

    def _state(self, name: str) -> dict[str, Tensor]:
        optimizer = self._optimizers[-1 if name in self._matrices else 0]
        found: dict[str, Tensor] = optimizer.state[self._weight(name)]
        return found


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and min(parameter.shape[:2]) >= SMALLEST_SIDE


def _laid(tensor: Tensor, like: Tensor) -> Tensor:
    """(out, ...) in the order in which `like` lies in memory, so that a matrix is a view of it."""
    last = like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(CHANNELS_LAST) if last else tensor
