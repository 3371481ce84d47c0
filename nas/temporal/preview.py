"""Generated clips as a GIF that anyone can open."""

from torch import Tensor

from nas.sampling.grid import gif_bytes, grid_frames
from supernet.data.clips import captions, pictures
from supernet.evaluation.sampling import Samples

COLUMNS, ROWS, TALLEST = 4, 2, 176
FRAME_MS, LAST_MS = 160, 600


def preview_gif(x_BCTHW: Tensor, samples: Samples) -> bytes:
    """A few of what a network generated, looping; what was asked for stands below.

    The first row has the first clips of those that were asked for the least: they are read at once.
    """
    asked_B = (samples.real.context_BLC != samples.empty).any(-1).sum(1)
    first = asked_B.argsort(stable=True)[:COLUMNS].tolist()
    rest = [index for index in range(len(asked_B)) if index not in first]
    shown = [*first, *rest][: COLUMNS * ROWS]
    clips = pictures(samples.source, x_BCTHW[shown])
    words = captions(samples.source, samples.real.context_BLC[shown])
    asked = [f"asked: {caption}" if caption else "" for caption in words]
    return gif_bytes(grid_frames(clips, asked, COLUMNS, TALLEST), FRAME_MS, LAST_MS)
