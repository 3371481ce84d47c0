"""Recipes: which paths they take, what they teach them, and that they resume exactly."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import (
    CONV1D,
    CONV3D,
    HEADS,
    KERNEL,
    NONE,
    SELF_ATTENTION_1D,
    WIDTH,
    Architecture,
    InputError,
    TemporalSpace,
    UNetShape,
    temporal_space,
)
from supernet import Supernet, TrainingPlan, train_supernet
from supernet.backbones.building import build_backbone
from supernet.training.batches import Batch, path_loss
from supernet.training.recipes import RECIPES, Recipe, extremes, load_recipe, sampled, uniform
from supernet.training.training import Randomness

OPERATORS = (NONE, CONV1D.elastic(KERNEL, WIDTH), CONV3D, SELF_ATTENTION_1D.elastic(HEADS))
SMALL = temporal_space("small", UNetShape(1, (8, 16, 16), 4, 8, 8, 2, 10), OPERATORS)


class Recorded(Supernet):
    """Remembers the paths it was asked for, and predicts what it is told to."""

    def __init__(self, space: TemporalSpace) -> None:
        super().__init__(space)
        self.paths: list[Architecture] = []

    def forward(
        self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor, architecture: Architecture
    ) -> Tensor:
        self.paths.append(architecture)
        return super().forward(x_BCTHW, time_B, context_BLC, architecture)


@pytest.fixture(scope="module")
def supernet() -> Recorded:
    torch.manual_seed(0)
    return Recorded(SMALL)


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, 4, 8, 8)
    x, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    return Batch(x, noise, torch.tensor([0.5]), torch.zeros(1, 2, 10))


def taken(recipe: Recipe, supernet: Recorded, batch: Batch, randomness: Randomness) -> list[str]:
    """What the recipe does at a step: its paths, as one string a slot."""
    supernet.paths.clear()
    losses = list(recipe(supernet, batch, randomness))
    assert len(losses) == len(supernet.paths)
    return [" ".join(str(SMALL.block(p, s)) for s in SMALL.slots) for p in supernet.paths]


def test_a_step_follows_from_seed_and_step_alone(supernet: Recorded, batch: Batch) -> None:
    for recipe in RECIPES.values():
        first = taken(recipe, supernet, batch, Randomness(3, 5, 0.9))
        assert taken(recipe, supernet, batch, Randomness(3, 5, 0.9)) == first
        others = [taken(recipe, supernet, batch, Randomness(s, 5, 0.9)) for s in range(4, 8)]
        assert any(other != first for other in others)


def test_uniform_takes_operators_equally_often_however_many_settings_they_have(
    supernet: Recorded,
) -> None:
    rng = np.random.default_rng(0)
    drawn = [sampled(supernet, rng)["mid"] for _ in range(2000)]
    for operator, count in Counter(drawn).items():
        assert count == pytest.approx(500, abs=80), operator


def test_fair_takes_every_operator_of_every_slot_once_a_step(
    supernet: Recorded, batch: Batch
) -> None:
    """Over four steps, also every one of conv1d's four blocks, once a slot."""
    seen: list[list[str]] = [[] for _ in SMALL.slots]
    for step in range(4):
        paths = taken(RECIPES["fair"], supernet, batch, Randomness(0, step))
        slots = [list(column) for column in zip(*(path.split() for path in paths), strict=True)]
        for column, all_seen in zip(slots, seen, strict=True):
            assert sorted(block.split("(")[0] for block in column) == sorted(
                operator.name for operator in OPERATORS
            )
            all_seen.extend(column)
    for all_seen in seen:
        counts = Counter(all_seen)
        assert {str(block): counts[str(block)] for block in SMALL.blocks()} == {
            str(block): 4 // sum(b.operator == block.operator for b in SMALL.blocks())
            for block in SMALL.blocks()
        }


def test_sandwich_teaches_the_small_by_the_largest(supernet: Recorded, batch: Batch) -> None:
    largest, smallest = extremes(SMALL)
    assert {str(SMALL.block(largest, s)) for s in SMALL.slots} == {"conv3d"}
    assert {str(SMALL.block(smallest, s)) for s in SMALL.slots} == {"none"}
    recipe = RECIPES["sandwich"]
    supernet.paths.clear()
    losses = list(recipe(supernet, batch, Randomness(0, 0)))
    assert supernet.paths[:2] == [largest, smallest]
    assert len(supernet.paths) == 4
    assert torch.equal(losses[0], path_loss(supernet, batch, largest))
    # A fresh supernet's blocks are the identity: all paths agree, so nothing is left to teach.
    assert [float(loss.detach()) for loss in losses[1:]] == [0, 0, 0]


def test_no_gradient_of_the_taught_reaches_the_teacher(batch: Batch) -> None:
    torch.manual_seed(0)
    supernet = Supernet(SMALL)
    for parameter in supernet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    losses = iter(RECIPES["sandwich"](supernet, batch, Randomness(0, 0)))
    next(losses)
    teacher = supernet.operators["mid:conv3d"]
    next(losses).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in teacher.parameters())
    assert supernet.backbone.get_parameter("enter.weight").grad is not None


@pytest.mark.slow
def test_curriculum_opens_slots_from_the_deepest(supernet: Recorded, batch: Batch) -> None:
    recipe = RECIPES["curriculum"]

    def used(progress: float) -> set[str]:
        found: set[str] = set()
        for step in range(40):
            (path,) = taken(recipe, supernet, batch, Randomness(0, step, progress))
            for slot, block in zip(SMALL.slots, path.split(), strict=True):
                found |= {slot.name} if block != "none" else set()
        return found

    assert used(0.0) == {"mid"}
    assert used(0.15) == {"mid", "down1"}
    assert used(0.25) == {"mid", "down1", "up1"}
    assert used(0.5) == used(1.0) == {slot.name for slot in SMALL.slots}


def test_curriculum_needs_a_slot_to_be_empty(batch: Batch) -> None:
    full = temporal_space("full", SMALL.unet, (CONV1D, SELF_ATTENTION_1D))
    with pytest.raises(InputError, match="leaves slots empty at first"):
        list(RECIPES["curriculum"](Supernet(full), batch, Randomness(0, 0)))


@pytest.mark.parametrize("name", RECIPES)
def test_a_frozen_backbone_never_gets_a_path_with_nothing_to_learn(name: str, batch: Batch) -> None:
    supernet = Recorded(SMALL)
    supernet.backbone.requires_grad_(False)
    for step in range(30):
        for loss in RECIPES[name](supernet, batch, Randomness(1, step)):
            loss.backward()  # type: ignore[no-untyped-call]


class StopError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("name", RECIPES)
def test_resumed_training_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    plan = TrainingPlan(video_steps=60, video_clips=1, images=0.2)
    torch.manual_seed(0)
    backbone = build_backbone(SMALL.unet)
    whole: list[tuple[int, float]] = []
    broken: list[tuple[int, float]] = []
    rest: list[tuple[int, float]] = []
    recipe = RECIPES[name]

    def stop(done: int, loss: float) -> None:
        if done > 56:
            raise StopError
        broken.append((done, loss))

    def train(file: str, on_step: object) -> Supernet:
        return train_supernet(SMALL, backbone, plan, tmp_path / file, on_step, recipe)  # type: ignore[arg-type]

    first = train("a.safetensors", lambda done, loss: whole.append((done, loss)))
    with pytest.raises(StopError):
        train("b.safetensors", stop)
    second = train("b.safetensors", lambda done, loss: rest.append((done, loss)))
    assert whole[-1][0] == 60
    assert 0 < len(rest) < len(whole)
    assert rest == whole[-len(rest) :]
    assert broken == whole[: len(broken)]
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key


def test_recipes_of_a_users_own(tmp_path: Path) -> None:
    assert load_recipe("uniform") is uniform
    with pytest.raises(InputError, match="unknown recipe 'sandwitch'; shipped: uniform, fair"):
        load_recipe("sandwitch")

    def returned(supernet: Supernet, batch: Batch, randomness: Randomness) -> Tensor:
        return path_loss(supernet, batch, sampled(supernet, randomness.numpy()))

    def idle(*_: object) -> Iterator[Tensor]:
        yield from ()

    plan = TrainingPlan(video_steps=2, video_clips=1)
    backbone = build_backbone(SMALL.unet)
    for recipe, complaint in ((returned, "must yield its losses"), (idle, "has no loss")):
        with pytest.raises(InputError, match=complaint):
            train_supernet(SMALL, backbone, plan, tmp_path / "a.safetensors", recipe=recipe)  # type: ignore[arg-type]
