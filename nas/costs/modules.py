"""The modules that a space's costs are traced or timed of, and random inputs for each."""

import torch
from torch import Tensor, nn

from latency import Workload
from latency.tracing.cache import traced
from search_spaces import Block, Slot, TemporalSpace
from supernet import build_backbone, parameter_count
from supernet.operators import TemporalOperator, build


class BlockRun(nn.Module):
    """A temporal block at one clip's shapes, callable as a network is."""

    def __init__(self, operator: TemporalOperator, frames: int) -> None:
        super().__init__()
        self.operator = operator
        self.frames = frames

    def forward(self, x_NCHW: Tensor, context_BLC: Tensor) -> Tensor:
        """Shape kept."""
        out: Tensor = self.operator(x_NCHW, self.frames, context_BLC)
        return out


def block_run(slot: Slot, block: Block) -> BlockRun | None:
    """A block's module ready to trace or to time; None where nothing stands."""
    operator = build(block, slot)
    return None if operator is None else BlockRun(operator, slot.frames).eval()


def block_inputs(space: TemporalSpace, slot: Slot) -> tuple[Tensor, Tensor]:
    """Random inputs of `block_run`: one clip's features and its context."""
    x_NCHW = torch.randn(slot.frames, slot.channels, slot.height, slot.width)
    return x_NCHW, torch.zeros(1, space.unet.context_tokens, space.unet.context_channels)


def image_inputs(space: TemporalSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of the image U-Net: one clip's frames as images."""
    unet = space.unet
    x_NCHW = torch.randn(unet.frames, unet.in_channels, unet.height, unet.width)
    context = torch.zeros(unet.frames, unet.context_tokens, unet.context_channels)
    return x_NCHW, torch.full((unet.frames,), 0.5), context


def clip_inputs(space: TemporalSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs of a video network: one clip, its time and its context."""
    unet = space.unet
    x_BCTHW = torch.randn(1, unet.in_channels, unet.frames, unet.height, unet.width)
    context = torch.zeros(1, unet.context_tokens, unet.context_channels)
    return x_BCTHW, torch.full((1,), 0.5), context


def traced_image(space: TemporalSpace, name: str) -> tuple[Workload, int]:
    """The image U-Net's workload over one clip, under a name, and how many numbers it holds."""
    with torch.device("meta"):
        network = build_backbone(space.unet).eval()
        inputs = image_inputs(space)
    return _traced(network, inputs, name, space.unet), parameter_count(network)


def traced_block(
    space: TemporalSpace, slot: Slot, block: Block, key: object
) -> tuple[Workload, int]:
    """The same of a block that does something in a slot; all of one `key` are alike."""
    with torch.device("meta"):
        run = block_run(slot, block)
        inputs = block_inputs(space, slot)
    assert run is not None
    return _traced(run, inputs, str(block), key), parameter_count(run)


def _traced(module: nn.Module, inputs: tuple[Tensor, ...], name: str, key: object) -> Workload:
    """The workload of a network of our own classes, which `key` decides; others have no cache."""
    return traced(module, inputs, name, key=repr(key), packages=("nas", "supernet"))
