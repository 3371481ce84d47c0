"""iFormer (Zheng, "iFormer: Integrating ConvNet and Transformer for Mobile Application", 2025).

Its inference form: batch norms and identities folded into the convolutions. B images, C channels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_networks.building import Build, Built


class Residual(nn.Module):
    """What a block adds to its input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        added: Tensor = self.layers(x_BCHW)
        return x_BCHW + added


def feed_forward(width: int, ratio: int) -> list[nn.Module]:
    """Two 1 x 1 convolutions."""
    return [
        nn.Conv2d(width, ratio * width, 1),
        nn.GELU(),
        nn.Conv2d(ratio * width, width, 1),
    ]


def depthwise(width: int, kernel: int) -> nn.Module:
    """A depthwise convolution that keeps the size."""
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)


class ModulatedAttention(nn.Module):
    """Attention of a single head, its result gated by the input."""

    def __init__(self, width: int, keys: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(width, keys, 1), nn.Conv2d(width, keys, 1)
        self.value_and_gate = nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        value, gate = self.value_and_gate(x_BCHW).sigmoid().chunk(2, dim=1)
        rows = (y.flatten(2).transpose(1, 2) for y in (self.query(x_BCHW), self.key(x_BCHW), value))
        mixed = F.scaled_dot_product_attention(*rows).transpose(1, 2)
        result: Tensor = self.out(mixed.reshape(x_BCHW.shape) * gate)
        return result


def attention_blocks(blocks: int, width: int, keys: int, ratio: int) -> list[nn.Module]:
    """Blocks of a position encoding by convolution, attention, and a feed-forward part."""
    return [
        part
        for _ in range(blocks)
        for part in (
            depthwise(width, 3),
            Residual(ModulatedAttention(width, keys)),
            Residual(*feed_forward(width, ratio)),
        )
    ]


@dataclass(frozen=True)
class Size:
    """What tells the sizes of iFormer apart."""

    widths: tuple[int, int, int, int]
    convolutions: int  # blocks in the third stage before its attention
    attentions: int  # blocks in the third stage
    convolution_ratio: int
    attention_ratio: int


class Head(nn.Module):
    """The classifier of the mean pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, 1000)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        result: Tensor = self.classifier(x_BCHW.mean((2, 3)))
        return result


def iformer(size: Size) -> Build:
    """iFormer on an image of 224 px."""

    def convolutions(blocks: int, width: int) -> list[nn.Module]:
        ratio = size.convolution_ratio
        return [Residual(depthwise(width, 7), *feed_forward(width, ratio)) for _ in range(blocks)]

    def build() -> Built:
        first, second, third, fourth = size.widths
        half, ratio = first // 2, size.attention_ratio
        network = nn.Sequential(
            nn.Conv2d(3, half, 5, 2, 2),
            nn.GELU(),
            nn.Conv2d(half, 4 * half, 5, 2, 2),
            nn.GELU(),
            nn.Conv2d(4 * half, first, 1),
            *convolutions(2, first),
            nn.Conv2d(first, second, 3, 2, 1),
            *convolutions(2, second),
            nn.Conv2d(second, third, 3, 2, 1),
            *convolutions(size.convolutions, third),
            *attention_blocks(size.attentions, third, third // 2, ratio),
            *convolutions(1, third),
            nn.Conv2d(third, fourth, 3, 2, 1),
            *attention_blocks(2, fourth, fourth // 4, ratio),
            Head(fourth),
        )
        return network, (torch.empty(1, 3, 224, 224),)

    return build


IFORMERS: dict[str, Build] = {
    "iFormer-T": iformer(Size((32, 64, 128, 256), 6, 3, 3, 2)),
    "iFormer-S": iformer(Size((32, 64, 176, 320), 9, 3, 4, 3)),
    "iFormer-M": iformer(Size((48, 96, 192, 384), 9, 4, 4, 3)),
}
