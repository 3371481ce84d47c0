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
from safetensors.torch import save_file
from torch import nn

from nas.costs import clip_inputs
from nas.run_folder import versions
from search_spaces import Architecture, InputError, TemporalSpace, document
from supernet import DownFeatures, VideoUNet

SCHEMA = "1.0"
MANIFEST, WEIGHTS = "bundle.json", "weights.safetensors"
# Bounds of what the programs accept; torch.export wants to know them.
MOST_CLIPS, MOST_FRAMES = 4096, 1024


@dataclass(frozen=True)
class Programs:
    """The torch.export programs of a network, as the bytes of their files; without weights."""

    denoiser: bytes
    features: bytes


def export_programs(
    network: VideoUNet, space: TemporalSpace, architecture: Architecture
) -> Programs:
    """Export a network and its down path with batch and frames free.

    The programs hold shapes and no weights, so that these stand in a bundle once: whoever opens one
    assigns them (`load_state_dict(..., strict=True, assign=True)`).
    """
    with torch.device("meta"):
        down = DownFeatures(space, architecture)
    # The right device for what a program makes by itself; memory that nobody writes costs nothing.
    down.to_empty(device="cpu")
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
    files = {
        "architecture.json": document.dumps(architecture.to_json()).encode(),
        "denoiser.pt2": programs.denoiser,
        "features.pt2": programs.features,
        "latency.json": document.dumps(latency).encode(),
        "preview.gif": preview_gif,
        "report.html": report_html.encode(),
    }
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        save_file(weights, temporary / WEIGHTS)  # gigabytes, perhaps: not a second time in memory
        manifest = {
            "format": "temporal-nas/bundle",
            "version": SCHEMA,
            "files": {name: sha256(temporary / name) for name in (*files, WEIGHTS)},
            "study": study,
            "versions": versions(),
        }
        (temporary / MANIFEST).write_text(document.dumps(manifest), encoding="utf-8")
        (temporary / WEIGHTS).chmod(
            (temporary / MANIFEST).stat().st_mode
        )  # was for its owner alone
        temporary.chmod(0o755)
        document.replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(file: Path) -> str:
    """Of a file of any size."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _export(module: nn.Module, space: TemporalSpace) -> bytes:
    learned = {name for name, _ in module.named_parameters()}
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
        for name, tensor in list(program.state_dict.items()):
            bare = torch.empty_like(tensor, device="meta")
            program.state_dict[name] = nn.Parameter(bare) if name in learned else bare
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
        if sha256(file) != digest:
            raise InputError(f"{file}: was changed since the bundle was written")
    return manifest
