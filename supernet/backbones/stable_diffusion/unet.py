"""U-Net and its blocks; N images, C channels, H x W pixels, L context tokens, E embedding."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces import StableDiffusionShape
from search_spaces.unet.stable_diffusion import WITH_ATTENTION
from supernet.backbones.backbone import AtSlot, Backbone, no_operator
from supernet.backbones.stable_diffusion.layers import (
    Downsample,
    Resnet,
    TimeEmbedding,
    Upsample,
    sinusoids,
)
from supernet.backbones.stable_diffusion.transformer import Transformer

TIME_STEPS = 1000.0  # flow time runs from 0 to 1, this family's from 0 to 1000
EMBEDDING_PER_CHANNEL = 4


class Block(nn.Module):
    """Residual blocks of one stage, each with a transformer after it where the stage has them."""

    def __init__(
        self,
        shape: StableDiffusionShape,
        kind: str | None,
        stage: int,
        channels_in: Sequence[int],
        transformers: int | None = None,
    ) -> None:
        super().__init__()
        channels, groups = shape.channels[stage], shape.norm_num_groups
        embedding = EMBEDDING_PER_CHANNEL * shape.channels[0]
        count = len(channels_in) if transformers is None else transformers
        self.attentions = nn.ModuleList(
            Transformer(
                channels,
                shape.attention_head_dim[stage],
                shape.cross_attention_dim,
                shape.transformer_layers_per_block[stage],
                groups,
                linear=shape.use_linear_projection,
            )
            for _ in range(count if kind in WITH_ATTENTION else 0)
        )
        self.resnets = nn.ModuleList(
            Resnet(width, channels, embedding, groups, shape.norm_eps) for width in channels_in
        )

    def layer(
        self, index: int, h_NCHW: Tensor, embedding_NE: Tensor, context_NLC: Tensor
    ) -> Tensor:
        """One residual block and its transformer."""
        h: Tensor = self.resnets[index](h_NCHW, embedding_NE)
        return self.attentions[index](h, context_NLC) if self.attentions else h


class DownBlock(Block):
    """A stage on the way down."""

    def __init__(self, shape: StableDiffusionShape, stage: int) -> None:
        channels = shape.channels[stage]
        before = shape.channels[max(stage - 1, 0)]
        inner = [channels] * (shape.layers_per_block[stage] - 1)
        super().__init__(shape, shape.down_block_types[stage], stage, [before, *inner])
        shrinks = stage < len(shape.channels) - 1
        self.downsamplers = nn.ModuleList([Downsample(channels)] if shrinks else [])

    def forward(self, h_NCHW: Tensor, embedding_NE: Tensor, context_NLC: Tensor) -> list[Tensor]:
        """What each layer gives, before the resolution changes."""
        found = [h_NCHW]
        for index in range(len(self.resnets)):
            found.append(self.layer(index, found[-1], embedding_NE, context_NLC))
        return found[1:]


class MidBlock(Block):
    """The deepest stage: a transformer between two residual blocks, or one of these alone."""

    def __init__(self, shape: StableDiffusionShape) -> None:
        kind, channels = shape.mid_block_type, shape.channels[-1]
        resnets = 2 if kind in WITH_ATTENTION else 1
        super().__init__(shape, kind, len(shape.channels) - 1, [channels] * resnets, 1)

    def forward(self, h_NCHW: Tensor, embedding_NE: Tensor, context_NLC: Tensor) -> Tensor:
        """Shape kept."""
        h: Tensor = self.resnets[0](h_NCHW, embedding_NE)
        for attention, resnet in zip(self.attentions, self.resnets[1:], strict=True):
            h = resnet(attention(h, context_NLC), embedding_NE)
        return h


class UpBlock(Block):
    """A stage on the way up; each layer takes up a skip of the way down."""

    def __init__(self, shape: StableDiffusionShape, stage: int) -> None:
        channels = shape.channels[stage]
        deeper = shape.channels[min(stage + 1, len(shape.channels) - 1)]
        shallower = shape.channels[max(stage - 1, 0)]
        layers = shape.layers_per_block[stage]
        carried = [deeper, *[channels] * layers]
        skipped = [*[channels] * layers, shallower]
        widths = [a + b for a, b in zip(carried, skipped, strict=True)]
        super().__init__(
            shape, shape.up_block_types[len(shape.channels) - 1 - stage], stage, widths
        )
        self.upsamplers = nn.ModuleList([Upsample(channels)] if stage else [])

    def forward(
        self, h_NCHW: Tensor, skips: list[Tensor], embedding_NE: Tensor, context_NLC: Tensor
    ) -> Tensor:
        """Its layers' output, before the resolution changes; the skips it takes are removed."""
        h = h_NCHW
        for index in range(len(self.resnets)):
            h = self.layer(index, torch.cat([h, skips.pop()], 1), embedding_NE, context_NLC)
        return h


class StableDiffusionUNet(Backbone):
    """U-Net whose outputs equal diffusers' `UNet2DConditionModel` at timestep 1000 * time."""

    shape: StableDiffusionShape

    def __init__(self, shape: StableDiffusionShape) -> None:
        super().__init__()
        self.shape = shape
        width, stages = shape.channels[0], range(len(shape.channels))
        self.conv_in = nn.Conv2d(shape.in_channels, width, 3, padding=1)
        self.time_embedding = TimeEmbedding(width, EMBEDDING_PER_CHANNEL * width)
        self.down_blocks = nn.ModuleList(DownBlock(shape, stage) for stage in stages)
        self.mid_block = MidBlock(shape) if shape.mid_block_type else None
        self.up_blocks = nn.ModuleList(UpBlock(shape, stage) for stage in reversed(stages))
        self.conv_norm_out = nn.GroupNorm(shape.norm_num_groups, width, shape.norm_eps)
        self.conv_out = nn.Conv2d(width, shape.out_channels, 3, padding=1)

    def forward(
        self, x_NCHW: Tensor, time_N: Tensor, context_NLC: Tensor, at_slot: AtSlot = no_operator
    ) -> Tensor:
        """See Backbone; what the network was trained to predict: noise, v, or velocity."""
        embedding = self.embedding(time_N, context_NLC)
        skips: list[Tensor] = []
        h = self._down(x_NCHW, embedding, context_NLC, at_slot, skips)[-1]
        last = len(self.up_blocks) - 1
        for stage, block in zip(range(last, -1, -1), self.up_blocks, strict=True):
            h = at_slot(f"up{stage}", block(h, skips, embedding, context_NLC))
            for upsample in block.upsamplers:  # type: ignore[union-attr]
                h = upsample(h, *skips[-1].shape[2:])
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out

    def embedding(self, time_N: Tensor, context_NLC: Tensor) -> Tensor:
        """See Backbone; of the time alone, (N, 4 * channels), activated as each block wants it."""
        shape = self.shape
        waves = sinusoids(
            TIME_STEPS * time_N.float(),
            shape.channels[0],
            shape.freq_shift,
            cosine_first=shape.flip_sin_to_cos,
        )
        weight_type = self.time_embedding.linear_1.weight.dtype
        return F.silu(self.time_embedding(waves.to(weight_type)))

    def features(
        self,
        x_NCHW: Tensor,
        embedding_NE: Tensor,
        context_NLC: Tensor,
        at_slot: AtSlot = no_operator,
    ) -> list[Tensor]:
        """See Backbone."""
        return self._down(x_NCHW, embedding_NE, context_NLC, at_slot, [])

    def up_path(self) -> Iterator[nn.Module]:
        """See Backbone."""
        yield from (self.up_blocks, self.conv_norm_out, self.conv_out)

    def _down(
        self,
        x_NCHW: Tensor,
        embedding_NE: Tensor,
        context_NLC: Tensor,
        at_slot: AtSlot,
        skips: list[Tensor],
    ) -> list[Tensor]:
        """The features at each slot; what the way up takes is added to `skips`."""
        h = self.conv_in(x_NCHW)
        skips.append(h)
        found = []
        for stage, block in enumerate(self.down_blocks):
            *inner, h = block(h, embedding_NE, context_NLC)
            h = at_slot(f"down{stage}", h)
            found.append(h)
            skips += [*inner, h]
            for downsample in block.downsamplers:  # type: ignore[union-attr]
                h = downsample(h)
                skips.append(h)
        if self.mid_block is not None:
            found.append(at_slot("mid", self.mid_block(h, embedding_NE, context_NLC)))
        return found
