"""The networks of NAS-Bench-201: a cell whose graph the space knows, repeated in three stages.

Dong and Yang 2020, arXiv:2001.00326. `cell.json` is the space: six edges among four nodes, and what
is off every path from the first to the last does not matter, so that its 15,625 strings are 9,445
networks.

    nas predict --device iphone-15-pro --model examples.nas_bench_201.network:build \\
        --shape 1,3,32,32
"""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import Architecture, load

SPACE = load(str(Path(__file__).with_name("cell.json")))
CHANNELS, CELLS, CLASSES = 16, 5, 10  # of the first stage, a stage, and of CIFAR-10


def build(architecture: Architecture | None = None) -> nn.Module:
    """The network of an architecture; without one, of 3 x 3 convolutions on every edge."""
    everywhere = SPACE.architecture(dict.fromkeys(SPACE.graphs[0].choices, "nor_conv_3x3"))
    return CellNetwork(everywhere if architecture is None else architecture)


class CellNetwork(nn.Module):
    """A stem, three stages of cells with a residual block between them, and a classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = (CHANNELS, 2 * CHANNELS, 4 * CHANNELS)
        self.stem = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)
        )
        stages: list[nn.Module] = []
        for stage, width in enumerate(widths):
            if stage > 0:
                stages.append(Shrink(widths[stage - 1], width))
            stages += [Cell(architecture, width) for _ in range(CELLS)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classify = nn.Linear(widths[-1], CLASSES)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, CLASSES)."""
        h = F.relu(self.norm(self.stages(self.stem(x_NCHW))))
        logits: Tensor = self.classify(h.mean(dim=(2, 3)))
        return logits


class Cell(nn.Module):
    """Sums over edges: what is in the architecture and is not absent, and nothing else."""

    def __init__(self, architecture: Architecture, channels: int) -> None:
        super().__init__()
        graph = SPACE.graphs[0]
        self.edges = [
            (int(edge.start), int(edge.stop), edge.choice)
            for edge in graph.edges
            if edge.choice in architecture and architecture[edge.choice] not in graph.absent
        ]
        self.operations = nn.ModuleDict()
        for _, _, name in self.edges:
            self.operations[str(name)] = operation(str(architecture[str(name)]), channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Shape kept."""
        nodes: dict[int, Tensor] = {0: x_NCHW}
        for start, stop, name in sorted(self.edges):
            found = self.operations[str(name)](nodes[start])
            nodes[stop] = nodes[stop] + found if stop in nodes else found
        return nodes.get(3, x_NCHW * 0)


class Shrink(nn.Module):
    """A residual block of stride 2."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = convolution(channels_in, channels_out, 3, stride=2)
        self.second = convolution(channels_out, channels_out, 3)
        self.skip = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, channels_in, H, W) to (N, channels_out, H / 2, W / 2)."""
        out: Tensor = self.skip(x_NCHW) + self.second(self.first(x_NCHW))
        return out


def operation(name: str, channels: int) -> nn.Module:
    """What an option of an edge computes; shapes stay."""
    made = {
        "skip_connect": nn.Identity,
        "nor_conv_1x1": lambda: convolution(channels, channels, 1),
        "nor_conv_3x3": lambda: convolution(channels, channels, 3),
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
    }
    return made[name]()


def convolution(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Module:
    """ReLU, convolution, batch norm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )
