"""Moving digits that are asked for by sentences: the contexts are encoded captions.

    nas search --space examples.captioned_digits.space:SPACE \\
        --data examples.captioned_digits.data:open_clips --out RUN

The clips are those of `digits`, to the pixel; a caption says which digits one shows, in one of four
phrasings. Contexts come from a table of all captions, so that none is encoded twice.
"""

import functools
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from examples.captioned_digits.text import PAIRS, TOKENS, WIDTH, said, text_encoder
from search_spaces import AnyUNetShape, InputError
from supernet.data.clips import Clips, Recogniser
from supernet.data.digits import CLASSES, MovingDigits
from supernet.data.splits import Split

PHRASINGS = len(PAIRS)
NONE = CLASSES  # stands for a second digit that is not there
APART = 7_919  # of the seeds of clips and of phrasings


@dataclass(frozen=True)
class CaptionedDigits:
    """A stream of moving digits with captions; as `MovingDigits` but for their contexts."""

    digits: MovingDigits

    def clips(self, count: int, seed: int) -> Clips:
        """`count` clips that depend on the seed alone."""
        return _captioned(self.digits.clips(count, seed), seed)

    def images(self, seed: int) -> Clips:
        """Single frames of as many clips as a clip has frames."""
        return _captioned(self.digits.images(seed), seed)

    def decode(self, x_BCTHW: Tensor) -> Tensor:
        """Clips as pixels, (B, 1, T, H, W)."""
        return self.digits.decode(x_BCTHW)

    def caption(self, context_LC: Tensor) -> str:
        """The caption of a context; empty where nothing is asked for."""
        return captions()[int(nearest(context_LC[None]))]

    def labels(self, context_BLC: Tensor) -> Tensor:
        """Which digits contexts ask for, zeros and ones (B, CLASSES)."""
        return asked(context_BLC).amax(1)

    def empty_context(self) -> Tensor:
        """The states of the empty caption."""
        return states()[-1]

    def recogniser(self) -> Recogniser:
        """What finds the digits that captions ask for."""
        return _OfCaptions(self.digits.recogniser())


def open_clips(shape: AnyUNetShape, split: Split) -> CaptionedDigits:
    """The clips of a split; InputError where a network takes other contexts."""
    if (shape.context_tokens, shape.context_channels) != (TOKENS, WIDTH):
        raise InputError(
            f"captioned digits have {TOKENS} tokens of {WIDTH} channels; the space's U-Net takes "
            f"{shape.context_tokens} of {shape.context_channels}"
        )
    plain = replace(shape, context_tokens=2, context_channels=CLASSES)
    return CaptionedDigits(MovingDigits(plain, split))


@functools.cache
def captions() -> list[str]:
    """All captions: by first digit, second or none, and phrasing; the last is the empty one."""
    pairs = [(first, *second) for first in range(CLASSES) for second in _SECONDS]
    return [*(said(pair, phrasing) for pair in pairs for phrasing in range(PHRASINGS)), ""]


_SECONDS = [*((digit,) for digit in range(CLASSES)), ()]  # `NONE` is the last


@functools.cache
def states() -> Tensor:
    """The states of all captions (N, L, C)."""
    return text_encoder().encode(captions())


def nearest(context_BLC: Tensor) -> Tensor:
    """Which captions contexts are of (B,), whatever the precision that they were stored in."""
    return torch.cdist(context_BLC.float().flatten(1), states().flatten(1)).argmin(1)


def asked(context_BLC: Tensor) -> Tensor:
    """What contexts ask for as one-hot tokens, (B, 2, CLASSES)."""
    place = nearest(context_BLC)
    something = place < len(captions()) - 1
    pair = (place // PHRASINGS).clamp_max(CLASSES * len(_SECONDS) - 1)
    both = torch.stack([pair // len(_SECONDS), pair % len(_SECONDS)], 1)
    tokens_B2K = F.one_hot(both, CLASSES + 1)[..., :CLASSES].float()
    return tokens_B2K * something[:, None, None]


@dataclass(frozen=True)
class _OfCaptions:
    """Finds in clips the digits that captions ask for."""

    digits: Recogniser

    @property
    def what(self) -> str:
        return self.digits.what

    def found(self, x_BCTHW: Tensor, context_BLC: Tensor) -> Tensor:
        return self.digits.found(x_BCTHW, asked(context_BLC))


def _captioned(clips: Clips, seed: int) -> Clips:
    """The same clips, asked for in words."""
    generator = torch.Generator().manual_seed(seed + APART)
    phrasing = torch.randint(PHRASINGS, (len(clips.x_BCTHW),), generator=generator)
    first, second = clips.context_BLC.argmax(-1).unbind(1)
    alone = clips.context_BLC[:, 1].sum(-1) == 0
    second = torch.where(alone, NONE, second)
    place = (first * len(_SECONDS) + second) * PHRASINGS + phrasing
    return Clips(clips.x_BCTHW, states()[place])
