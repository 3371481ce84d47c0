"""A small bundle that no toolkit made, for tests of whatever reads and tunes bundles.

    write_toy(folder); write_tuning(folder); open_bundle(folder)

It is written as the specification says, and holds fields of a later version.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from temporal_bundle.manifest import (
    FINETUNED,
    FINETUNED_FORMAT,
    FORMAT,
    LISTED,
    MANIFEST,
    TUNED_WEIGHTS,
    VERSION,
    WEIGHTS,
    sha256,
)

CHANNELS, FRAMES, SIDE, TOKENS, KINDS = 1, 4, 8, 2, 3


class Down(nn.Module):
    """Two stages; the second looks at neighbouring frames."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv3d(CHANNELS, 8, (1, 3, 3), padding=(0, 1, 1))
        self.down = nn.Conv3d(8, 16, 3, stride=(1, 2, 2), padding=1)
        self.told = nn.Linear(KINDS + 1, 8)

    def stages(self, x: Tensor, time: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        told = self.told(torch.cat([context.sum(1), time[:, None]], dim=1))
        told = told.reshape(x.shape[0], -1, 1, 1, 1)  # as attention has it: no clips, no answer
        first = torch.tanh(self.enter(x) + told)
        return first, torch.tanh(self.down(first))

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        return self.stages(x, time, context)


class Network(Down):
    """The down path, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Conv3d(24, CHANNELS, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:  # type: ignore[override]
        first, second = self.stages(x, time, context)
        wide = second.repeat_interleave(2, 3).repeat_interleave(2, 4)
        back: Tensor = self.up(torch.cat([first, wide], dim=1))
        return x + back


def write_toy(folder: Path) -> None:
    """Write all files of a bundle into a new folder."""
    folder.mkdir()
    torch.manual_seed(0)
    network, down = Network(), Down()
    for name, module in (("denoiser", network), ("features", down)):
        _export(module, folder / f"{name}.pt2")
    save_file(network.state_dict(), folder / WEIGHTS)
    for name in ("architecture", "latency"):
        (folder / f"{name}.json").write_text("{}")
    write_manifest(folder)


def write_manifest(folder: Path, **changes: object) -> None:
    """bundle.json, with hashes of the files as they are."""
    manifest = {
        "format": FORMAT,
        "version": "1.3",
        "files": {name: sha256(folder / name) for name in LISTED[FORMAT]},
        "network": {
            "inputs": {
                "x_BCTHW": [None, CHANNELS, None, SIDE, SIDE],
                "time_B": [None],
                "context_BLC": [None, TOKENS, KINDS],
            },
            "frames": FRAMES,
            "predicts": "velocity",
            "time": "0 is data, 1 is noise",
            "features": [8, 16],
        },
        "study": {"space": {}},
        "versions": {},
        "of a later version": True,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def write_tuning(folder: Path, **changes: object) -> None:
    """Leave in a bundle what a training package does: each number a half larger."""
    weights = {name: tensor + 0.5 for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / TUNED_WEIGHTS)
    document = {
        "format": FINETUNED_FORMAT,
        "version": VERSION,
        "bundle": sha256(folder / MANIFEST),
        "files": {TUNED_WEIGHTS: sha256(folder / TUNED_WEIGHTS)},
        "sampler": {"kind": "leap", "times": [1, 0.5], "guidance": 1.0},
        "settings": {"seed": 0},
        "versions": {"torch": torch.__version__},
    }
    (folder / FINETUNED).write_text(json.dumps(document | changes))


def _export(module: nn.Module, file: Path) -> None:
    clips, frames = torch.export.Dim("clips", max=4096), torch.export.Dim("frames", max=1024)
    example = (
        torch.zeros(2, CHANNELS, 2 * FRAMES, SIDE, SIDE),
        torch.zeros(2),
        torch.zeros(2, TOKENS, KINDS),
    )
    program = torch.export.export(
        module, example, dynamic_shapes=({0: clips, 2: frames}, {0: clips}, {0: clips})
    )
    for name, tensor in list(program.state_dict.items()):
        program.state_dict[name] = nn.Parameter(torch.empty_like(tensor, device="meta"))
    program.example_inputs = None
    torch.export.save(program, file)
