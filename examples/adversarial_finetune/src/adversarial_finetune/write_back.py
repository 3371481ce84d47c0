"""Tuned weights return into their bundle: finetuned.safetensors, and finetuned.json that says what.

The bundle's own files stay as they are. The manifest is written last and names the sha256 of both
the weights and the bundle.json that they belong to, so that half of a pair is never taken for one.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.errors import InputError
from adversarial_finetune.room import reserved, size_of_weights
from adversarial_finetune.settings import Settings
from temporal_bundle import (
    FINETUNED,
    FINETUNED_FORMAT,
    TUNED_WEIGHTS,
    VERSION,
    Bundle,
    Weights,
    read_weights,
    sha256,
)
from temporal_bundle.made_with import MADE_WITH
from temporal_bundle.manifest import Json


@contextmanager
def place_for(bundle: Bundle) -> Iterator[None]:
    """Room for what `write_back` will write, held while the body looks for more on the disk.

    Raises:
        InputError: the bundle takes no files, or the weights have no room.
    """
    weights = bundle.path / TUNED_WEIGHTS, size_of_weights(bundle)
    with reserved([weights, (bundle.path / FINETUNED, 0)]):
        yield


def write_back(
    bundle: Bundle, weights: Weights, settings: Settings, made_with: Json | None = None
) -> None:
    """Leave tuned weights in a bundle, in the place of earlier ones.

    Args:
        bundle: whose weights were tuned.
        weights: the tuned ones.
        settings: of the training.
        made_with: what its clips were made with, where that is known.

    Raises:
        BundleError: weights of another network.
        OSError: no room; what stood there stays.
    """
    bundle.denoiser(weights)  # refuses what does not fit
    file = bundle.path / TUNED_WEIGHTS
    with replacing(file) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
        except SafetensorError as error:
            raise OSError(f"{file}: {error}") from None
        (bundle.path / FINETUNED).unlink(missing_ok=True)  # of earlier weights, which now go
    _write(
        bundle,
        {
            "format": FINETUNED_FORMAT,
            "version": VERSION,
            "bundle": bundle.digest,
            "files": {TUNED_WEIGHTS: sha256(file)},
            "sampler": {"kind": "leap", "times": settings.times, "guidance": 1.0},
            "settings": settings.to_json(),
            MADE_WITH: made_with or {},
            "versions": {"torch": torch.__version__, "adversarial-finetune": _own_version()},
        },
    )


def add_figures(bundle: Bundle, figures: dict[str, Any]) -> None:
    """Note what was measured beside the tuned weights of a bundle."""
    _write(bundle, {**(bundle.finetuned or {}), "figures": figures})


def tuned_weights(bundle: Bundle) -> tuple[Weights, list[float]]:
    """The tuned weights of a bundle, and the times of their sampler.

    Raises:
        BundleError: there are none, or half of them.
        InputError: they are sampled otherwise than this package samples.
    """
    chosen, file = bundle.chosen("tuned"), bundle.path / FINETUNED
    try:
        sampler = (bundle.finetuned or {})["sampler"]
        kind, guidance = sampler["kind"], float(sampler.get("guidance", 1.0))
        times = [float(time) for time in sampler["times"]]
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: says no sampler ({error!r}); tune again") from None
    if kind != "leap":
        raise InputError(f"{file}: samples by {str(kind)[:20]!r}, and this package by leaps")
    if guidance != 1.0:
        raise InputError(f"{file}: samples with guidance, which this package's leaps have none of")
    if not times or not all(0 < time <= 1 for time in times):
        raise InputError(f"{file}: the sampler's times must lie in (0, 1]")
    return read_weights(bundle.path / chosen.file), times


def _write(bundle: Bundle, document: dict[str, Any]) -> None:
    with replacing(bundle.path / FINETUNED) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _own_version() -> str:
    try:
        return version("adversarial-finetune")
    except PackageNotFoundError:  # run from its folder
        return "0"
