"""A small mobile network of one's own, from convolutions to attention: all that a search asks for.

Four stages halve the picture; in each stands one of three blocks, or nothing. How good a network is
(`accuracy`) is made up, so that the example takes seconds: in your file it trains, or asks a
supernet, or looks into a table. Everything else is as you would write it.
"""

import math

import torch
from torch import Tensor, nn

import nas
from search_spaces import Architecture, Choice, SearchSpace

BLOCKS = ("conv3", "conv5", "attention", "skip")
STAGES = ("stage0", "stage1", "stage2", "stage3")
SPACE = SearchSpace(
    "mobile_hybrid",
    [
        Choice("width", (16, 24, 32)),
        *(Choice(stage, BLOCKS) for stage in STAGES),
        Choice("expand", (2, 3, 4)),
    ],
)
CLASSES = 100
HEAD = 16  # channels of an attention head
GAINS = {"conv3": 1.0, "conv5": 1.15, "attention": 0.7, "skip": 0.0}  # of a block, in stage 0


def accuracy(architecture: Architecture) -> float:
    """Made up, in %: every block helps, attention more where pixels are few, less and less.

    94 (1 - exp(-g)), where g adds up what the stages gain: attention's share grows by half from
    stage to stage, that of convolutions shrinks by a tenth; width and expansion count by their
    logarithms. Two equal neighbours gain 10% less.
    """
    total, before = 0.0, ""
    for number, stage in enumerate(STAGES):
        block = str(architecture[stage])
        growth = 1.5 if block == "attention" else 0.9
        gain = GAINS[block] * growth**number
        total += gain * (0.9 if block == before else 1.0)
        before = block
    capacity = (
        math.log2(float(architecture["width"])) / 5 + math.log2(float(architecture["expand"])) / 8
    )
    return 94 * (1 - math.exp(-0.55 * total * capacity - 0.9))


class Attention(nn.Module):
    """Self-attention over the pixels of a picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = channels // HEAD
        self.norm = nn.GroupNorm(1, channels)
        self.into = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Shape kept."""
        n, c, h, w = x_NCHW.shape
        q, k, v = (
            self.into(self.norm(x_NCHW)).reshape(n, 3, self.heads, c // self.heads, h * w).unbind(1)
        )
        weights = (q.transpose(-1, -2) @ k / math.sqrt(c // self.heads)).softmax(-1)
        return x_NCHW + self.out((v @ weights.transpose(-1, -2)).reshape(n, c, h, w))


class Inverted(nn.Module):
    """An inverted bottleneck: wider, a depthwise convolution, narrow again."""

    def __init__(self, channels: int, kernel: int, expand: int) -> None:
        super().__init__()
        wide = channels * expand
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1),
            nn.BatchNorm2d(wide),
            nn.SiLU(),
            nn.Conv2d(wide, wide, kernel, 1, kernel // 2, groups=wide),
            nn.BatchNorm2d(wide),
            nn.SiLU(),
            nn.Conv2d(wide, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Shape kept."""
        out: Tensor = x_NCHW + self.layers(x_NCHW)
        return out


def build(architecture: Architecture) -> nn.Module:
    """The network of an architecture: a stem, four stages, a classifier."""
    width, expand = int(architecture["width"]), int(architecture["expand"])
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), nn.SiLU()]
    for number, stage in enumerate(STAGES):
        channels = width * 2**number // HEAD * HEAD or HEAD
        before = width if number == 0 else width * 2 ** (number - 1) // HEAD * HEAD or HEAD
        layers.append(nn.Conv2d(before, channels, 2, 2))
        layers.append(_block(str(architecture[stage]), channels, expand))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def _block(name: str, channels: int, expand: int) -> nn.Module:
    if name == "skip":
        return nn.Identity()
    if name == "attention":
        return Attention(channels)
    return Inverted(channels, int(name.removeprefix("conv")), expand)


def weights(architecture: Architecture) -> dict[str, Tensor]:
    """Where your trained weights come from; here they are drawn by a seed."""
    torch.manual_seed(0)
    return dict(build(architecture).state_dict())


TASK = nas.Task(
    SPACE,
    evaluate=accuracy,
    objectives=["accuracy_pct:max", "latency_ms"],
    build=build,
    shape="1,3,128,128",
    weights=weights,
    name="mobile hybrid",
)
