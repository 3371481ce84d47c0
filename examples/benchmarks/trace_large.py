"""How long a 0.6B U-Net takes to trace.

    python examples/benchmarks/trace_large.py

The network stands on the meta device: it has shapes and no memory. Its shape is that of Stable
Diffusion's U-Nets: residual blocks, and transformer blocks with self- and cross-attention.
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency

TIME = 1280  # channels of the time embedding
CONTEXT = 768  # channels of the text's tokens


class ResidualBlock(nn.Module):
    def __init__(self, given: int, wanted: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(32, given), nn.GroupNorm(32, wanted)
        self.conv1 = nn.Conv2d(given, wanted, 3, padding=1)
        self.conv2 = nn.Conv2d(wanted, wanted, 3, padding=1)
        self.time = nn.Linear(TIME, wanted)
        self.skip = nn.Conv2d(given, wanted, 1) if given != wanted else nn.Identity()

    def forward(self, x_BCHW: Tensor, time_BC: Tensor) -> Tensor:
        h_BCHW = self.conv1(F.silu(self.norm1(x_BCHW)))
        h_BCHW = h_BCHW + self.time(F.silu(time_BC))[:, :, None, None]
        h_BCHW = self.conv2(F.silu(self.norm2(h_BCHW)))
        return h_BCHW + self.skip(x_BCHW)


class Attention(nn.Module):
    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(context, channels, bias=False)
        self.value = nn.Linear(context, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BLC: Tensor, context_BMC: Tensor) -> Tensor:
        split = (self.heads, -1)
        query = self.query(x_BLC).unflatten(-1, split).transpose(1, 2)
        key = self.key(context_BMC).unflatten(-1, split).transpose(1, 2)
        value = self.value(context_BMC).unflatten(-1, split).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.enter = nn.Conv2d(channels, channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.alone = Attention(channels, channels, heads)
        self.across = Attention(channels, CONTEXT, heads)
        self.widen = nn.Linear(channels, 8 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x_BCHW: Tensor, context_BMC: Tensor) -> Tensor:
        h = self.enter(self.norm(x_BCHW)).flatten(2).transpose(1, 2)
        normed = self.norms[0](h)
        h = h + self.alone(normed, normed)
        h = h + self.across(self.norms[1](h), context_BMC)
        linear, gate = self.widen(self.norms[2](h)).chunk(2, -1)
        h = h + self.narrow(linear * F.gelu(gate))
        return x_BCHW + self.leave(h.transpose(1, 2).unflatten(2, x_BCHW.shape[2:]))


class Stage(nn.Module):
    def __init__(self, given: int, wanted: int, *, attends: bool) -> None:
        super().__init__()
        self.residual = ResidualBlock(given, wanted)
        self.transformer = Transformer(wanted) if attends else None

    def forward(self, x_BCHW: Tensor, time_BC: Tensor, context_BMC: Tensor) -> Tensor:
        h_BCHW = self.residual(x_BCHW, time_BC)
        return h_BCHW if self.transformer is None else self.transformer(h_BCHW, context_BMC)


class UNet(nn.Module):
    """Like Stable Diffusion 1.5's, with a block fewer in each stage up, and a narrower middle."""

    def __init__(self, channels: tuple[int, ...] = (320, 640, 1280, 1024), blocks: int = 2) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(320, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.enter = nn.Conv2d(4, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        last, skips = channels[0], [channels[0]]
        for level, wanted in enumerate(channels):
            deepest = level == len(channels) - 1
            for _ in range(blocks):
                self.down.append(Stage(last, wanted, attends=not deepest))
                last = wanted
                skips.append(last)
            self.shrink.append(nn.Conv2d(last, last, 3, 1 if deepest else 2, padding=1))
        self.middle = Stage(last, last, attends=True)
        for level, wanted in reversed(list(enumerate(channels))):
            for _ in range(blocks):
                attends = level < len(channels) - 1
                self.up.append(Stage(last + skips.pop(), wanted, attends=attends))
                last = wanted
            self.grow.append(nn.Conv2d(last, last, 3, padding=1))
        self.norm = nn.GroupNorm(32, last)
        self.leave = nn.Conv2d(last, 4, 3, padding=1)
        self.blocks = blocks

    def forward(self, x_BCHW: Tensor, time_BC: Tensor, context_BMC: Tensor) -> Tensor:
        time_BC = self.time(time_BC)
        h_BCHW, skips = self.enter(x_BCHW), []
        for index, stage in enumerate(self.down):
            h_BCHW = stage(h_BCHW, time_BC, context_BMC)
            skips.append(h_BCHW)
            if index % self.blocks == self.blocks - 1:
                h_BCHW = self.shrink[index // self.blocks](h_BCHW)
        h_BCHW = self.middle(h_BCHW, time_BC, context_BMC)
        for index, stage in enumerate(self.up):
            skip = skips.pop()
            if h_BCHW.shape[2:] != skip.shape[2:]:
                h_BCHW = F.interpolate(h_BCHW, scale_factor=2.0)
            h_BCHW = stage(torch.cat((h_BCHW, skip), 1), time_BC, context_BMC)
            if index % self.blocks == self.blocks - 1:
                h_BCHW = self.grow[index // self.blocks](h_BCHW)
        return self.leave(F.silu(self.norm(h_BCHW)))


def build() -> UNet:
    """About 0.6B parameters, on the meta device."""
    with torch.device("meta"):
        return UNet()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="height and width of the latents")
    parser.add_argument("--frames", type=int, default=1, help="latents in one pass")
    arguments = parser.parse_args()
    network = build()
    inputs = (
        torch.empty(arguments.frames, 4, arguments.size, arguments.size, device="meta"),
        torch.empty(arguments.frames, 320, device="meta"),
        torch.empty(arguments.frames, 77, CONTEXT, device="meta"),
    )
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.0f}M parameters")
    start = time.perf_counter()
    workload = latency.trace(network, *inputs, name="large U-Net")
    print(f"{time.perf_counter() - start:.2f} s")
    print(f"{workload.flops / 1e9:.0f} GFLOPs in {len(workload.operations)} operations")


if __name__ == "__main__":
    main()
