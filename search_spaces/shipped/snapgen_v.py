"""A video network for a phone: temporal blocks in a compact image U-Net of Stable Diffusion's kind.

It follows SnapGen-V (arXiv:2412.10494): SD 1.5's U-Net pruned 2.5 times to about 0.34B parameters,
six kinds of temporal blocks, chosen for each resolution, 0.6B parameters in all. What the
paper leaves open is decided here, for these reasons:

- The image U-Net is BK-SDM-Tiny's (arXiv:2305.15798: three stages of 320, 640 and 1280 channels,
  a block each) with two changes: no attention at the highest resolution, whose cost grows with the
  square of 4,096 pixels and which SnapFusion (arXiv:2306.00980) removed first, and a residual
  block in the middle, so that the deepest features have a slot of their own. 347M parameters.
- 64 x 64 latents are 512 x 512 pixels for the autoencoders of this family, the size at which the
  paper's decoder was timed.
- 17 latent frames: the paper's decoder takes 0.54 s a clip, and 31.75 ms a frame where
  Turbo-VAED's authors cite it. 17 is 1 + 16, as causal video autoencoders count frames.
- Blocks stand once or twice: with two 3D convolutions of full width in every slot a network has
  0.9B parameters, and what is found has to have 0.6B at most.
- Windows of 3D attention are an eighth, a quarter or all of the image's sides: 8, 16 or 64 pixels
  at the highest resolution, 2, 4 or 16 at the lowest.

`snapgen_v(frames=9,height=48,width=80)` is the same for other clips, `snapgen_v(channels=256)` for
a narrower image U-Net.
"""

from dataclasses import replace

from search_spaces.files.errors import InputError
from search_spaces.shipped.published import Published
from search_spaces.unet.stable_diffusion import StableDiffusionShape
from search_spaces.unet.temporal import (
    CONV1D,
    CONV3D,
    CROSS_ATTENTION_1D,
    CROSS_ATTENTION_3D,
    KERNEL,
    NONE,
    REPEATS,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    WIDTH,
    WINDOW,
    Setting,
    TemporalSpace,
    temporal_space,
)

HEADS = Setting("heads", (4, 8))
OPERATORS = (
    NONE,
    CONV1D.elastic(KERNEL, WIDTH, REPEATS),
    CONV3D.elastic(KERNEL, WIDTH, REPEATS),
    SELF_ATTENTION_1D.elastic(HEADS, WIDTH, REPEATS),
    SELF_ATTENTION_3D.elastic(HEADS, WIDTH, WINDOW, REPEATS),
    CROSS_ATTENTION_1D.elastic(KERNEL, HEADS, WIDTH, REPEATS),
    CROSS_ATTENTION_3D.elastic(KERNEL, HEADS, WIDTH, REPEATS),
)

UNET = StableDiffusionShape(
    frames=17,
    height=64,
    width=64,
    context_tokens=77,
    block_out_channels=(320, 640, 1280),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    mid_block_type="UNetMidBlock2D",
    layers_per_block=(1, 1, 1),
    attention_head_dim=(8, 8, 8),
    transformer_layers_per_block=(1, 1, 1),
    cross_attention_dim=768,
    sample_size=64,
)

_CONV = "conv1d(kernel=3,width=1.0,repeats={})"
_FRAMES = "self_attention1d(heads=8,width=1.0,repeats={})"
_SPACE_TIME = "self_attention3d(heads=8,width=1.0,window=1.0,repeats={})"
_ASKS = "cross_attention1d(kernel=3,heads=8,width=1.0,repeats={})"

# The layout that was found is unknown but for its kind. From down0 over mid to up0:
PUBLISHED = Published(
    device="iphone-16-pro-max",
    steps=4,
    latency_ms=4120.0,
    parameters=600_000_000,
    source="SnapGen-V, arXiv:2412.10494: 0.6B parameters, 4 steps in 4.12 s, 3D attention at low "
    "resolutions and 1D operators at high ones; whether the total counts its decoder (0.54 s) and "
    "its text encoder is not said",
    layouts={
        "1D convolution high, 3D attention low": (
            *(_CONV.format(1), _CONV.format(1), _SPACE_TIME.format(1), _SPACE_TIME.format(1)),
            *(_SPACE_TIME.format(1), _CONV.format(1), _CONV.format(1)),
        ),
        "1D convolution, then 1D attention, then 3D attention twice": (
            *(_CONV.format(1), _FRAMES.format(1), _SPACE_TIME.format(2), _SPACE_TIME.format(2)),
            *(_SPACE_TIME.format(2), _FRAMES.format(1), _CONV.format(1)),
        ),
        "1D convolution twice, then 1D cross-attention, then 3D attention": (
            *(_CONV.format(2), _ASKS.format(1), _SPACE_TIME.format(1), _SPACE_TIME.format(2)),
            *(_SPACE_TIME.format(1), _ASKS.format(1), _CONV.format(2)),
        ),
    },
)

# The space in which quality is searched: at full size nobody trains a supernet on one machine.
TWIN = "snapgen_v_mini"


def space(
    name: str = "snapgen_v",
    frames: int = 17,
    height: int = 64,
    width: int = 64,
    channels: int = 320,
) -> TemporalSpace:
    """The space for clips of so many latent frames of so many latent pixels.

    `channels` are those of the highest resolution; they double from one to the next.

    Raises:
        InputError: height or width is no multiple of 8, as the three resolutions need it; channels
            are no multiple of the norms' 32 groups.
    """
    check_sides(name, height, width)
    if channels % UNET.norm_num_groups:
        raise InputError(
            f"space {name!r}: {channels} channels; choose a multiple of {UNET.norm_num_groups}, "
            "the groups of its norms"
        )
    unet = replace(
        UNET,
        frames=frames,
        height=height,
        width=width,
        block_out_channels=(channels, 2 * channels, 4 * channels),
    )
    return temporal_space(name, unet, OPERATORS)


def check_sides(name: str, height: int, width: int) -> None:
    """Refuse latents that cannot be halved from stage to stage, and be cut into windows at last."""
    parts = 2 ** len(UNET.channels)
    if height % parts or width % parts:
        raise InputError(
            f"space {name!r}: latents of {height} x {width} do not divide by {parts}, as "
            f"{len(UNET.channels)} resolutions and their windows need it; choose multiples of "
            f"{parts}"
        )


SPACE: TemporalSpace = space()
