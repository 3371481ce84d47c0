"""Supernets of a user's own: trained by the recipes that train ours."""

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from own_network import SPACE, OwnNetwork, StopError, draw, own_network, stop_after, train
from safetensors.torch import load_file
from torch import Tensor

from search_spaces import InputError
from supernet import (
    Execution,
    PathPolicy,
    Paths,
    Randomness,
    Schedule,
    load_paths,
    path_loss,
    sampled,
)
from supernet.training.minibatches import Pair
from supernet.training.recipes import RECIPES
from supernet.training.training import OnStep, state_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.kernels
@pytest.mark.parametrize("recipe", RECIPES)
def test_resumed_training_equals_uninterrupted(recipe: str, tmp_path: Path) -> None:
    """With dropout, and whatever torch's own generator says when it goes on."""
    whole: list[tuple[int, float]] = []
    rest: list[tuple[int, float]] = []

    def trained(name: str, on_step: OnStep) -> OwnNetwork:
        module = own_network(dropout=0.2)
        return train(tmp_path / name, recipe, module=module, on_step=on_step)

    first = trained("a", lambda done, loss: whole.append((done, loss)))
    with pytest.raises(StopError):
        trained("b", stop_after(54))
    assert state_path(tmp_path / "b").exists()
    assert not (tmp_path / "b").exists()
    torch.manual_seed(99)
    second = trained("b", lambda done, loss: rest.append((done, loss)))
    assert 0 < len(rest) < len(whole)
    assert rest == whole[-len(rest) :]
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    answered = trained("b", stop_after(0)).state_dict()  # no step: its file has it
    loaded = load_paths(OwnNetwork(), SPACE, tmp_path / "b").state_dict()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, answered[name]), name
        assert torch.equal(tensor, loaded[name]), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_path_learns(recipe: str, tmp_path: Path) -> None:
    schedule = Schedule(400, learning_rate=1e-2)
    module = train(tmp_path / "a", recipe, schedule=schedule)
    unseen = Pair(*draw(Randomness(1, 0), range(200)))
    for architecture in SPACE.enumerate():
        accuracy = (module(unseen.inputs, architecture).argmax(1) == unseen.target).float().mean()
        assert accuracy > 0.6, str(architecture)


@pytest.mark.kernels
def test_recomputed_activations_change_nothing(tmp_path: Path) -> None:
    """Dropout draws the same again; in bfloat16 it is another training."""

    def trained(name: str, execution: Execution) -> Tensor:
        module = own_network(dropout=0.2)
        weights = train(tmp_path / name, module=module, passes=20, execution=execution)
        return weights.first.enter.weight.detach()

    plain = trained("a", Execution())
    assert torch.equal(plain, trained("b", Execution(checkpointing=True)))
    coarse = trained("c", Execution(bf16=True))
    assert coarse.dtype == torch.float32
    assert not torch.equal(plain, coarse)


@pytest.mark.parametrize("recipe", RECIPES)
def test_frozen_parts_stay_and_their_paths_are_left_out(recipe: str, tmp_path: Path) -> None:
    """Only the second layer is trained: a path that skips it has nothing to learn."""
    module = own_network()
    module.requires_grad_(requires_grad=False)
    module.second.requires_grad_(requires_grad=True)
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(InputError, match=r"nothing learns on path first=\w+ second=skip: its loss"):
        train(tmp_path / "a", recipe, module=module)
    policy = PathPolicy(learns=lambda a: a["second"] != "skip", closed={"second": "linear"})
    trained = train(tmp_path / "b", recipe, module=module, policy=policy).state_dict()
    assert not any(path["second"] == "skip" for path in module.paths[10:])
    for name, tensor in before.items():
        assert torch.equal(tensor, trained[name]) != name.startswith("second"), name
    with pytest.raises(InputError, match="random paths none has anything to learn"):
        sampled(
            Paths(module, SPACE, policy=PathPolicy(learns=lambda _: False)),
            np.random.default_rng(0),
        )


@pytest.mark.slow
def test_the_readme_trains_one(tmp_path: Path) -> None:
    text = (ROOT / "supernet" / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if "train_paths(" in block)
    judged = """
x, target = draw(Randomness(1, 0), range(500))
for architecture in SPACE.enumerate():
    assert torch.equal(trained(x, architecture), same(x, architecture))
    learned = (same(x, architecture).argmax(1) == target).float().mean()
    # far from chance's .5 and from what seeds give: skip .77 to .88, the others .97 and more
    assert learned > (0.6 if architecture["layer"] == "skip" else 0.85), str(architecture)
"""
    code += "\nfrom supernet import Randomness\n" + judged
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def mine(supernet: Paths, batch: Pair, randomness: Randomness) -> Iterator[Tensor]:
    """A recipe of a user's own: two random paths."""
    rng = randomness.numpy()
    for _ in range(2):
        yield path_loss(supernet, batch, sampled(supernet, rng))


def test_recipes_of_a_users_own(tmp_path: Path) -> None:
    losses: list[int] = []
    module = train(
        tmp_path / "a", f"{__name__}:mine", 10, on_step=lambda done, _: losses.append(done)
    )
    assert losses == [2, 4, 6, 8, 10]
    assert len(module.paths) == 10
    with pytest.raises(InputError, match="must yield its losses, not return one"):
        train(tmp_path / "b", lambda s, b, r: path_loss(s, b, sampled(s, r.numpy())))


@dataclass(frozen=True)
class Training:
    """By every recipe; in float64, in which sums in another order still agree after Adam."""

    folder: str
    seed: int  # of what each begins with; the first worker's counts

    def __call__(self) -> None:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)
        try:
            for recipe in RECIPES:
                torch.manual_seed(self.seed)
                train(Path(self.folder) / recipe, recipe, 12, module=OwnNetwork())
        finally:
            torch.set_default_dtype(torch.float32)


def work(rank: int, folder: str) -> None:
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    Training(folder, seed=rank)()
    dist.barrier()  # who leaves first would end the other's threads
    dist.destroy_process_group()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.kernels
def test_two_workers_train_what_one_trains(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    torch.multiprocessing.spawn(work, (str(tmp_path / "two"),), nprocs=2)
    Training(str(tmp_path / "one"), seed=0)()
    for recipe in RECIPES:
        one, two = (load_file(tmp_path / name / recipe) for name in ("one", "two"))
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            assert torch.allclose(tensor, two[key], rtol=0, atol=1e-10), (recipe, key)
