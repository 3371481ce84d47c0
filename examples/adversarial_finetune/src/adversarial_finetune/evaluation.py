"""How good generated clips are, beside real ones: figures that need no eyes.

The Fréchet distance is that of Heusel et al. 2017 (arXiv:1706.08500), on features of the project's
own classifier instead of Inception's: it compares with figures of the same classifier alone. Beside
it stands one on features of a video encoder, where the user has one, as Fréchet video distances of
the field are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from adversarial_finetune.classifier import Classifier
from adversarial_finetune.data import ClipFiles, Clips
from adversarial_finetune.video_encoder import VideoEncoder

CHUNK = 64


@dataclass(frozen=True)
class Figures:
    """One sampler's clips, judged."""

    frechet: float
    accuracy: float | None  # share of the labels asked for that are found; None without labels
    flicker: float  # as a share of the data's own
    motion: float
    frechet_video_encoder: float | None = None  # None without one


def frechet_distance(one_NF: Tensor, other_NF: Tensor) -> float:
    """The squared Fréchet distance of two normal distributions with these samples' moments."""
    (mean_a, cov_a), (mean_b, cov_b) = _moments(one_NF), _moments(other_NF)
    # The trace of sqrt(cov_a cov_b), which has the eigenvalues of a symmetric matrix.
    root = _root(cov_a)
    crossed = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * crossed)


def _found(scores_NK: Tensor, asked_NK: Tensor) -> float:
    """Of k labels asked for, how many are among the k best scored: a mean over clips."""
    rank_NK = scores_NK.argsort(1, descending=True).argsort(1)
    asked_N = asked_NK.sum(1)
    hit_N = ((rank_NK < asked_N[:, None]) * asked_NK).sum(1)
    return float((hit_N / asked_N.clamp_min(1))[asked_N > 0].double().mean())


def _moments(x_NF: Tensor) -> tuple[Tensor, Tensor]:
    x = x_NF.double()
    return x.mean(0), torch.cov(x.T)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp_min(0).sqrt() @ vectors.T
    return root


def flicker_and_motion(parts: Iterable[Tensor]) -> tuple[float, float]:
    """How clips move, by parts of them (B, C, T, H, W).

    Flicker is how much of the change between frames is undone in the next one: the mean squared
    second difference in time over four times the first one's, 0 for even change, 1 for frames that
    alternate. Motion is the mean absolute difference between neighbouring frames.
    """
    first, second, moved, clips = 0.0, 0.0, 0.0, 0
    for x_BCTHW in parts:
        count, frames = len(x_BCTHW), x_BCTHW.shape[2]
        clips += count
        if frames > 1:
            change = x_BCTHW.diff(dim=2)
            first += count * float(change.square().mean())
            moved += count * float(change.abs().mean())
        if frames > 2:
            second += count * float(x_BCTHW.diff(n=2, dim=2).square().mean())
    return second / max(4 * first, 1e-12), moved / clips


@torch.inference_mode()
def features_of(classifier: Classifier, parts: Iterable[Tensor]) -> Tensor:
    """Features of many clips (N, F), by parts of them."""
    return torch.cat([classifier.features(part) for part in parts])


@dataclass(frozen=True)
class EncodedData:
    """Data as a video encoder sees it.

    Attributes:
        encoder: of the user.
        features_NF: of all clips that there are to compare with.
    """

    encoder: VideoEncoder
    features_NF: Tensor

    def distance(self, parts: Iterable[Tensor], advance: Callable[[int], None]) -> float:
        """The Fréchet distance of clips to the data, by parts of them."""
        return frechet_distance(self.encoder.features(parts, advance), self.features_NF)

    def to_json(self, clips: int) -> dict[str, Any]:
        """What distances of so many clips depend on.

        With no more clips than features, their covariance has no full rank: the distance is that
        of its formula all the same.
        """
        return {
            **self.encoder.to_json(),
            "clips": clips,
            "reference_clips": len(self.features_NF),
            "covariance_is_singular": clips <= self.encoder.width,
        }


@dataclass(frozen=True)
class Judge:
    """Holds generated clips against data.

    Args:
        classifier: of the same data, frozen.
        data: all clips that there are to compare with: the distance of two finite samples is larger
            than that of what they were drawn from, the less so the more there are.
        encoded: the same clips, where a video encoder judges, too.
        at_once: clips that samplers work on together.
    """

    classifier: Classifier
    data: ClipFiles
    encoded: EncodedData | None = None
    at_once: int = CHUNK

    @torch.inference_mode()
    def figures(
        self, x_NCTHW: Tensor, asked: Clips, advance: Callable[[int], None] = lambda _: None
    ) -> Figures:
        """Of clips that were made for the contexts of others; it says how many it has encoded."""
        labels, accuracy = asked.labels_NK, None
        if labels is not None and self.classifier.shown is not None:
            scores = [self.classifier.scores(part.float()) for part in torch.split(x_NCTHW, CHUNK)]
            accuracy = _found(torch.cat(scores), labels)
        parts = torch.split(x_NCTHW.float(), CHUNK)
        encoded = None if self.encoded is None else self.encoded.distance(parts, advance)
        (flickers, moves), (own_flicker, own_motion) = flicker_and_motion(parts), self._played
        return Figures(
            frechet=frechet_distance(features_of(self.classifier, parts), self._features),
            accuracy=accuracy,
            flicker=flickers / max(own_flicker, 1e-12),
            motion=moves / max(own_motion, 1e-12),
            frechet_video_encoder=encoded,
        )

    @cached_property
    def _features(self) -> Tensor:
        return features_of(self.classifier, self.data.parts(CHUNK))

    @cached_property
    def _played(self) -> tuple[float, float]:
        """Flicker and motion of the data."""
        return flicker_and_motion(self.data.parts(CHUNK))


@torch.inference_mode()
def make(
    sampler: Callable[[Tensor, Tensor, torch.Generator], Tensor],
    real: Clips,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
    at_once: int = CHUNK,
) -> Tensor:
    """Clips for the contexts of real ones, the same noise for every sampler (N, C, T, H, W).

    Another number of clips at once draws other noise.
    """
    noise_generator = torch.Generator().manual_seed(seed)
    fresh_generator = torch.Generator().manual_seed(seed + 1)
    parts = []
    for first in range(0, len(real), at_once):
        _, context = real.at(torch.arange(first, min(first + at_once, len(real))))
        noise = torch.randn((len(context), *real.x_NCTHW.shape[1:]), generator=noise_generator)
        parts.append(sampler(noise, context, fresh_generator).cpu())
        advance(first + len(context))
    return torch.cat(parts)
