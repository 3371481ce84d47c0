"""Supernet (one-shot NAS): every operator of every slot, with shared weights, on one U-Net."""

import copy
import functools
from typing import Any

from torch import Tensor, nn

from search_spaces import Architecture, Block, Operator, TemporalSpace
from supernet.backbones.backbone import Backbone
from supernet.backbones.building import build_backbone
from supernet.flow_matching import Denoiser
from supernet.networks.video_unet import VideoUNet, fold_frames, unfold_frames
from supernet.operators import build


class Supernet(nn.Module):
    """A weight-sharing supernet; the architecture is an argument of forward, never hidden state."""

    def __init__(self, space: TemporalSpace, backbone: Backbone | None = None) -> None:
        """Inflate a backbone as it stands, without a copy, or one drawn afresh."""
        super().__init__()
        self.space = space
        self.backbone = build_backbone(space.unet) if backbone is None else backbone
        built = {
            f"{slot.name}:{operator.name}": build(largest(operator), slot)
            for slot in space.slots
            for operator in space.operators
        }
        self.operators = nn.ModuleDict({k: m for k, m in built.items() if m is not None})

    def forward(
        self, x_BCTHW: Tensor, time_B: Tensor, context_BLC: Tensor, architecture: Architecture
    ) -> Tensor:
        """Predict as the architecture's own network would; shapes as in VideoUNet."""
        frames = x_BCTHW.shape[2]
        blocks = {slot.name: self.space.block(architecture, slot) for slot in self.space.slots}

        def at_slot(slot: str, h_NCHW: Tensor) -> Tensor:
            block = blocks[slot]
            if not block.operator.module:
                return h_NCHW
            operator = self.operators[f"{slot}:{block.operator.name}"]
            changed: Tensor = operator(h_NCHW, frames, context_BLC, dict(block.settings))
            return changed

        velocity = self.backbone(*fold_frames(x_BCTHW, time_B, context_BLC), at_slot)
        return unfold_frames(velocity, frames)

    def path(self, architecture: Architecture) -> Denoiser:
        """A single path: one architecture's way through the supernet, called as its network."""
        return functools.partial(self, architecture=architecture)

    def extract(self, architecture: Architecture) -> VideoUNet:
        """Extract a subnet: a plain network with a copy of the weights and equal outputs."""
        # A copy, and not a fresh one that takes its weights: a large backbone is held only once.
        backbone = copy.deepcopy(self.backbone).requires_grad_(True)
        network = VideoUNet(self.space, architecture, backbone)
        reference = next(self.backbone.parameters())
        network.to(device=reference.device, dtype=reference.dtype)
        for slot in self.space.slots:
            block = self.space.block(architecture, slot)
            if block.operator.module:
                shared: Any = self.operators[f"{slot.name}:{block.operator.name}"]
                state = shared.state_for(dict(block.settings))
                network.temporal[slot.name].load_state_dict(state)
        return network.train(self.training)


def largest(operator: Operator) -> Block:
    """The largest block of an elastic operator: the last option of every setting."""
    return Block(operator, tuple((s.name, s.options[-1]) for s in operator.settings))
