"""Time, memory and lint of a full-size network on its way to Core ML.

    python examples/benchmarks/export_full_size.py --out network.mlpackage [--palettise 6]

The default is the size of the published system: an image U-Net of 320, 640 and 1280 channels
with 64 x 64 latents and 17 frames, cheap blocks at high resolution, attention at low. CI runs it
with --channels 32,64,128 --pixels 16 --frames 5 --context 24.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from nas.export import export_network
from nas.progress import Progress
from search_spaces import (
    CONV1D,
    HEADS,
    SELF_ATTENTION_3D,
    SEPARABLE_CONV3D,
    Architecture,
    StableDiffusionShape,
    TemporalSpace,
    temporal_space,
)
from supernet import VideoUNet, parameter_count

TOKENS = 77


def full_size(
    channels: tuple[int, ...], pixels: int, frames: int, context: int, layers: int, heads: int
) -> tuple[TemporalSpace, Architecture]:
    """A space like that of the published system, and an arrangement like its winner."""
    stages = len(channels)
    shape = StableDiffusionShape(
        frames=frames,
        height=pixels,
        width=pixels,
        context_tokens=TOKENS,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * (stages - 1)),
        up_block_types=(*["CrossAttnUpBlock2D"] * (stages - 1), "UpBlock2D"),
        mid_block_type="UNetMidBlock2D",
        layers_per_block=(layers,) * stages,
        attention_head_dim=(heads,) * stages,
        transformer_layers_per_block=(1,) * stages,
        cross_attention_dim=context,
    )
    attention = SELF_ATTENTION_3D.elastic(HEADS)
    space = temporal_space("full_size", shape, (CONV1D, SEPARABLE_CONV3D, attention))
    blocks = {block.operator: block for block in space.blocks()}
    cheap_first = [CONV1D, *[SEPARABLE_CONV3D] * (stages - 2), attention]
    return space, space.arranged([blocks[cheap_first[slot.stage]] for slot in space.slots])


def main() -> None:
    """Convert, read back, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", default="320,640,1280")
    parser.add_argument("--pixels", type=int, default=64, help="height and width of the latents")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--context", type=int, default=768, help="channels of a context token")
    parser.add_argument("--layers", type=int, default=2, help="of a stage")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--palettise", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=1)
    parser.add_argument("--out", type=Path, help="kept there; nowhere without it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    channels = tuple(map(int, given.channels.split(",")))
    space, architecture = full_size(
        channels, given.pixels, given.frames, given.context, given.layers, given.heads
    )
    torch.manual_seed(0)
    network = VideoUNet(space, architecture).eval()
    with tempfile.TemporaryDirectory() as folder:
        report = export_network(
            network,
            space,
            given.out or Path(folder) / "network.mlpackage",
            bits=given.palettise,
            chunks=given.chunks,
            progress=Progress(),
        )
    if given.json:
        print(json.dumps(report.to_json(), indent=2))
        return
    print(f"{parameter_count(network) / 1e6:.1f}M parameters, {report.flops / 1e12:.3f} TFLOPs")
    print(f"{report.seconds:.0f} s, peak {report.peak_gb:.2f} GB, {report.size_mb:.1f} MB")
    print(f"{report.products} products, as traced")
    for part in (*report.lint.parts, report.lint.total):
        print(
            f"{part.part:24} {part.operations:5} operations {part.reshapes:4} reshapes "
            f"{part.transposes:4} transposes {part.moved_mb:9.1f} MB moved {part.casts:3} casts"
        )
    for finding in report.lint.findings:
        print(f"{finding.part}: {finding.count} x {finding.rule}: {finding.says}")


if __name__ == "__main__":
    main()
