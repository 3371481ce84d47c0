"""Muon in float32: torch's steps, as exact as weights are."""

import pytest
import torch

from supernet.training.muon import Muon, orthogonalised

SHAPES = [(16, 16), (24, 8), (8, 200)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_singular_values_come_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    found = orthogonalised(torch.randn(shape, dtype=dtype))
    assert found.dtype == dtype
    values = torch.linalg.svdvals(found.double())
    assert values.min() > 0.4
    assert values.max() < 1.3


def test_steps_are_torch_s_but_for_its_rounding() -> None:
    torch.manual_seed(0)
    begun = [torch.randn(shape) for shape in SHAPES]
    gradients = [[torch.randn(shape) for shape in SHAPES] for _ in range(4)]
    moved = []
    for make in (
        lambda those: torch.optim.Muon(those, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        lambda those: Muon(those, weight_decay=0.1),
    ):
        weights = [torch.nn.Parameter(tensor.clone()) for tensor in begun]
        optimizer = make(weights)
        optimizer.param_groups[0]["lr"] = 0.1
        for step in gradients:
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = gradient
            optimizer.step()
        moved.append([w.detach() - b for w, b in zip(weights, begun, strict=True)])
    for theirs, ours in zip(*moved, strict=True):
        assert (ours - theirs).norm() < 0.1 * theirs.norm()  # bfloat16, as a processor rounds
