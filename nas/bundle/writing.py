"""Write a bundle: whole, or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.bundle.programs import Programs
from nas.run.run_folder import versions
from search_spaces import Architecture, TemporalSpace
from search_spaces.files import document
from supernet import DownFeatures, VideoUNet
from temporal_bundle import (
    FORMAT,
    MANIFEST,
    NETWORK_FORMAT,
    VERSION,
    WEIGHTS,
    NetworkInput,
    sha256,
)
from temporal_bundle.manifest import ARCHITECTURE, DENOISER, FEATURES, LATENCY, NETWORK


def write_bundle(
    path: Path,
    network: VideoUNet,
    space: TemporalSpace,
    architecture: Architecture,
    programs: Programs,
    latency: dict[str, Any],
    study: dict[str, Any],
    preview_gif: bytes,
    report_html: str,
) -> None:
    """Write a bundle, which replaces one that stood there.

    Args:
        path: the folder.
        network: whose weights are kept.
        space: that it is of.
        architecture: that it is.
        programs: of the network, without weights.
        latency: latency.json.
        study: what the search was asked for; no paths, no secrets.
        preview_gif: clips of the network.
        report_html: of the search.
    """
    files = {
        ARCHITECTURE: document.dumps(architecture.to_json()).encode(),
        DENOISER: programs.denoiser,
        FEATURES: programs.features,
        LATENCY: document.dumps(latency).encode(),
        "preview.gif": preview_gif,
        "report.html": report_html.encode(),
    }
    _write(path, files, network.state_dict(), FORMAT, called(space, architecture), study)


def write_network_bundle(
    path: Path,
    weights: Mapping[str, Tensor],
    architecture: Architecture,
    program: bytes,
    inputs: Sequence[NetworkInput],
    latency: dict[str, Any],
    study: dict[str, Any],
    report_html: str,
) -> None:
    """Write a bundle of any network, which replaces one that stood there.

    Args:
        path: the folder.
        weights: under the names that the program uses.
        architecture: that the network is.
        program: of the network, without weights.
        inputs: how it is called.
        latency: latency.json.
        study: what the search was asked for; no paths, no secrets.
        report_html: of the search.
    """
    files = {
        ARCHITECTURE: document.dumps(architecture.to_json()).encode(),
        NETWORK: program,
        LATENCY: document.dumps(latency).encode(),
        "report.html": report_html.encode(),
    }
    _write(path, files, weights, NETWORK_FORMAT, {"inputs": [asdict(x) for x in inputs]}, study)


def _write(
    path: Path,
    files: Mapping[str, bytes],
    weights: Mapping[str, Tensor],
    format_name: str,
    network: dict[str, Any],
    study: dict[str, Any],
) -> None:
    held = {name: tensor.contiguous() for name, tensor in weights.items()}
    with document.replacing_folder(path) as temporary:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        file = temporary / WEIGHTS
        save_file(held, file)  # gigabytes, perhaps: not a second time in memory
        manifest = {
            "format": format_name,
            "version": VERSION,
            "files": {name: sha256(temporary / name) for name in (*files, file.name)},
            "network": network,
            "study": study,
            "versions": versions(),
        }
        (temporary / MANIFEST).write_text(document.dumps(manifest), encoding="utf-8")
        file.chmod((temporary / MANIFEST).stat().st_mode)  # was for its owner alone


def called(space: TemporalSpace, architecture: Architecture) -> dict[str, Any]:
    """How the programs of a network are called: the `network` of a manifest."""
    unet = space.unet
    with torch.device("meta"):
        down = DownFeatures(space, architecture)
        x_BCTHW = torch.empty(1, unet.in_channels, 1, unet.height, unet.width)
        context_BLC = torch.empty(1, unet.context_tokens, unet.context_channels)
        stages = down(x_BCTHW, torch.empty(1), context_BLC)
    return {
        "inputs": {
            "x_BCTHW": [None, unet.in_channels, None, unet.height, unet.width],
            "time_B": [None],
            "context_BLC": [None, unet.context_tokens, unet.context_channels],
        },
        "frames": unet.frames,
        "predicts": "velocity",
        "time": "0 is data, 1 is noise",
        "features": [stage.shape[1] for stage in stages],
    }
