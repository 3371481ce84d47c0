"""Supernets of a user's own: trained by the recipes that train ours."""

import copy
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from own_network import BATCHES, SPACE, OwnNetwork, draw, own_network
from safetensors.torch import load_file
from torch import Tensor, nn

from search_spaces import (
    AllOf,
    Architecture,
    CellGraph,
    Choice,
    Condition,
    Edge,
    InputError,
    NumericChoice,
    SearchSpace,
)
from supernet import (
    Execution,
    Minibatches,
    PathPolicy,
    Paths,
    Randomness,
    Schedule,
    load_paths,
    path_loss,
    sampled,
    train_paths,
)
from supernet.training.fairness import rounds, units_of
from supernet.training.minibatches import Pair
from supernet.training.paths import completed
from supernet.training.recipes import RECIPES
from supernet.training.training import OnStep, state_path

ROOT = Path(__file__).resolve().parents[2]
BATCH = Pair(*draw(Randomness(0, 0), range(8)))


def train(path: Path, recipe: Any = "uniform", passes: int = 60, **more: Any) -> OwnNetwork:
    module = more.pop("module", None) or own_network()
    schedule = more.pop("schedule", Schedule(passes))
    batches, criterion = more.pop("batches", BATCHES), more.pop("criterion", F.cross_entropy)
    space = more.pop("space", SPACE)
    found = train_paths(module, space, batches, criterion, path, schedule, recipe=recipe, **more)
    assert isinstance(found, OwnNetwork)
    return found


class StopError(Exception):
    pass


def stop_after(passes: int) -> OnStep:
    def on_step(done: int, _: float) -> None:
        if done > passes:
            raise StopError

    return on_step


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


def test_a_step_of_fair_takes_every_option_of_every_free_choice() -> None:
    """Of `first`, which has fewer, each as often over two rounds; what depends takes turns."""
    module = own_network()
    paths = Paths(module, SPACE, F.cross_entropy)
    seen: dict[str, Counter[object]] = {choice.name: Counter() for choice in SPACE.choices}
    joint: Counter[object] = Counter()
    for step in range(12):
        module.paths.clear()
        losses = list(RECIPES["fair"](paths, BATCH, Randomness(0, step)))
        assert len(losses) == len(module.paths) == 3
        assert Counter(p["second"] for p in module.paths) == {"skip": 1, "linear": 1, "gated": 1}
        assert max(Counter(p["first"] for p in module.paths).values()) == 2
        for path in module.paths:
            for name, option in path.items():
                seen[name][option] += 1
            joint[tuple(o for n, o in path.items() if n.startswith("second"))] += 1
    assert set(seen["first"].values()) == {18}
    assert set(seen["second"].values()) == {12}
    assert set(seen["second.width"].values()) == {8}
    assert set(seen["second.bias"].values()) == {6}
    assert joint == {
        ("skip",): 12,
        **{("linear", width, bias): 2 for width in (4, 8, 16) for bias in (False, True)},
        **{("gated", width): 4 for width in (4, 8, 16)},
    }


def test_rounds_of_graphs_of_conditions_on_several_choices_and_of_numbers() -> None:
    """Dealt out as fairly, each by itself; and architectures of them are whole."""
    both = AllOf((Condition("a", (1,)), Condition("b", (True,))))
    edges = tuple(Edge(start, stop, f"e{start}{stop}") for start, stop in ("01", "12", "02"))
    space = SearchSpace(
        "mixed",
        (
            Choice("a", (1, 2)),
            Choice("b", (False, True)),
            Choice("both", ("x", "y", "z"), both),
            *(Choice(edge.choice, ("none", "conv", "skip")) for edge in edges if edge.choice),
            Choice("kernel", (3, 5), Condition("e01", ("conv",))),
            NumericChoice("rate", 0.0, 1.0),
        ),
        (CellGraph(edges, ("0",), ("2",)),),
    )
    dealt: dict[str, Counter[object]] = {}
    for step in range(6):
        found = list(rounds(units_of(space), Randomness(0, step)))
        assert len(found) == 3
        for decisions in found:
            for name, option in decisions.items():
                dealt.setdefault(name, Counter())[option] += 1
            architecture = completed(space, decisions, np.random.default_rng(step))
            assert architecture == space.architecture(dict(architecture))
            assert 0 <= float(architecture["rate"]) <= 1
    for name, times in {
        "a": 9,
        "b": 9,
        "both": 6,
        "e01": 6,
        "e12": 6,
        "e02": 6,
        "kernel": 3,
    }.items():
        assert set(dealt[name].values()) == {times}, name


def test_numbers_that_vary_freely_are_no_options() -> None:
    space = SearchSpace("rate", (NumericChoice("rate", 0.0, 1.0),))
    with pytest.raises(InputError, match="recipe 'fair' deals out options"):
        list(rounds(units_of(space), Randomness(0, 0)))


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


def test_what_has_too_many_settings_is_dealt_out_by_itself() -> None:
    inner = tuple(Choice(f"c{i}", tuple(range(9)), Condition("root", ("on",))) for i in range(6))
    space = SearchSpace("deep", (Choice("root", ("off", "on")), *inner))
    units = units_of(space)
    assert sorted(len(unit.kinds) for unit in units) == [2, 9, 9, 9]
    assert max(len(kind) for unit in units for kind in unit.kinds) == 9**3


def test_sandwich_takes_the_largest_and_teaches_the_others_by_it() -> None:
    module = own_network()
    told: list[tuple[Tensor, Tensor]] = []

    def distillation(output: Tensor, taught: Tensor) -> Tensor:
        told.append((output, taught))
        return F.mse_loss(output.softmax(1), taught.softmax(1))

    paths = Paths(module, SPACE, F.cross_entropy, distillation)
    losses = list(RECIPES["sandwich"](paths, BATCH, Randomness(0, 0)))
    largest, smallest, *_ = module.paths
    assert dict(largest) == {"first": "gated", "second": "gated", "second.width": 16}
    assert dict(smallest) == {"first": "linear", "second": "skip"}
    assert torch.equal(losses[0], path_loss(paths, BATCH, largest))
    assert len(losses) == 4
    assert len(told) == 3
    for (output, taught), loss in zip(told, losses[1:], strict=True):
        assert torch.equal(taught, module(BATCH.inputs, largest))
        assert not taught.requires_grad
        assert torch.equal(loss, F.mse_loss(output.softmax(1), taught.softmax(1)))


def test_sandwich_is_told_by_sizes_what_the_largest_is() -> None:
    def size(architecture: Architecture) -> float:
        costs = {"linear": 3.0, "gated": 1.0, "skip": 0.0}  # not as they are listed
        second = costs[str(architecture["second"])] * float(architecture.get("second.width", 0))
        return costs[str(architecture["first"])] + second + bool(architecture.get("second.bias"))

    paths = Paths(own_network(), SPACE, F.cross_entropy, policy=PathPolicy(size=size))
    everything = list(SPACE.enumerate())
    assert paths.extremes == (max(everything, key=size), min(everything, key=size))


@pytest.mark.parametrize("given", [False, True])
def test_curriculum_opens_choices_in_order(given: bool) -> None:
    order = ("second.width", "second", "first") if given else ()
    closed = {"second": "gated"} if given else {}
    paths = Paths(own_network(), SPACE, F.cross_entropy, policy=PathPolicy(None, order, closed))
    module = paths.module
    assert isinstance(module, OwnNetwork)

    def taken(progress: float) -> dict[str, set[object]]:
        module.paths.clear()
        for step in range(60):
            list(RECIPES["curriculum"](paths, BATCH, Randomness(0, step, progress)))
        names = [choice.name for choice in SPACE.choices]
        return {name: {path.get(name) for path in module.paths} for name in names}

    if given:
        only_width = {"first": {"linear"}, "second": {"gated"}, "second.width": {4, 8, 16}}
        assert taken(0.0) == {**only_width, "second.bias": {None}}
        assert taken(0.13)["second"] == {"skip", "linear", "gated"}
        assert taken(0.13)["first"] == {"linear"}
    else:
        first = taken(0.0)
        assert first["first"] == {"linear", "gated"}
        assert first["second"] == {"skip"}
        assert taken(0.13)["second"] == {"skip", "linear", "gated"}
        assert taken(0.13)["second.width"] == {None, 4}
    assert taken(0.5)["second.bias"] == {None, False, True}


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
    assert (same(x, architecture).argmax(1) == target).float().mean() > 0.75
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


class NoArchitecture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x_NF: Tensor) -> Tensor:
        found: Tensor = self.layer(x_NF)
        return found


def per_example(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none")


def number(output: Tensor, target: Tensor) -> float:
    return float(F.cross_entropy(output, target).detach())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"criterion": per_example}, r"a loss must be one number; found a tensor of shape \(8,\)"),
        ({"criterion": number}, "a loss must be a tensor of one number; found a float"),
        (
            {"module": NoArchitecture()},
            r"NoArchitecture.forward\(x_NF\) does not take 1 input and an architecture after them",
        ),
        (
            {"batches": Minibatches(lambda *_: torch.zeros(8, 6), 8)},
            r"a batch is a pair \(inputs",
        ),
        ({"module": nn.Linear(2, 2).requires_grad_(requires_grad=False)}, "nothing to train"),
        ({"policy": PathPolicy(opening=("third",))}, "has no choice 'third' that a curriculum"),
        ({"policy": PathPolicy(closed={"first": "none"})}, "choice 'first' has no option 'none'"),
        ({"recipe": "best"}, "unknown recipe 'best'"),
        ({"space": "mlp"}, "a str is no SearchSpace"),
        ({"schedule": Schedule(0)}, "a training needs 1 pass or more; found 0"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        train(tmp_path / "a", **change)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="loss is nan at step 1"):
        train(tmp_path / "a", criterion=lambda o, t: F.cross_entropy(o, t) * float("nan"))


def test_files_of_another_training(tmp_path: Path) -> None:
    path = tmp_path / "a"
    train(path, passes=4)
    other = SearchSpace("other", SPACE.choices)
    more = SearchSpace("mlp", (*SPACE.choices, Choice("third", (1, 2))))
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: train(path, passes=4, seed=1), "was trained with another seed"),
        (lambda: train(path, "fair", passes=4), "was trained with another recipe"),
        (lambda: train(path, passes=5), "was trained with another schedule"),
        (lambda: train(path, passes=4, notes={"data": "b"}), "was trained with another data"),
        (lambda: train(path, passes=4, space=other), "which is not the given 'other'"),
        (lambda: load_paths(OwnNetwork(), more, path), "was trained for space 'mlp'"),
        (lambda: load_paths(NoArchitecture(), SPACE, path), "lacks 2 tensors"),
    ]
    for call, complaint in cases:
        with pytest.raises(InputError, match=complaint):
            call()
    with pytest.raises(StopError):
        train(tmp_path / "b", on_step=stop_after(54))
    with pytest.raises(InputError, match="unfinished training of another space"):
        train(tmp_path / "b", space=other)
    later = {"recipe": "curriculum", "policy": PathPolicy(opening=("second",))}
    with pytest.raises(StopError):
        train(tmp_path / "c", "curriculum", on_step=stop_after(54))
    with pytest.raises(InputError, match="unfinished training of another opening"):
        train(tmp_path / "c", **later)
    with pytest.raises(InputError, match="lacks 2 tensors"):
        train(tmp_path / "b", module=NoArchitecture())


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
