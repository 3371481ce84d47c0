"""The space of `moving_digits`, on a U-Net that takes the states of captions as its context."""

from dataclasses import replace

from examples.captioned_digits.text import TOKENS, WIDTH
from search_spaces import temporal_space
from search_spaces.shipped import moving_digits

UNET = replace(moving_digits.UNET, context_tokens=TOKENS, context_channels=WIDTH)
SPACE = temporal_space("captioned_digits", UNET, moving_digits.OPERATORS)
