"""YOLO26 for segmentation (docs.ultralytics.com/models/yolo26), batch norms folded.

The one-to-one head alone, which an end-to-end package keeps, before the 300 best are picked.
C channels; features are (batch, channels, height, width).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published_networks.building import Build, Built

CLASSES, MASKS, SCALES = 80, 32, 3


def conv(
    given: int, made: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Module:
    """A convolution and its SiLU."""
    only = nn.Conv2d(given, made, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(only, nn.SiLU()) if act else only


class Bottleneck(nn.Module):
    """Two 3 x 3 convolutions beside a residual connection."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(width, inner, 3), conv(inner, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.layers(x)
        return x + added


class TwoPaths(nn.Module):
    """C3k: two bottlenecks on a half of the channels, the other half unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.first, self.second = conv(width, half), conv(width, half)
        self.inner = nn.Sequential(Bottleneck(half, half), Bottleneck(half, half))
        self.out = conv(2 * half, width)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat((self.inner(self.first(x)), self.second(x)), dim=1)
        result: Tensor = self.out(joined)
        return result


class Attention(nn.Module):
    """Attention of pixels with keys of half a value's width, and a position encoding of values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(width // 64, 1)
        self.value_width = width // self.heads
        self.key_width = self.value_width // 2
        self.qkv = conv(width, 2 * width, act=False)
        self.position = conv(width, width, 3, groups=width, act=False)
        self.out = conv(width, width, act=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        split = (self.key_width, self.key_width, self.value_width)
        qkv = self.qkv(x).view(batch, self.heads, sum(split), height * width)
        query, key, value = (y.transpose(2, 3) for y in qkv.split(split, dim=2))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        values = value.transpose(2, 3).reshape(x.shape)
        result: Tensor = self.out(mixed.reshape(x.shape) + self.position(values))
        return result


class AttentionBlock(nn.Module):
    """PSABlock: attention and a feed-forward part, both residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.mlp = nn.Sequential(conv(width, 2 * width), conv(2 * width, width, act=False))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        added: Tensor = self.mlp(x)
        return x + added


class Split(nn.Module):
    """C3k2: every inner part's output is kept, and all are joined."""

    def __init__(self, given: int, made: int, parts: list[nn.Module], width: int) -> None:
        super().__init__()
        self.into = conv(given, 2 * width)
        self.parts = nn.ModuleList(parts)
        self.out = conv((2 + len(parts)) * width, made)

    def forward(self, x: Tensor) -> Tensor:
        kept = list(self.into(x).chunk(2, dim=1))
        for part in self.parts:
            kept.append(part(kept[-1]))
        result: Tensor = self.out(torch.cat(kept, dim=1))
        return result


class HalfAttention(nn.Module):
    """C2PSA: attention blocks on a half of the channels."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        half = width // 2
        self.into, self.out = conv(width, 2 * half), conv(2 * half, width)
        self.blocks = nn.Sequential(*(AttentionBlock(half) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.into(x).chunk(2, dim=1)
        result: Tensor = self.out(torch.cat((first, self.blocks(second)), dim=1))
        return result


class Pools(nn.Module):
    """SPPF: a pool over three growing windows, beside a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.out = conv(width, width // 2, act=False), conv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.into(x)]
        for _ in range(3):
            kept.append(F.max_pool2d(kept[-1], 5, 1, 2))
        result: Tensor = self.out(torch.cat(kept, dim=1))
        return x + result


class Prototypes(nn.Module):
    """The masks that all objects are mixed of, at a quarter of the image's size."""

    def __init__(self, widths: list[int], inner: int) -> None:
        super().__init__()
        self.refine = nn.ModuleList([conv(width, widths[0]) for width in widths[1:]])
        self.fuse = nn.Sequential(conv(widths[0], inner, 3), conv(inner, inner, 3))
        self.finer = nn.ConvTranspose2d(inner, inner, 2, 2)
        self.out = nn.Sequential(conv(inner, inner, 3), conv(inner, MASKS))

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[0]
        for refine, feature in zip(self.refine, features[1:], strict=True):
            x = x + F.interpolate(refine(feature), x.shape[2:], mode="nearest")
        result: Tensor = self.out(self.finer(self.fuse(x)))
        return result


def class_head(width: int, inner: int) -> nn.Module:
    """Scores of the classes, by depthwise convolutions."""
    return nn.Sequential(
        conv(width, width, 3, groups=width),
        conv(width, inner),
        conv(inner, inner, 3, groups=inner),
        conv(inner, inner),
        nn.Conv2d(inner, CLASSES, 1),
    )


def plain_head(width: int, inner: int, made: int) -> nn.Module:
    """Boxes, or coefficients of the prototypes."""
    return nn.Sequential(conv(width, inner, 3), conv(inner, inner, 3), nn.Conv2d(inner, made, 1))


class Heads(nn.Module):
    """Boxes, scores and mask coefficients of all pixels of three scales, and the prototypes."""

    def __init__(self, widths: list[int], prototypes: int) -> None:
        super().__init__()
        first = widths[0]
        boxes, scores, masks = max(16, first // 4), max(first, CLASSES), max(first // 4, MASKS)
        self.boxes = nn.ModuleList([plain_head(width, boxes, 4) for width in widths])
        self.scores = nn.ModuleList([class_head(width, scores) for width in widths])
        self.masks = nn.ModuleList([plain_head(width, masks, MASKS) for width in widths])
        self.prototypes = Prototypes(widths, prototypes)
        self.anchors = nn.Buffer(torch.empty(1, 2, 1))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        def joined(heads: nn.ModuleList) -> Tensor:
            made = [head(x).flatten(2) for head, x in zip(heads, features, strict=True)]
            return torch.cat(made, dim=2)

        near, far = joined(self.boxes).chunk(2, dim=1)
        boxes = torch.cat((self.anchors - near, self.anchors + far), dim=1)
        found = (boxes, joined(self.scores).sigmoid(), joined(self.masks))
        return torch.cat(found, dim=1), self.prototypes(features)


@dataclass(frozen=True)
class Size:
    """What tells the sizes of YOLO26 apart."""

    repeats: int
    width: float
    most: int  # channels
    deep: bool  # whether every block is of two paths, as in sizes m, l and x


class Yolo26(nn.Module):
    """Backbone, the way up and the way down again, and heads."""

    def __init__(self, size: Size) -> None:
        super().__init__()

        def wide(channels: int) -> int:
            return int(-(-min(channels, size.most) * size.width // 8) * 8)

        def block(given: int, made: int, share: float = 0.5, *, paths: bool = True) -> nn.Module:
            width = int(made * share)
            parts = [
                TwoPaths(width) if paths or size.deep else Bottleneck(width, width // 2)
                for _ in range(size.repeats)
            ]
            return Split(given, made, parts, width)

        p1, p2, p3, p4, p5 = (wide(c) for c in (64, 128, 256, 512, 1024))
        wider = wide(256)  # of the second and third block
        self.stem = nn.Sequential(
            conv(3, p1, 3, 2),
            conv(p1, p2, 3, 2),
            block(p2, wider, 0.25, paths=False),
            conv(wider, p3, 3, 2),
            block(p3, p4, 0.25, paths=False),
        )
        self.to_p4 = nn.Sequential(conv(p4, p4, 3, 2), block(p4, p4))
        self.to_p5 = nn.Sequential(
            conv(p4, p5, 3, 2), block(p5, p5), Pools(p5), HalfAttention(p5, size.repeats)
        )
        self.up_p4, self.up_p3 = block(p5 + p4, p4), block(p4 + p4, p3)
        self.down_p4, self.joined_p4 = conv(p3, p3, 3, 2), block(p3 + p4, p4)
        half = p5 // 2
        last: list[nn.Module] = [nn.Sequential(Bottleneck(half, half // 2), AttentionBlock(half))]
        self.down_p5, self.joined_p5 = conv(p4, p4, 3, 2), Split(p4 + p5, p5, last, half)
        self.heads = Heads([p3, p4, p5], wide(256))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x3 = self.stem(image)
        x4 = self.to_p4(x3)
        x5 = self.to_p5(x4)
        up4 = self.up_p4(torch.cat((F.interpolate(x5, scale_factor=2.0), x4), dim=1))
        out3 = self.up_p3(torch.cat((F.interpolate(up4, scale_factor=2.0), x3), dim=1))
        out4 = self.joined_p4(torch.cat((self.down_p4(out3), up4), dim=1))
        out5 = self.joined_p5(torch.cat((self.down_p5(out4), x5), dim=1))
        result: tuple[Tensor, Tensor] = self.heads([out3, out4, out5])
        return result


SIZES = {
    "n": Size(1, 0.25, 1024, deep=False),
    "s": Size(1, 0.5, 1024, deep=False),
    "m": Size(1, 1.0, 512, deep=True),
    "l": Size(2, 1.0, 512, deep=True),
    "x": Size(2, 1.5, 512, deep=True),
}


def yolo26(size: str, pixels: int) -> Build:
    """YOLO26 for segmentation on a square image."""

    def build() -> Built:
        return Yolo26(SIZES[size]), (torch.empty(1, 3, pixels, pixels),)

    return build


YOLOS: dict[str, Build] = {
    **{f"YOLO26{size}-seg, 384 px": yolo26(size, 384) for size in SIZES},
    **{f"YOLO26{size}-seg, 640 px": yolo26(size, 640) for size in ("n", "s", "m")},
}
