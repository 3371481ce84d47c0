"""A Stable Diffusion U-Net as a backbone: opened, inflated, extracted, saved back.

python examples/stable_diffusion.py OUT [FOLDER]

FOLDER is the `unet` of any SD 1.x or 2.x model as diffusers wrote it. Without one, a small random
one stands in for it.
"""

import sys
from pathlib import Path

import torch

from search_spaces import (
    CONV1D,
    KERNEL,
    NONE,
    SELF_ATTENTION_3D,
    StableDiffusionShape,
    stable_diffusion_shape,
    temporal_space,
)
from supernet import Supernet, build_backbone, open_backbone, parameter_count, save_backbone


def small(folder: Path) -> Path:
    """A U-Net of the family, 20 times narrower than SD 1.5's."""
    if not folder.exists():
        shape = StableDiffusionShape(
            frames=4,
            height=16,
            width=16,
            context_tokens=8,
            block_out_channels=(16, 32, 64, 64),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            mid_block_type="UNetMidBlock2DCrossAttn",
            up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
            layers_per_block=(2,) * 4,
            attention_head_dim=(8,) * 4,
            transformer_layers_per_block=(1,) * 4,
            norm_num_groups=8,
            cross_attention_dim=32,
        )
        save_backbone(build_backbone(shape), folder)
    return folder


def main(out: Path, folder: Path) -> None:
    shape = stable_diffusion_shape(folder, frames=4, height=16, width=16, context_tokens=8)
    space = temporal_space("video_sd", shape, (NONE, CONV1D.elastic(KERNEL), SELF_ATTENTION_3D))
    supernet = Supernet(space, open_backbone(folder, shape))
    for slot in space.slots:
        print(f"{slot.name:6} {slot.channels:5} channels, {slot.height} x {slot.width}")
    network = supernet.extract(space.uniform(space.parse_block("conv1d(kernel=3)")))
    print(f"{parameter_count(network):,} parameters in the network")
    clips = torch.randn(1, shape.in_channels, shape.frames, shape.height, shape.width)
    context = torch.randn(1, shape.context_tokens, shape.context_channels)
    with torch.inference_mode():
        print(f"predicted velocity {tuple(network(clips, torch.tensor([0.5]), context).shape)}")
    save_backbone(supernet.backbone, out / "unet-again", overwrite=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    main(target, Path(sys.argv[2]) if len(sys.argv) > 2 else small(target / "unet"))
