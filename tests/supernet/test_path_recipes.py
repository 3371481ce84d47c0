"""What paths the recipes ask a user's own supernet for."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from own_network import SPACE, OwnNetwork, draw, own_network
from torch import Tensor

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
from supernet import PathPolicy, Paths, Randomness, path_loss
from supernet.training.fairness import rounds, units_of
from supernet.training.minibatches import Pair
from supernet.training.paths import completed
from supernet.training.recipes import RECIPES

BATCH = Pair(*draw(Randomness(0, 0), range(8)))


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
