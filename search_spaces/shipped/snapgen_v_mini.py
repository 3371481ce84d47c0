"""The narrow twin of `snapgen_v`: the same slots and choices, small enough to train on one machine.

Its channels are a twentieth of the twin's, its latents a quarter of the sides and half of the
frames.
Shares stay what they are (a width of 0.5, a window of 0.25), and so do counts (kernels, heads,
repeats): an architecture of one space is an architecture of the other. At the lowest resolution,
4 x 4, windows of an eighth and of a quarter of the image are the same 2 pixels.

Latents have four channels, as those of the twin. Digits become latents by folding 2 x 2 pixels into
channels, videos by an autoencoder (`nas encode`). Context is two tokens of ten channels, as digits
have them; captions of a text encoder of Stable Diffusion 1.x are
`snapgen_v_mini(context_tokens=77,context_channels=768)`.

How far its ranking carries is measured between two widths (examples/benchmarks/twin_ranking.py):
`snapgen_v_mini(channels=32)` is twice as wide.
"""

from dataclasses import replace

from search_spaces.files.errors import InputError
from search_spaces.shipped.snapgen_v import OPERATORS, UNET, check_sides
from search_spaces.unet.temporal import TemporalSpace, temporal_space

GROUPS = 8  # of the norms; the twin's 32 would leave one channel in each


def space(
    name: str = "snapgen_v_mini",
    frames: int = 8,
    height: int = 16,
    width: int = 16,
    channels: int = 16,
    context_tokens: int = 2,
    context_channels: int = 10,
) -> TemporalSpace:
    """The space for clips of so many latents; `channels` are those of the highest resolution.

    Raises:
        InputError: height or width is no multiple of 8, channels are no multiple of 16.
    """
    check_sides(name, height, width)
    if channels < 16 or channels % 16:
        raise InputError(
            f"space {name!r}: {channels} channels; choose a multiple of 16, so that eight heads "
            "divide half of them"
        )
    unet = replace(
        UNET,
        frames=frames,
        height=height,
        width=width,
        context_tokens=context_tokens,
        cross_attention_dim=context_channels,
        block_out_channels=(channels, 2 * channels, 4 * channels),
        norm_num_groups=GROUPS,
        sample_size=None,
    )
    return temporal_space(name, unet, OPERATORS)


SPACE: TemporalSpace = space()
