"""A small video diffusion transformer (Peebles and Xie 2023, arXiv:2212.09748), no U-Net.

Tokens are patches of 4 x 4 pixels; they lie as (B, C, T, S), T frames of S tokens, so that layers
are 1 x 1 convolutions and nothing is transposed on the way in or out. Time and context move, scale
and gate every part of a layer (adaLN-Zero).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.video_dit.mixing import CHANNELS, mixing
from examples.video_dit.space import CLIPS, PATCH, LayerChoice, everywhere, layers_of
from search_spaces import Architecture

TIME_SCALE = 1000.0  # flow time runs from 0 to 1, the sinusoids from 1 to 1000 steps


def build(architecture: Architecture | None = None) -> "VideoDiT":
    """The network of an architecture with fresh weights; without one, of full attention."""
    return VideoDiT(everywhere("full") if architecture is None else architecture)


class VideoDiT(nn.Module):
    """The plain network of one architecture; what `Supernet.extract` returns."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.enter = Enter()
        self.layers = nn.ModuleDict({c.name: Layer(c) for c in layers_of(architecture)})
        self.leave = Leave()

    def forward(self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor) -> Tensor:
        """Predict the velocity of noisy clips, shaped as the clips; time from 0 to 1."""
        h_BCTS, condition_BC11 = self.enter(x_BCTHW, time_B, context_BLC)
        for layer in self.layers.values():
            h_BCTS = layer(h_BCTS, condition_BC11)
        velocity: Tensor = self.leave(h_BCTS, condition_BC11)
        return velocity


class Enter(nn.Module):
    """Clips to tokens with their positions; time and context to one vector."""

    rates: Tensor

    def __init__(self) -> None:
        super().__init__()
        tokens = (CLIPS.height // PATCH) * (CLIPS.width // PATCH)
        self.patches = nn.Conv2d(CLIPS.in_channels, CHANNELS, PATCH, stride=PATCH)
        self.frames = nn.Parameter(0.1 * torch.randn(1, CHANNELS, CLIPS.frames, 1))
        self.places = nn.Parameter(0.1 * torch.randn(1, CHANNELS, 1, tokens))
        rates = torch.exp(torch.arange(0, 1, 2 / CHANNELS) * -math.log(10_000.0)) * TIME_SCALE
        self.register_buffer("rates", rates, persistent=False)
        self.time = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 1), nn.SiLU(), nn.Conv2d(CHANNELS, CHANNELS, 1)
        )
        self.context = nn.Conv2d(CLIPS.context_channels, CHANNELS, 1)

    def forward(
        self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, C, T, S), and what conditions them (B, C, 1, 1)."""
        tall_BCHW = x_BCTHW.flatten(2, 3)  # frames below each other: no patch lies in two
        h = self.patches(tall_BCHW).flatten(2)
        h_BCTS = torch.unflatten(h, 2, (x_BCTHW.shape[2], -1)) + self.frames + self.places
        angles_BC = time_B[:, None] * self.rates
        waves_BC11 = torch.cat([angles_BC.sin(), angles_BC.cos()], dim=1)[:, :, None, None]
        asked_BC11 = self.context(context_BLC.sum(1)[:, :, None, None])
        return h_BCTS, F.silu(self.time(waves_BC11) + asked_BC11)


class Layer(nn.Module):
    """Mixes tokens, or does not, and then channels."""

    def __init__(self, choice: LayerChoice) -> None:
        super().__init__()
        mixed = mixing(choice.mixing, choice.heads, odd=is_odd(choice.name))
        self.mixing = None if mixed is None else Residual(mixed)
        self.mlp = Residual(Mlp(choice.ratio))

    def forward(self, h_BCTS: Tensor, condition_BC11: Tensor) -> Tensor:
        """Shape kept."""
        if self.mixing is not None:
            h_BCTS = self.mixing(h_BCTS, condition_BC11)
        out: Tensor = self.mlp(h_BCTS, condition_BC11)
        return out


class Residual(nn.Module):
    """Adaptive layer norm, a part of a layer, and a gate that is shut at first (adaLN-Zero)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.modulation = shut(nn.Conv2d(CHANNELS, 3 * CHANNELS, 1))
        self.inner = inner

    def forward(self, h_BCTS: Tensor, condition_BC11: Tensor, size: int | None = None) -> Tensor:
        """Shape kept; `size` is the part's in a supernet."""
        move, scale, gate = self.modulation(condition_BC11).chunk(3, dim=1)
        found = self.inner(normalised(h_BCTS) * (1 + scale) + move, size)
        out: Tensor = h_BCTS + gate * found
        return out


class Mlp(nn.Module):
    """Two pointwise convolutions; a smaller ratio is the leading part of the hidden channels."""

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(CHANNELS, ratio * CHANNELS, 1)
        self.leave = nn.Conv2d(ratio * CHANNELS, CHANNELS, 1)

    def forward(self, x_BCTS: Tensor, ratio: int | None = None) -> Tensor:
        """Shape kept."""
        if ratio is None:
            out: Tensor = self.leave(F.gelu(self.enter(x_BCTS), approximate="tanh"))
            return out
        weights = self.cuts(ratio)
        h = F.conv2d(x_BCTS, weights["enter.weight"], weights["enter.bias"])
        h = F.gelu(h, approximate="tanh")
        return F.conv2d(h, weights["leave.weight"], weights["leave.bias"])

    def cuts(self, ratio: int) -> dict[str, Tensor]:
        """The weights of a smaller one, under their names."""
        hidden = ratio * CHANNELS
        assert self.enter.bias is not None
        assert self.leave.bias is not None
        return {
            "enter.weight": self.enter.weight[:hidden],
            "enter.bias": self.enter.bias[:hidden],
            "leave.weight": self.leave.weight[:, :hidden],
            "leave.bias": self.leave.bias,
        }


class Leave(nn.Module):
    """Tokens to clips."""

    def __init__(self) -> None:
        super().__init__()
        self.modulation = shut(nn.Conv2d(CHANNELS, 2 * CHANNELS, 1))
        self.patches = nn.ConvTranspose2d(CHANNELS, CLIPS.in_channels, PATCH, stride=PATCH)

    def forward(self, h_BCTS: Tensor, condition_BC11: Tensor) -> Tensor:
        """(B, channels, T, H, W)."""
        move, scale = self.modulation(condition_BC11).chunk(2, dim=1)
        h = normalised(h_BCTS) * (1 + scale) + move
        across = CLIPS.width // PATCH
        tall_BCHW = self.patches(torch.unflatten(h.flatten(2), 2, (-1, across)))
        return torch.unflatten(tall_BCHW, 2, (h_BCTS.shape[2], CLIPS.height))


def normalised(h_BCTS: Tensor) -> Tensor:
    """Layer norm over the channels, without weights."""
    centred = h_BCTS - h_BCTS.mean(1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5)


def shut(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that answers nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def is_odd(layer: str) -> bool:
    """Whether windows are moved in a layer."""
    return int(layer.removeprefix("layer")) % 2 == 1
