"""Training: what an interrupted run goes on to, and what is refused."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search_spaces import InputError, TemporalSpace, UNetShape, load, temporal_space
from search_spaces.shipped.moving_digits import OPERATORS
from supernet import (
    Supernet,
    TrainingPlan,
    VideoUNet,
    load_backbone,
    load_supernet,
    train_backbone,
    train_network,
    train_supernet,
)
from supernet import checkpoint as checkpoints
from supernet.training.batches import draw_batch, path_loss
from supernet.training.optimizer import Optimizer, OptimizerName
from supernet.training.recipes import uniform
from supernet.training.training import Randomness, Schedule, Trainer, state_path

pytestmark = pytest.mark.slow
SMALL = temporal_space("small", UNetShape(1, (8, 16), 4, 8, 8, 2, 10), OPERATORS)
PLAN = TrainingPlan(image_steps=120, image_clips=2, video_steps=120, video_clips=2)


class StopError(Exception):
    pass


def stop_at(step: int, losses: list[float]) -> object:
    def on_step(done: int, loss: float) -> None:
        losses.append(loss)
        if done == step:
            raise StopError

    return on_step


@pytest.mark.kernels
@pytest.mark.parametrize("optimizer", ["muon", pytest.param("adamw", marks=pytest.mark.long)])
def test_resumed_training_equals_uninterrupted(tmp_path: Path, optimizer: OptimizerName) -> None:
    whole: list[float] = []
    plan = replace(PLAN, optimizer=optimizer)
    backbone = train_backbone(SMALL, plan, tmp_path / "a.safetensors", lambda _, x: whole.append(x))
    broken: list[float] = []
    with pytest.raises(StopError):
        train_backbone(SMALL, plan, tmp_path / "b.safetensors", stop_at(113, broken))  # type: ignore[arg-type]
    assert not (tmp_path / "b.safetensors").exists()
    rest: list[float] = []
    again = train_backbone(SMALL, plan, tmp_path / "b.safetensors", lambda _, x: rest.append(x))
    assert broken[:100] + rest == whole
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not state_path(tmp_path / "b.safetensors").exists()

    video: list[float] = []
    first = train_supernet(
        SMALL, backbone, plan, tmp_path / "c.safetensors", lambda _, x: video.append(x), uniform
    )
    with pytest.raises(StopError):
        train_supernet(SMALL, backbone, plan, tmp_path / "d.safetensors", stop_at(105, []), uniform)  # type: ignore[arg-type]
    rest = []
    second = train_supernet(
        SMALL, backbone, plan, tmp_path / "d.safetensors", lambda _, x: rest.append(x), uniform
    )
    assert rest == video[100:]
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    loaded = load_supernet(tmp_path / "d.safetensors", SMALL)
    assert torch.equal(loaded.backbone.enter.weight, second.backbone.enter.weight)


@pytest.mark.long
def test_one_network_trained_on_resumes_and_is_answered_from_its_file(tmp_path: Path) -> None:
    plan = replace(PLAN, image_steps=2)
    backbone = train_backbone(SMALL, plan, tmp_path / "a.safetensors")
    best = SMALL.uniform(SMALL.blocks()[-1])

    def trained(name: str, on_step: object = None, steps: int = 110) -> VideoUNet:
        torch.manual_seed(3)
        network = VideoUNet(SMALL, best, copy.deepcopy(backbone))
        return train_network(network, SMALL, best, plan, steps, tmp_path / name, on_step)  # type: ignore[arg-type]

    whole = trained("whole.safetensors").state_dict()
    with pytest.raises(StopError):
        trained("broken.safetensors", stop_at(105, []))
    rest: list[float] = []
    again = trained("broken.safetensors", lambda _, x: rest.append(x)).state_dict()
    assert len(rest) == 10
    kept = trained("broken.safetensors", stop_at(1, [])).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name
        assert torch.equal(tensor, kept[name]), name
    assert not any(torch.equal(whole[n], w) for n, w in trained("x", steps=1).state_dict().items())


def test_muon_turns_matrices_and_leaves_what_has_no_gradient() -> None:
    """By its definition: a matrix's step has the same length in every direction."""
    torch.manual_seed(0)
    names = {"matrix": (16, 12), "convolution": (8, 8, 3, 3), "vector": (16,), "idle": (16, 16)}
    weights = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in names.items()}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        weight.grad = None if name == "idle" else torch.randn_like(weight)
    Optimizer(weights, "muon", weight_decay=0.0).step(0.1)
    moved = {name: (weights[name].detach() - before[name]).flatten(1) for name in ("matrix",)}
    lengths = torch.linalg.svdvals(moved["matrix"])
    assert lengths.min() > 0.5 * lengths.max() > 0
    assert not torch.equal(weights["convolution"], before["convolution"])
    assert torch.allclose(
        (weights["vector"] - before["vector"]).abs(), torch.tensor(0.1), rtol=1e-4
    )
    assert torch.equal(weights["idle"], before["idle"])


@pytest.mark.long
@pytest.mark.kernels
def test_training_lowers_the_loss_of_every_operator(tmp_path: Path) -> None:
    plan = TrainingPlan(image_steps=150, image_clips=4, video_steps=200, video_clips=4)
    backbone = train_backbone(SMALL, plan, tmp_path / "a.safetensors")
    supernet = train_supernet(SMALL, backbone, plan, tmp_path / "b.safetensors")
    fresh = Supernet(SMALL)
    fresh.backbone.load_state_dict(backbone.state_dict())
    from supernet import MovingDigits

    batch = draw_batch(MovingDigits(SMALL.unet, "validation"), 64, Randomness(9, 9))
    with torch.inference_mode():
        for block in SMALL.blocks():
            architecture = SMALL.uniform(block)
            trained = path_loss(supernet, batch, architecture)
            assert trained < path_loss(fresh, batch, architecture), str(block)


def test_a_frozen_backbone_stays(tmp_path: Path) -> None:
    plan = TrainingPlan(image_steps=2, video_steps=5, video_clips=2, freeze_backbone=True)
    backbone = train_backbone(SMALL, plan, tmp_path / "a.safetensors")
    supernet = train_supernet(SMALL, backbone, plan, tmp_path / "b.safetensors")
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, supernet.backbone.state_dict()[name]), name


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)

    def loss(randomness: Randomness) -> Iterator[Tensor]:
        value = module(torch.ones(2)).sum()
        yield value * float("nan") if randomness.step == 7 else value

    path = tmp_path / "state.safetensors"
    trainer = Trainer(module, loss, Schedule(10, checkpoint_every=5), seed=0)
    with pytest.raises(FloatingPointError, match="loss is nan at step 8"):
        trainer.run(path)
    assert checkpoints.read(path).notes["step"] == 5


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    path = tmp_path / "state.safetensors"

    def loss(_: Randomness) -> Iterator[Tensor]:
        yield module(torch.ones(2)).square().sum()

    Trainer(module, loss, Schedule(10, checkpoint_every=4), seed=0).run(path)
    with pytest.raises(InputError, match="unfinished training of another seed"):
        Trainer(module, loss, Schedule(10), seed=1).run(path)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    other = load("moving_digits")
    assert isinstance(other, TemporalSpace)
    plan = TrainingPlan(image_steps=1, video_steps=1, image_clips=1, video_clips=1)
    backbone_path, path = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    backbone = train_backbone(SMALL, plan, backbone_path)
    train_supernet(SMALL, backbone, plan, path)
    with pytest.raises(InputError, match="trained for space 'small'"):
        load_supernet(path, other)
    with pytest.raises(InputError, match="trained at another shape"):
        load_backbone(backbone_path, other)
    with pytest.raises(InputError, match="holds a backbone, not a supernet"):
        load_supernet(backbone_path, SMALL)
    with pytest.raises(InputError, match="no such file"):
        load_supernet(tmp_path / "missing.safetensors", SMALL)
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="not a whole safetensors file"):
            load_supernet(path, SMALL)
    tensors = Supernet(SMALL).state_dict()
    notes = {"holds": "supernet", "space": SMALL.to_json()}
    first = next(iter(tensors))
    checkpoints.write(path, {**tensors, first: tensors[first] * float("nan")}, notes)
    with pytest.raises(InputError, match="NaN"):
        load_supernet(path, SMALL)
    checkpoints.write(path, {n: t for n, t in tensors.items() if n != first}, notes)
    with pytest.raises(InputError, match="lacks 1 tensors"):
        load_supernet(path, SMALL)
    checkpoints.write(path, {**tensors, "more": torch.zeros(1)}, notes)
    with pytest.raises(InputError, match="too many, first 'more'"):
        load_supernet(path, SMALL)
    checkpoints.write(path, {**tensors, first: torch.zeros(3)}, notes)
    with pytest.raises(InputError, match="has shape"):
        load_supernet(path, SMALL)
