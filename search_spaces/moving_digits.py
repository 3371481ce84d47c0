"""The embedded space: temporal blocks for a U-Net that fits a laptop, on clips of moving digits."""

from search_spaces.temporal import (
    CONV1D,
    CONV3D,
    NONE,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    TemporalSpace,
    temporal_space,
)
from search_spaces.unet_shape import UNetShape

# A token a digit; its channels are the ten classes, and all zeros where nothing is said.
UNET = UNetShape(
    in_channels=1,
    channels=(16, 32, 48),
    frames=8,
    height=24,
    width=24,
    context_tokens=2,
    context_channels=10,
)

OPERATORS = (NONE, CONV1D, CONV3D, SELF_ATTENTION_1D, SELF_ATTENTION_3D)

SPACE: TemporalSpace = temporal_space("moving_digits", UNET, OPERATORS)
