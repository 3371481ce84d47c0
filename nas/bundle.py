"""The bundle: what a training package opens without knowing this toolkit."""

import hashlib
import io
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from nas.costs import clip_inputs
from nas.run_folder import versions
from search_spaces import Architecture, TemporalSpace, document
from supernet import DownFeatures, VideoUNet

SCHEMA = "1.0"
MANIFEST = "bundle.json"
# Bounds of what the programs accept; torch.export wants to know them.
MOST_CLIPS, MOST_FRAMES = 4096, 1024


@dataclass(frozen=True)
class Programs:
    """The torch.export programs of a network, as the bytes of their files."""

    denoiser: bytes
    features: bytes


def export_programs(
    network: VideoUNet, space: TemporalSpace, architecture: Architecture
) -> Programs:
    """Export a network and its down path with batch and frames free."""
    down = DownFeatures(space, architecture)
    weights = network.state_dict()
    down.load_state_dict({name: weights[name] for name in down.state_dict()})
    return Programs(_export(network, space), _export(down, space))


def write_bundle(
    path: Path,
    network: VideoUNet,
    architecture: Architecture,
    programs: Programs,
    latency: dict[str, Any],
    study: dict[str, Any],
    preview_gif: bytes,
    report_html: str,
) -> None:
    """Write a bundle; it exists whole or not at all, and replaces one that stood there."""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    files = {
        "architecture.json": document.dumps(architecture.to_json()).encode(),
        "weights.safetensors": save_tensors(weights),
        "denoiser.pt2": programs.denoiser,
        "features.pt2": programs.features,
        "latency.json": document.dumps(latency).encode(),
        "preview.gif": preview_gif,
        "report.html": report_html.encode(),
    }
    manifest = {
        "format": "temporal-nas/bundle",
        "version": SCHEMA,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "study": study,
        "versions": versions(),
    }
    files[MANIFEST] = document.dumps(manifest).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        temporary.chmod(0o755)
        document.replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _export(module: nn.Module, space: TemporalSpace) -> bytes:
    clips = torch.export.Dim("clips", min=1, max=MOST_CLIPS)
    frames = torch.export.Dim("frames", min=1, max=MOST_FRAMES)
    # Two of each: torch.export would take a single clip, or frame, for a constant.
    x_BCTHW, time_B, context_BLC = (torch.cat([x, x]) for x in clip_inputs(space))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module.eval(),
            (x_BCTHW, time_B, context_BLC),
            dynamic_shapes=({0: clips, 2: frames}, {0: clips}, {0: clips}),
        )
        for node in program.graph.nodes:  # where our source files stood is nobody's business
            node.meta.pop("stack_trace", None)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    return buffer.getvalue()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a bundle, once every file's hash was found to be as it says.

    A hash shows that nothing changed since the bundle was written, not who wrote it.

    Raises:
        InputError: no bundle, a newer version, a missing or a changed file.
    """
    from search_spaces import InputError

    manifest = document.read(path / MANIFEST, "temporal-nas/bundle", major=1)
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise InputError(f"{path / MANIFEST}: 'files' must be an object of names and sha256")
    for name, digest in files.items():
        if Path(name).name != name:
            raise InputError(f"{path / MANIFEST}: {name!r} is no file name")
        file = path / name
        if not file.is_file():
            raise InputError(f"{path}: lacks {name}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise InputError(f"{file}: was changed since the bundle was written")
    return manifest
