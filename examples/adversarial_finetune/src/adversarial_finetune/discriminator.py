"""The discriminator: a frozen down path, and heads that tell real features from made ones.

SF-V (Zhang et al. 2024, arXiv:2406.04324): beside every stage of the frozen encoder a spatial head,
which looks at frames one by one, a temporal head, which looks at places one by one, or both. They
know what was asked for and how much noise there is, and answer everywhere: logits (B, T, H, W).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversarial_finetune.pooling import Pooling

Kind = Literal["spatial", "temporal"]
KINDS: tuple[Kind, ...] = ("spatial", "temporal")
GROUPS = 4
PATCH = 2  # the highest resolution is looked at in patches: it would take most of the time


class Heads(nn.Module):
    """Heads of the wanted kinds on the features of each stage."""

    def __init__(
        self, channels: Sequence[int], pooling: Pooling, width: int, kinds: Sequence[Kind]
    ) -> None:
        super().__init__()
        made: dict[Kind, type[nn.Module]] = {"spatial": SpatialHead, "temporal": TemporalHead}
        self.condition = Condition(pooling, width)
        self.heads = nn.ModuleList(
            nn.ModuleList(made[kind](stage, width, PATCH if at == 0 else 1) for kind in kinds)
            for at, stage in enumerate(channels)
        )

    def forward(
        self, features: Sequence[Tensor], time_B: Tensor, context_BLC: Tensor
    ) -> list[Tensor]:
        """Logits of every head, (B, T, H, W) each; above 0 says real.

        Args:
            features: (B, C, T, H, W) of each stage.
            time_B: how much noise the clips hold.
            context_BLC: what was asked for.
        """
        condition_BD = self.condition(time_B, context_BLC)
        return [
            head(stage, condition_BD)
            for stage, heads in zip(features, self.heads, strict=True)
            for head in heads  # type: ignore[attr-defined]
        ]


class Condition(nn.Module):
    """The time and the pooled context, as one vector (B, width)."""

    def __init__(self, pooling: Pooling, width: int) -> None:
        super().__init__()
        self.width = width
        self.pooling = pooling
        self.context = nn.Linear(len(pooling.nothing_C), width)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time_B: Tensor, context_BLC: Tensor) -> Tensor:
        half = self.width // 2
        rates = torch.exp(-math.log(1000.0) * torch.arange(half, device=time_B.device) / half)
        turns = 1000 * time_B[:, None] * rates
        waves = torch.cat([turns.sin(), turns.cos()], dim=1)
        asked = self.context(self.pooling(context_BLC))
        found: Tensor = self.mix(torch.cat([waves, asked], dim=1))
        return found


class _Head(nn.Module):
    """What both kinds share: features scaled and shifted by the condition, a projection at the end.

    The projection (Miyato and Koyama 2018, arXiv:1802.05637) asks not only whether a clip looks
    real, but whether it looks like what was asked for.
    """

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, patch, stride=patch)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.shift = nn.Linear(width, 2 * width)
        self.leave = nn.Conv2d(width, 1, 1)
        self.match = nn.Linear(width, width)

    def _enter(self, x_BCTHW: Tensor, condition_BD: Tensor) -> Tensor:
        """(B*T, width, H, W), normalised, under the condition."""
        frames = x_BCTHW.shape[2]
        h_NDHW: Tensor = self.norm(self.enter(x_BCTHW.transpose(1, 2).flatten(0, 1)))
        scale, shift = self.shift(condition_BD).repeat_interleave(frames, 0).chunk(2, dim=1)
        moved: Tensor = h_NDHW * (1 + scale[..., None, None]) + shift[..., None, None]
        return moved

    def _leave(self, h_NDHW: Tensor, condition_BD: Tensor) -> Tensor:
        clips = len(condition_BD)
        frames = len(h_NDHW) // clips
        asked_ND = self.match(condition_BD).repeat_interleave(frames, 0)
        matched = torch.einsum("ndhw,nd->nhw", h_NDHW, asked_ND) / math.sqrt(h_NDHW.shape[1])
        logits_NHW: Tensor = self.leave(h_NDHW)[:, 0] + matched
        return logits_NHW.view(clips, frames, *logits_NHW.shape[1:])


class SpatialHead(_Head):
    """A residual block of 2D convolutions; frames stand in the batch."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__(channels, width, patch)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x_BCTHW: Tensor, condition_BD: Tensor) -> Tensor:
        h = self._enter(x_BCTHW, condition_BD)
        first, second = self.convs
        h = h + second(F.silu(first(F.silu(h))))
        return self._leave(F.silu(h), condition_BD)


class TemporalHead(_Head):
    """Self-attention over frames; places stand in the batch."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__(channels, width, patch)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BCTHW: Tensor, condition_BD: Tensor) -> Tensor:
        clips, frames = len(x_BCTHW), x_BCTHW.shape[2]
        h_NDHW = self._enter(x_BCTHW, condition_BD)
        height, width = h_NDHW.shape[2:]
        h_STD = h_NDHW.view(clips, frames, *h_NDHW.shape[1:]).permute(0, 3, 4, 1, 2).flatten(0, 2)
        h_STD = h_STD + _places(frames, h_STD.shape[2], h_STD.device)
        q, k, v = self.qkv(F.silu(h_STD)).chunk(3, dim=2)
        # Written out: fused attention has no second derivative on the CPU, and R1 needs one.
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]), dim=2)
        h_STD = h_STD + self.out(weights @ v)
        h = h_STD.view(clips, height, width, *h_STD.shape[1:]).permute(0, 3, 4, 1, 2).flatten(0, 1)
        return self._leave(F.silu(h), condition_BD)


def _places(frames: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of the frame numbers (T, width)."""
    half = width // 2
    rates = torch.exp(-math.log(100.0) * torch.arange(half, device=device) / half)
    turns = torch.arange(frames, device=device)[:, None] * rates
    return torch.cat([turns.sin(), turns.cos()], dim=1)


def hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The discriminator's loss (Lim and Ye 2017, arXiv:1705.02894), a mean over the heads."""
    losses = [
        F.relu(1 - seen).mean() + F.relu(1 + made).mean()
        for seen, made in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def fooled(fake: Sequence[Tensor]) -> Tensor:
    """The generator's loss: how little its clips pass for real, a mean over the heads."""
    return -torch.stack([made.mean() for made in fake]).mean()


def gradient_penalty(logits: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """R1 (Mescheder et al. 2018, arXiv:1801.04406) on the heads' inputs, a mean over clips.

    Per feature, so that a stage of many features does not outweigh one of few.
    """
    total = torch.stack([each.flatten(1).mean(1).sum() for each in logits]).sum()
    gradients = torch.autograd.grad(total, features, create_graph=True)
    parts = [each.square().flatten(1).sum(1).mean() for each in gradients]
    return torch.stack(parts).sum()
