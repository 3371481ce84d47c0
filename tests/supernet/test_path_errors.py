"""What a training of a user's own supernet refuses, in one line each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from own_network import SPACE, OwnNetwork, StopError, stop_after, train
from torch import Tensor, nn

from search_spaces import Choice, InputError, SearchSpace
from supernet import Minibatches, PathPolicy, Schedule, load_paths


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
