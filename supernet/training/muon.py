"""Muon, computed as the device computes fast: in float32 on processors, in bfloat16 elsewhere.

torch.optim.Muon (whose steps these are, scaled by `match_rms_adamw`) is always in bfloat16, for
which a processor without such instructions takes many times as long as for float32, and what it
rounds to differs between processors.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95  # Nesterov's
COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic: the steepest at 0 (Jordan et al. 2024)
ITERATIONS = 5
SMALLEST_NORM = 1e-7
RMS = 0.2  # of an update: AdamW's usual one (Liu et al. 2025, arXiv:2502.16982)


class Muon(torch.optim.Optimizer):
    """Steps of matrices (out, in) by their orthogonalised momentum.

    Args:
        matrices: that learn.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(self, matrices: Iterable[Tensor], weight_decay: float) -> None:
        super().__init__(matrices, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Go down the gradients; a matrix that has none is left alone."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, group["lr"], group["weight_decay"])

    def _move(self, matrix: Tensor, learning_rate: float, weight_decay: float) -> None:
        gradient = matrix.grad
        assert gradient is not None
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalised(gradient.lerp(momentum, MOMENTUM))
        matrix.mul_(1 - learning_rate * weight_decay)
        matrix.add_(update, alpha=-learning_rate * RMS * max(matrix.shape) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns, by Newton-Schulz iterations.

    Its singular values come out between 0.5 and 1.5, which steps as well as exactly 1.
    """
    a, b, c = COEFFICIENTS
    on_processor = matrix.device.type == "cpu"
    x = (
        matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        if on_processor
        else matrix.bfloat16()
    )
    tall = len(matrix) > matrix.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
