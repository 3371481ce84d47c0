"""Workers that share a batch against one that has it all."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from search_spaces import (
    CONV1D,
    HEADS,
    NONE,
    SELF_ATTENTION_1D,
    AnyUNetShape,
    InputError,
    UNetShape,
    temporal_space,
)
from supernet import Clips, TrainingPlan, train_backbone, train_supernet
from supernet.data.splits import Split
from supernet.training.recipes import RECIPES
from supernet.training.workers import Workers

pytestmark = pytest.mark.slow
OPERATORS = (NONE, CONV1D, SELF_ATTENTION_1D.elastic(HEADS))
SMALL = temporal_space("small", UNetShape(1, (8, 16), 4, 8, 8, 2, 10), OPERATORS)
PLAN = TrainingPlan(
    image_steps=2,
    image_clips=2,
    video_steps=12,
    video_clips=2,
    images=0.3,
    data=f"{__name__}:Noise",
)


@dataclass(frozen=True)
class Noise:
    """Clips in whatever precision torch is set to."""

    shape: AnyUNetShape
    split: Split

    def clips(self, count: int, seed: int) -> Clips:
        generator = torch.Generator().manual_seed(seed)
        x_BCTHW = torch.randn(count, 1, 4, 8, 8, generator=generator)
        return Clips(x_BCTHW, torch.rand(count, 2, 10, generator=generator))


def train_all(folder: Path) -> None:
    """By every recipe; in float64, in which sums in another order still agree after Adam."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        backbone = train_backbone(SMALL, PLAN, folder / "backbone.safetensors")
        for name, recipe in RECIPES.items():
            train_supernet(SMALL, backbone, PLAN, folder / f"{name}.safetensors", recipe=recipe)
    finally:
        torch.set_default_dtype(torch.float32)


def work(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    train_all(Path(folder))
    dist.barrier()  # who leaves first would end the other's threads
    dist.destroy_process_group()


@pytest.mark.long
@pytest.mark.kernels
def test_two_workers_train_what_one_trains(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    torch.multiprocessing.spawn(work, (str(tmp_path / "two"),), nprocs=2)
    train_all(tmp_path / "one")
    for name in ("backbone", *RECIPES):
        one, two = (load_file(tmp_path / n / f"{name}.safetensors") for n in ("one", "two"))
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            assert torch.allclose(tensor, two[key], rtol=0, atol=1e-10), (name, key)


def test_a_batch_that_does_not_split() -> None:
    assert [list(Workers(rank, 2).share(4)) for rank in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(InputError, match="does not split evenly among 3 workers"):
        Workers(0, 3).share(4)
