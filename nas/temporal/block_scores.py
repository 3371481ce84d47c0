"""What a search guesses before it evaluates: losses of networks on a few clips, to score blocks by.

`strategies.scoring_set` says which networks, `Problem.proxy` asks for what was found.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.problem.problem import Vector
from nas.progress import Progress
from nas.temporal.quality import Quality
from search_spaces import Architecture
from search_spaces.files import document
from supernet import ClipSource, Supernet, Validation

CLIPS = 8  # of each network
FORMAT, MAJOR = "temporal-nas/guesses", 1


class BlockScores:
    """Losses on a few clips, kept in the run folder, so that a resumed run has them.

    Args:
        file: where they are kept.
        progress: where progress is shown.

    Attributes:
        wanted: the networks to guess.
    """

    def __init__(self, file: Path, progress: Progress) -> None:
        self.wanted: Sequence[Architecture] = ()
        self._file = file
        self._progress = progress
        self._losses: dict[str, float] = {}

    def __call__(self, architectures: Sequence[Architecture]) -> Vector:
        """(n,); NaN of what was not guessed, or is no number."""
        return np.array([self._losses.get(each.digest, math.nan) for each in architectures])

    def make(self, supernet: Supernet, data: ClipSource) -> None:
        """Guess all that is wanted, or read what an earlier try of this run guessed.

        Raises:
            InputError: the file of an earlier try was damaged.
        """
        title = f"score blocks by {len(self.wanted)} networks on {CLIPS} clips each"
        if self._file.exists():
            held = document.read(self._file, FORMAT, MAJOR)["losses"]
            self._losses = {digest: float(loss) for digest, loss in held.items()}
            self._progress.skip(title, "scored before")
            return
        quality = Quality(supernet, Validation(data, CLIPS))
        with self._progress.stage(title, len(self.wanted)) as advance:
            for number, each in enumerate(self.wanted, 1):
                loss = quality.loss(each)
                if math.isfinite(loss):
                    self._losses[each.digest] = loss
                advance(number)
        content = {"format": FORMAT, "version": f"{MAJOR}.0", "losses": self._losses}
        document.write_atomically(self._file, document.dumps(content))
