"""Video U-Net: an inflated image U-Net with one temporal block, or none, in each slot.

What `Supernet.extract` returns, and what a bundle holds; it knows nothing of a supernet.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from search_spaces import Architecture, TemporalSpace
from supernet.backbones.backbone import AtSlot, Backbone
from supernet.backbones.building import build_backbone
from supernet.operators import build


class VideoUNet(nn.Module):
    """The video denoiser of one architecture, on a backbone that is given or drawn afresh."""

    def __init__(
        self, space: TemporalSpace, architecture: Architecture, backbone: Backbone | None = None
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(space.unet) if backbone is None else backbone
        self.temporal = nn.ModuleDict()
        for slot in space.slots:
            operator = build(space.block(architecture, slot), slot)
            if operator is not None:
                self.temporal[slot.name] = operator

    def forward(self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor) -> Tensor:
        """Predict the velocity of each clip, shaped as the clips.

        Args:
            x_BCTHW: noisy clips; any number of clips and frames, height and width as built.
            time_B: flow time of each clip, 0 (data) to 1 (noise).
            context_BLC: context tokens of each clip; zeros where nothing is said.
        """
        frames = x_BCTHW.shape[2]
        at_slot = self._at_slot(frames, context_BLC)
        velocity = self.backbone(*fold_frames(x_BCTHW, time_B, context_BLC), at_slot)
        return unfold_frames(velocity, frames)

    def _at_slot(self, frames: int, context_BLC: Tensor) -> AtSlot:
        def at_slot(slot: str, h_NCHW: Tensor) -> Tensor:
            if slot not in self.temporal:
                return h_NCHW
            changed: Tensor = self.temporal[slot](h_NCHW, frames, context_BLC)
            return changed

        return at_slot


class DownFeatures(VideoUNet):
    """Feature extractor: the down path of a VideoUNet for a discriminator, under the same names."""

    def __init__(self, space: TemporalSpace, architecture: Architecture) -> None:
        super().__init__(space, architecture)
        for slot in space.slots:
            if slot.position == "up" and slot.name in self.temporal:
                del self.temporal[slot.name]
        unused = set(self.backbone.up_path())
        for name, child in list(self.backbone.named_children()):
            if child in unused:
                delattr(self.backbone, name)

    def forward(  # type: ignore[override]
        self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor
    ) -> tuple[Tensor, ...]:
        """Extract features (B, C, T, H, W) after each stage down, highest resolution first."""
        frames = x_BCTHW.shape[2]
        x_NCHW, time_N, context_NLC = fold_frames(x_BCTHW, time_B, context_BLC)
        embedding = self.backbone.embedding(time_N, context_NLC)
        at_slot = self._at_slot(frames, context_BLC)
        features = self.backbone.features(x_NCHW, embedding, context_NLC, at_slot)
        return tuple(unfold_frames(h, frames) for h in features)


def fold_frames(
    x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Fold frames into the batch (N = B*T), each with its clip's time and context."""
    batch, _, frames = x_BCTHW.shape[:3]
    tokens, channels = context_BLC.shape[1:]
    x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
    time_N = time_B[:, None].expand(batch, frames).reshape(-1)
    context_BTLC = context_BLC[:, None].expand(batch, frames, tokens, channels)
    return x_NCHW, time_N, context_BTLC.reshape(-1, tokens, channels)


def unfold_frames(x_NCHW: Tensor, frames: int) -> Tensor:
    """Unfold images to clips, (B, C, T, H, W)."""
    return rearrange(x_NCHW, "(b t) c h w -> b c t h w", t=frames)


@torch.no_grad()
def parameter_count(module: nn.Module) -> int:
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
