"""The embedded space: temporal blocks for a U-Net that fits a laptop, on clips of moving digits."""

from search_spaces.unet.temporal import (
    CONV1D,
    CONV3D,
    CROSS_ATTENTION_1D,
    CROSS_ATTENTION_3D,
    HEADS,
    KERNEL,
    NONE,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    WIDTH,
    TemporalSpace,
    temporal_space,
)
from search_spaces.unet.unet_shape import UNetShape

# The digits stand on it as they were scanned, 8 x 8. A token a digit; its channels are the ten
# classes, and all zeros where nothing is said.
UNET = UNetShape(
    in_channels=1,
    channels=(16, 32, 48),
    frames=8,
    height=16,
    width=16,
    context_tokens=2,
    context_channels=10,
)

OPERATORS = (
    NONE,
    CONV1D.elastic(KERNEL, WIDTH),
    CONV3D.elastic(KERNEL, WIDTH),
    SELF_ATTENTION_1D.elastic(HEADS, WIDTH),
    SELF_ATTENTION_3D.elastic(HEADS, WIDTH),
    CROSS_ATTENTION_1D.elastic(HEADS, WIDTH),
    CROSS_ATTENTION_3D.elastic(HEADS, WIDTH),
)

SPACE: TemporalSpace = temporal_space("moving_digits", UNET, OPERATORS)
