"""What clips are judged by, as the flags of a command ask for it."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adversarial_finetune.classifier import (
    Classifier,
    load_classifier,
    save_classifier,
    train_classifier,
)
from adversarial_finetune.data import ClipFiles, Clips, find_clips, open_clips
from adversarial_finetune.errors import InputError
from adversarial_finetune.evaluation import CHUNK, EncodedData, Judge
from adversarial_finetune.flags import CLASSIFIER_STEPS
from adversarial_finetune.layout import Split
from adversarial_finetune.progress import Progress
from adversarial_finetune.room import check_parent
from adversarial_finetune.tables import encoder_in_words
from adversarial_finetune.video_encoder import VideoEncoder, open_video_encoder
from temporal_bundle import Bundle, sha256


@dataclass(frozen=True)
class Judging:
    """What clips are judged by, and held against."""

    judge: Judge
    real: Clips  # whose contexts are asked for
    others: Clips  # real ones too, and as many
    identity: dict[str, Any]

    @property
    def told(self) -> dict[str, Any]:
        """Of the video encoder, where one judges."""
        encoded = self.judge.encoded
        return {} if encoded is None else {"video_encoder": encoded.to_json(len(self.real))}

    @property
    def words(self) -> list[str]:
        """The same for people."""
        return [encoder_in_words(each) for each in self.told.values()]


def judged_by(
    given: argparse.Namespace, bundle: Bundle, folder: Path, progress: Progress
) -> Judging:
    """What the flags say that clips are judged by; what is trained for it is kept in a folder.

    Raises:
        InputError: too few clips, a classifier of other ones, or no video encoder.
    """
    if given.clips_at_once < 1:
        raise InputError("--clips-at-once: give a whole number from 1")
    data, others = (_opened(given, split, bundle) for split in ("test", "validation"))
    count = min(given.clips, len(data), len(others))  # distances compare at equal counts alone
    if count < 2:
        raise InputError("--clips: give 2 or more, and data with as many test and validation clips")
    encoder = _video_encoder(given, bundle)
    file: Path = given.classifier or folder / "classifier.safetensors"
    classifier, encoded = _classifier(given, file, bundle, progress), None
    if encoder is not None:
        parts, total = data.parts(CHUNK), len(data)
        features = encoder.features(parts, lambda done: progress("encode the data", done, total))
        encoded = EncodedData(encoder, features)
    judge = Judge(classifier, data, encoded, given.clips_at_once)
    identity = {
        "classifier": sha256(file),
        "test": data.digest,
        "clips": count,
        "video_encoder": None if encoder is None else encoder.to_json(),
        **({} if given.clips_at_once == CHUNK else {"clips_at_once": given.clips_at_once}),
    }
    return Judging(judge, data.first(count), others.first(count), identity)


def _video_encoder(given: argparse.Namespace, bundle: Bundle) -> VideoEncoder | None:
    if given.video_encoder is None:
        if given.decoder is not None:
            raise InputError("--decoder: is for --video-encoder, which is not given")
        return None
    channels = bundle.clip_shape[0]
    return open_video_encoder(given.video_encoder, channels, given.device, given.decoder)


def _classifier(
    given: argparse.Namespace, file: Path, bundle: Bundle, progress: Progress
) -> Classifier:
    """The judge: of its file, or trained and kept there."""
    steps: int | None = given.classifier_steps
    if steps is not None and steps < 1:
        raise InputError("--classifier-steps: give a whole number from 1")
    clips = find_clips(given.data, "train", given.text_contexts).digest
    if file.exists():
        return load_classifier(file, clips, steps)
    data = _opened(given, "train", bundle)
    check_parent(file, "--classifier")
    total = steps or CLASSIFIER_STEPS
    classifier = train_classifier(
        data, total, 0, lambda done: progress("train the classifier", done, total)
    )
    save_classifier(classifier, file, clips, total)
    return classifier


def _opened(given: argparse.Namespace, split: Split, bundle: Bundle) -> ClipFiles:
    return open_clips(given.data, split, bundle, given.text_contexts)
