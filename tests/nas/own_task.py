"""A stranger's task: a small CNN, how good it is by a formula, and how it is built."""

import math
import os
import time
from pathlib import Path
from typing import Any

import nas
from search_spaces import Architecture, Choice, SearchSpace

SPACE = SearchSpace(
    "small_cnn",
    [
        Choice("depth", (2, 3, 4)),
        Choice("width", (8, 12, 16, 24)),
        Choice("kernel", (3, 5, 7)),
        Choice("act", ("relu", "silu", "none")),
    ],
)
OBJECTIVES = ("accuracy_pct:max", "latency_ms")


def accuracy(architecture: Architecture) -> float:
    """Deeper, wider and with an activation is better, with less and less to gain."""
    depth, width, kernel, act = (architecture[choice.name] for choice in SPACE.choices)
    gained = {"relu": 1.0, "silu": 2.0, "none": -6.0}[str(act)]
    return 60 + 8 * math.log2(float(depth)) + 4 * math.log2(float(width)) + float(kernel) + gained


def several(architecture: Architecture) -> dict[str, float]:
    """Two things at once, and one that nobody asked for."""
    found = accuracy(architecture)
    return {"top5_pct": found + 5, "accuracy_pct": found, "calibration_loss": 0.1}


def build(architecture: Architecture) -> Any:
    """The network, of a stem, equal layers and a classifier."""
    from torch import nn

    depth, width, kernel, act = (architecture[choice.name] for choice in SPACE.choices)
    layers: list[nn.Module] = [nn.Conv2d(3, int(width), 3, 2, 1)]
    for _ in range(int(depth)):
        layers.append(nn.Conv2d(int(width), int(width), int(kernel), 1, int(kernel) // 2))
        layers.append(nn.BatchNorm2d(int(width)))
        if act != "none":
            layers.append(nn.ReLU(inplace=True) if act == "relu" else nn.SiLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(int(width), 10))


def weights(architecture: Architecture) -> dict[str, Any]:
    """Trained elsewhere: here, all of one seed."""
    import torch

    torch.manual_seed(7)
    return dict(build(architecture).state_dict())


def noisy(architecture: Architecture, images: int = 1000) -> float:
    """Fewer images tell less: an error that depends on the network alone."""
    unlucky = int(architecture.digest[:6], 16) / 0xFFFFFF - 0.5
    return accuracy(architecture) + 60 * unlucky / math.sqrt(images)


def arbitrary(architecture: Architecture) -> float:
    """Has nothing to do with how good a network is."""
    return 60 + 20 * int(architecture.digest[:6], 16) / 0xFFFFFF


def text(architecture: Architecture) -> Any:  # noqa: ARG001
    """No number."""
    return "good"


def two(architecture: Architecture) -> Any:
    """One too many."""
    return accuracy(architecture), 1.0


def unitless(architecture: Architecture) -> Any:
    """A name without a unit."""
    return {"acc": accuracy(architecture)}


def other(architecture: Architecture) -> Any:
    """What nobody asked for."""
    return {"top5_pct": accuracy(architecture)}


def broken(architecture: Architecture) -> float:
    """Never works."""
    raise RuntimeError(f"no data for {architecture['depth']} layers")


def nan(architecture: Architecture) -> float:  # noqa: ARG001
    """Diverged."""
    return math.nan


def sometimes(architecture: Architecture) -> float:
    """Raises for some, and is no number of others."""
    if architecture["kernel"] == 7:
        raise RuntimeError("out of memory")
    return math.nan if architecture["act"] == "none" else accuracy(architecture)


def slow(architecture: Architecture) -> float:
    """Says in a file that it was asked, and takes its time."""
    with Path(os.environ["ASKED"]).open("a") as asked:
        asked.write(f"{architecture.digest}\n")
    time.sleep(0.2)
    return accuracy(architecture)


def picky(architecture: Architecture) -> Any:
    """Builds no network of kernel 7."""
    if architecture["kernel"] == 7:
        raise ValueError("kernel 7 is not supported")
    return build(architecture)


def greedy(architecture: Architecture) -> float:
    """Best where `picky` builds nothing."""
    return accuracy(architecture) + 50 * (architecture["kernel"] == 7)


def undecided(architecture: Architecture) -> Any:
    """Branches on what it sees, which no program of torch.export can."""
    from torch import Tensor, nn

    class Undecided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = build(architecture)

        def forward(self, x_NCHW: Tensor) -> Tensor:
            out: Tensor = self.layers(x_NCHW)
            return out if out.sum() > 0 else -out

    return Undecided()


def unbuildable(architecture: Architecture) -> Any:
    """Builds nothing."""
    raise ValueError(f"no such layer: {architecture['act']}")


def tied(architecture: Architecture) -> Any:
    """A language model whose head is its embedding."""
    from torch import Tensor, nn

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = int(architecture["width"])
            self.embedding = nn.Embedding(11, width)
            self.head = nn.Linear(width, 11, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens_BL: Tensor) -> Tensor:
            out: Tensor = self.head(self.embedding(tokens_BL))
            return out

    return Tied()


def raising() -> nas.Task:
    """A task that needs what is not there."""
    raise OSError("no data here")


TASK = nas.Task(SPACE, accuracy, OBJECTIVES, build, "1,3,32,32", name="small CNN")


def make() -> nas.Task:
    """The task with weights of its own."""
    return TASK.asked_for(weights=weights)


PICKY = TASK.asked_for(build=picky)
