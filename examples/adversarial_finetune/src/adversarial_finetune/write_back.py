"""Tuned weights return into their bundle: finetuned.safetensors, and finetuned.json that says what.

The bundle's own files stay as they are. The manifest is written last and names the sha256 of both
the weights and the bundle.json that they belong to, so that half of a pair is never taken for one.
"""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from adversarial_finetune.bundle import Bundle, Weights, check_file, read_weights, sha256
from adversarial_finetune.checkpoint import replacing
from adversarial_finetune.errors import InputError
from adversarial_finetune.settings import Settings

FORMAT, VERSION, MAJOR = "temporal-nas/finetuned", "1.0", 1
MANIFEST, WEIGHTS = "finetuned.json", "finetuned.safetensors"


def write_back(bundle: Bundle, weights: Weights, settings: Settings) -> None:
    """Leave tuned weights in a bundle, in the place of earlier ones.

    Raises:
        InputError: weights of another network.
        OSError: no room; what stood there stays.
    """
    bundle.denoiser(weights)  # refuses what does not fit
    with replacing(bundle.path / WEIGHTS) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
        except SafetensorError as error:
            raise OSError(f"{bundle.path / WEIGHTS}: {error}") from None
        (bundle.path / MANIFEST).unlink(missing_ok=True)  # of earlier weights, which now go
    _write(
        bundle,
        {
            "format": FORMAT,
            "version": VERSION,
            "bundle": bundle.digest,
            "files": {WEIGHTS: sha256(bundle.path / WEIGHTS)},
            "sampler": {"kind": "leap", "times": settings.times, "guidance": 1.0},
            "settings": settings.to_json(),
            "versions": {"torch": torch.__version__, "adversarial-finetune": _own_version()},
        },
    )


def add_figures(bundle: Bundle, figures: dict[str, Any]) -> None:
    """Note what was measured beside the tuned weights of a bundle."""
    _write(bundle, {**read_tuned(bundle), "figures": figures})


def read_tuned(bundle: Bundle) -> dict[str, Any]:
    """finetuned.json of a bundle, its file checked.

    Raises:
        InputError: there is none, it is of another bundle or version, or the weights were changed.
    """
    file = bundle.path / MANIFEST
    if not file.is_file():
        raise InputError(f"{bundle.path}: holds no tuned weights; train first")
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        major, digest = int(found["version"].split(".")[0]), found["files"][WEIGHTS]
        sampler = found["sampler"]
        times = [float(time) for time in sampler["times"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: is no {FORMAT} ({error!r})") from None
    if major != MAJOR or found.get("format") != FORMAT or sampler.get("kind") != "leap":
        raise InputError(f"{file}: is no {FORMAT} {MAJOR}.x that samples by leaps")
    if sampler.get("guidance", 1.0) != 1.0:
        raise InputError(f"{file}: samples with guidance, which this package's leaps have none of")
    if not times or not all(0 < time <= 1 for time in times):
        raise InputError(f"{file}: the sampler's times must lie in (0, 1]")
    if found.get("bundle") != bundle.digest:
        raise InputError(f"{file}: was tuned from another bundle")
    check_file(bundle.path, WEIGHTS, digest, file)
    return found


def tuned_weights(bundle: Bundle) -> tuple[Weights, list[float]]:
    """The tuned weights of a bundle, and the times of their sampler."""
    times = read_tuned(bundle)["sampler"]["times"]
    return read_weights(bundle.path / WEIGHTS), times


def _write(bundle: Bundle, document: dict[str, Any]) -> None:
    with replacing(bundle.path / MANIFEST) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _own_version() -> str:
    try:
        return version("adversarial-finetune")
    except PackageNotFoundError:  # run from its folder
        return "0"
