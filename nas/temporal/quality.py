"""The quality of an architecture: the validation loss of its path through a supernet.

Made from numbers alone, so that a process elsewhere can make the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch

from nas.evaluators import Samples, Span
from search_spaces import Architecture, TemporalSpace
from supernet import Supernet, Validation
from supernet.data.loading import load_clips

Weights = Mapping[str, npt.NDArray[np.generic]]


class Quality:
    """The validation loss, clip by clip."""

    def __init__(self, supernet: Supernet, validation: Validation) -> None:
        self._supernet = supernet
        self._validation = validation

    def loss(self, architecture: Architecture) -> float:
        """The mean over all clips."""
        return fmean(self(architecture).values)

    def __call__(self, architecture: Architecture, span: Span | None = None) -> Samples:
        """The loss of each clip, of all or of those from one to another."""
        first, stop = span or (0, self._validation.clips)
        losses = self._validation.losses(self._supernet.path(architecture), first, stop)
        return Samples(tuple(losses.tolist()))


@dataclass(frozen=True)
class QualityElsewhere:
    """How another process makes the same `Quality`, given the supernet's weights."""

    space: TemporalSpace
    data: str
    clips: int
    dtype: str  # of the supernet, as torch calls it

    def __call__(self, weights: Weights) -> Quality:
        """The quality, on one thread: a worker has one core."""
        torch.set_num_threads(1)
        supernet = Supernet(self.space).to(getattr(torch, self.dtype)).eval()
        tensors = {name: torch.tensor(array) for name, array in weights.items()}
        supernet.load_state_dict(tensors)
        clips = load_clips(self.data, self.space.unet, "validation")
        return Quality(supernet, Validation(clips, self.clips))


def elsewhere(
    supernet: Supernet, data: str, clips: int
) -> tuple[QualityElsewhere, dict[str, npt.NDArray[np.generic]]]:
    """How to make the quality of a supernet elsewhere, and its weights as numpy's numbers."""
    dtype = str(next(supernet.parameters()).dtype).removeprefix("torch.")
    weights = {}
    for name, tensor in supernet.state_dict().items():
        # numpy has no bfloat16; float32 holds all of its numbers
        held = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        weights[name] = held.detach().cpu().numpy()
    return QualityElsewhere(supernet.space, data, clips, dtype), weights
