"""Precision, recomputed activations, compiled blocks: cheaper ways to the same training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search_spaces import (
    CONV1D,
    CROSS_ATTENTION_1D,
    NONE,
    SELF_ATTENTION_3D,
    WIDTH,
    InputError,
    UNetShape,
    temporal_space,
)
from supernet import Supernet, TrainingPlan, train_supernet
from supernet.backbones.building import build_backbone
from supernet.training.batches import Batch, path_loss
from supernet.training.execution import Execution, executed
from temporal_bundle.closeness import check_close, flat

OPERATORS = (NONE, CONV1D.elastic(WIDTH), SELF_ATTENTION_3D, CROSS_ATTENTION_1D)
SMALL = temporal_space("small", UNetShape(1, (8, 16), 4, 8, 8, 2, 10), OPERATORS)
MIXED = SMALL.architecture(
    {"down0": "conv1d", "down0.width": 0.5, "mid": "self_attention3d", "up0": "cross_attention1d"}
)


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    found = Supernet(SMALL)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.1)
    return found


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, 1, 4, 8, 8, generator=generator) for _ in range(2))
    return Batch(x, noise, torch.tensor([0.2, 0.7]), torch.rand(2, 2, 10, generator=generator))


def gradients(module: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    module.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def saved_bytes(module: nn.Module, loss: Callable[[], Tensor]) -> int:
    """What a forward pass keeps for the backward pass, beside the weights."""
    known = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in known)


@pytest.mark.kernels
def test_recomputed_activations_are_not_kept_and_change_no_gradient(
    supernet: Supernet, batch: Batch
) -> None:
    def loss() -> Tensor:
        return path_loss(supernet, batch, MIXED)

    plain, kept = gradients(supernet, loss), saved_bytes(supernet, loss)
    names = set(supernet.state_dict())
    with executed(supernet, Execution(checkpointing=True)):
        again, kept_again = gradients(supernet, loss), saved_bytes(supernet, loss)
        assert set(supernet.state_dict()) == names
    assert plain.keys() == again.keys()
    check_close(flat(again.values()), flat(plain[name] for name in again))
    assert kept_again < 0.4 * kept
    assert saved_bytes(supernet, loss) == kept  # and afterwards all is as before


def test_a_pass_inside_the_supernet_keeps_what_the_network_alone_keeps(
    supernet: Supernet, batch: Batch
) -> None:
    network = supernet.extract(MIXED)

    def alone() -> Tensor:
        found = network(batch.noisy, batch.time_B, batch.context_BLC)
        return (found - batch.velocity).square().mean()

    def inside() -> Tensor:
        return path_loss(supernet, batch, MIXED)

    assert saved_bytes(supernet, inside) == saved_bytes(network, alone)
    used = {name.split(".")[1] for name in gradients(supernet, inside) if "operators" in name}
    assert used == {"down0:conv1d", "mid:self_attention3d", "up0:cross_attention1d"}


@pytest.mark.kernels
def test_bf16_computes_networks_only(supernet: Supernet, batch: Batch) -> None:
    exact = gradients(supernet, lambda: path_loss(supernet, batch, MIXED))

    def loss() -> Tensor:
        with Execution(bf16=True).precision():
            found = path_loss(supernet, batch, MIXED)
        assert found.dtype == torch.float32
        return found

    rounded = gradients(supernet, loss)
    assert all(gradient.dtype == torch.float32 for gradient in rounded.values())
    one, other = (flat(g[n] for n in exact) for g in (exact, rounded))
    assert not torch.equal(one, other)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("execution", [Execution(checkpointing=True), Execution(bf16=True)])
def test_training_by_it(execution: Execution, tmp_path: Path) -> None:
    def trained(file: str, how: Execution) -> tuple[list[float], Supernet]:
        losses: list[float] = []
        plan = TrainingPlan(video_steps=6, video_clips=2, optimizer="adamw")
        torch.manual_seed(0)
        backbone = build_backbone(SMALL.unet)
        found = train_supernet(
            SMALL, backbone, plan, tmp_path / file, lambda _, x: losses.append(x), execution=how
        )
        return losses, found

    plain, first = trained("a.safetensors", Execution())
    found, second = trained("b.safetensors", execution)
    if execution.bf16:
        assert found != plain
        assert found == pytest.approx(plain, rel=0.02)
    else:
        assert found == plain
        for name, tensor in first.state_dict().items():
            assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_gpu_that_is_not_there(supernet: Supernet) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with (
        pytest.raises(InputError, match="no GPU here"),
        executed(supernet, Execution(accelerator="cuda")),
    ):
        pass
