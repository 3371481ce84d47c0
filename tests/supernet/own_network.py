"""A supernet of a user's own: an MLP whose layers choose an operation and a width."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import Architecture, Choice, Condition, SearchSpace
from supernet import Minibatches, Randomness, Schedule, train_paths
from supernet.training.training import OnStep

WIDTHS = (4, 8, 16)
SPACE = SearchSpace(
    "mlp",
    (
        Choice("first", ("linear", "gated")),
        Choice("second", ("skip", "linear", "gated")),
        Choice("second.width", WIDTHS, Condition("second", ("linear", "gated"))),
        Choice("second.bias", (False, True), Condition("second", ("linear",))),
    ),
)
FEATURES, CLASSES = 6, 3


class Layer(nn.Module):
    """Residual, so that it may be skipped; the leading part of its hidden units is a width."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.enter, self.gate = (nn.Linear(FEATURES, max(WIDTHS)) for _ in range(2))
        self.leave = nn.Linear(max(WIDTHS), FEATURES)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_NF: Tensor, kind: str, width: int, *, bias: bool = True) -> Tensor:
        """Shape kept."""
        h = F.linear(x_NF, self.enter.weight[:width], self.enter.bias[:width])
        if kind == "gated":
            h = h * F.linear(x_NF, self.gate.weight[:width], self.gate.bias[:width]).sigmoid()
        h = F.linear(self.dropout(h.relu()), self.leave.weight[:, :width])
        return x_NF + (h + self.leave.bias if bias else h)


class OwnNetwork(nn.Module):
    """Classifies; remembers the paths that it was asked for."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = Layer(dropout), Layer(dropout)
        self.classify = nn.Linear(FEATURES, CLASSES)
        self.paths: list[Architecture] = []

    def forward(self, x_NF: Tensor, architecture: Architecture) -> Tensor:
        """(N, FEATURES) to logits (N, CLASSES)."""
        self.paths.append(architecture)
        a = architecture
        h = self.first(x_NF, str(a["first"]), max(WIDTHS))
        if a["second"] != "skip":
            bias = bool(a.get("second.bias", True))
            h = self.second(h, str(a["second"]), int(a["second.width"]), bias=bias)
        logits: Tensor = self.classify(h)
        return logits


def draw(randomness: Randomness, wanted: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Points of as many clouds as there are classes, each by a seed of its own."""
    features, labels = [], []
    for index in wanted:
        generator = torch.Generator().manual_seed(randomness.clip_seed(index))
        label = int(torch.randint(CLASSES, (), generator=generator))
        features.append(torch.randn(FEATURES, generator=generator) + 2 * label)
        labels.append(label)
    return torch.stack(features), torch.tensor(labels)


BATCHES = Minibatches(draw, 8)


def own_network(dropout: float = 0.0) -> OwnNetwork:
    """Fresh weights, always the same."""
    torch.manual_seed(0)
    return OwnNetwork(dropout)


def train(path: Path, recipe: Any = "uniform", passes: int = 60, **more: Any) -> OwnNetwork:
    """Train it with what is given, else with its own."""
    module = more.pop("module", None) or own_network()
    schedule = more.pop("schedule", Schedule(passes))
    batches, criterion = more.pop("batches", BATCHES), more.pop("criterion", F.cross_entropy)
    space = more.pop("space", SPACE)
    found = train_paths(module, space, batches, criterion, path, schedule, recipe=recipe, **more)
    assert isinstance(found, OwnNetwork)
    return found


class StopError(Exception):
    """A training ends here, as if it had been killed."""


def stop_after(passes: int) -> OnStep:
    """End a training after so many passes."""

    def on_step(done: int, _: float) -> None:
        if done > passes:
            raise StopError

    return on_step
