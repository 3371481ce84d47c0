"""A digit classifier: a sliding window over frames that says which digit stands where, if any.

Trained in seconds on still scenes of real digits, then frozen. It judges generated clips: of the
digits that were asked for, how many are there to be read.

N scenes or frames, P places of the window, S its side in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.data.clips import share_found
from supernet.data.drawing import draw, over, textures

CLASSES = 10
SIDE = 8  # of the window: larger canvases are shrunk until a digit has so many pixels
HIDDEN, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 1200, 256, 3e-3, 0.05
SCENES, DRAWN = 128, 64  # scenes drawn at once, and how often
BESIDE = 1.5  # pixels: a window so far from every digit shows none


@dataclass(frozen=True)
class DigitClassifier:
    """Finds digits in clips.

    Args:
        window: pixels of a window (..., SIDE**2) to logits of the ten digits and of none.
        shrink: pixels of the canvas on a side of one that the window sees.
        decode: clips as pixels, (B, 1, T, H, W).
    """

    window: nn.Module
    shrink: float
    decode: Callable[[Tensor], Tensor]
    what = "digits"

    @torch.inference_mode()
    def found(self, x_BCTHW: Tensor, context_BLC: Tensor) -> Tensor:
        """The share of the digits asked for that are among as many likeliest, each clip (B,)."""
        pixels_BTHW = self.decode(x_BCTHW)[:, 0].float()
        seen = windows(_shrunk(pixels_BTHW.flatten(0, 1), self.shrink))  # (B * T, P, S * S)
        here = self.window(seen).softmax(-1)[..., :CLASSES].amax(1)
        score_BK = here.view(*pixels_BTHW.shape[:2], CLASSES).mean(1)
        return share_found(score_BK, context_BLC.amax(1))


def train_classifier(
    images: Tensor, labels: Tensor, sides: tuple[int, int], decode: Callable[[Tensor], Tensor]
) -> DigitClassifier:
    """The classifier of some digits; it depends on them alone.

    Args:
        images: (n, size, size) in [0, 1].
        labels: (n,).
        sides: height and width of the canvas.
        decode: clips as pixels.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        window = nn.Sequential(
            nn.Linear(SIDE**2, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, CLASSES + 1),
        )
    shrink = images.shape[-1] / SIDE
    optimizer = torch.optim.AdamW(window.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    drawn = [_examples(images, labels, sides, shrink, generator) for _ in range(DRAWN)]
    seen, wanted = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    for _ in range(STEPS):
        chosen = torch.randint(len(seen), (BATCH,), generator=generator)
        loss = F.cross_entropy(window(seen[chosen]), wanted[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return DigitClassifier(window.eval().requires_grad_(False), shrink, decode)


def windows(pixels_NHW: Tensor) -> Tensor:
    """What the window sees at each of its places, (N, P, SIDE**2)."""
    return F.unfold(pixels_NHW[:, None], SIDE).transpose(1, 2)


def _shrunk(pixels_NHW: Tensor, by: float) -> Tensor:
    if by == 1:
        return pixels_NHW
    return F.interpolate(pixels_NHW[:, None], scale_factor=1 / by, mode="area")[:, 0]


def _examples(
    images: Tensor, labels: Tensor, sides: tuple[int, int], shrink: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Windows that hold a digit, and as many more that hold none: (n, SIDE**2), labels (n,)."""
    (height, width), size = sides, images.shape[-1]
    which = torch.randint(len(images), (SCENES, 2), generator=rng)
    room = torch.tensor([height - size, width - size])
    corner_N2Y = torch.rand(SCENES, 2, 2, generator=rng) * room
    alone = torch.rand(SCENES, generator=rng) >= 0.6
    drawn = draw(images[which], corner_N2Y[:, :, None], height, width)[:, :, 0]
    drawn[alone, 1] = 0.0
    canvas = textures(SCENES, 1, sides, 0.0, rng)[:, 0]
    for digit in drawn.unbind(1):
        canvas = over(canvas, digit)
    seen = windows(_shrunk(canvas * 2 - 1, shrink))
    rows, columns = (int(side / shrink) - SIDE + 1 for side in sides)
    place_PY = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    away_N2P = (place_PY[None, None] - corner_N2Y[:, :, None] / shrink).abs().amax(-1)
    away_N2P[alone, 1] = torch.inf
    there = torch.stack([torch.ones_like(alone), ~alone], 1)
    digits = seen[torch.arange(SCENES)[:, None], away_N2P.argmin(-1)][there]
    empty = (away_N2P > BESIDE).all(1)
    chosen = torch.multinomial(empty.float() + 1e-6, 1, generator=rng)[:, 0]
    none = seen[torch.arange(SCENES), chosen]
    wanted = torch.cat([labels[which][there], torch.full((SCENES,), CLASSES)])
    return torch.cat([digits, none]), wanted
