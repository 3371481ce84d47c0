"""Time, memory and lint of a full-size network on its way to Core ML.

    python examples/benchmarks/export_full_size.py --out network.mlpackage [--palettise 6]
    python examples/benchmarks/export_full_size.py --layout 3

The network is one of `snapgen_v` with about 0.6B random parameters: 1D convolutions at high
resolution, large 3D convolutions and 3D attention at low. `--layout 1` to `3` are the layouts of
the published kind instead (search_spaces/shipped/snapgen_v.py), which have about 0.4B.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from full_size import LAYOUTS, layout

from nas.bundle.folder import video_runnable
from nas.export import export_network
from nas.progress import Progress
from search_spaces.shipped.loading import load_temporal
from supernet import VideoUNet, parameter_count


def main() -> None:
    """Convert, read back, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="snapgen_v")
    parser.add_argument(
        "--layout", type=int, choices=LAYOUTS, default=0, help="0, or of the published kind"
    )
    parser.add_argument("--palettise", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=1)
    parser.add_argument("--out", type=Path, help="kept there; nowhere without it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    space = load_temporal(given.space)
    architecture = layout(space, given.layout)
    torch.manual_seed(0)
    network = VideoUNet(space, architecture).eval()
    with tempfile.TemporaryDirectory() as folder:
        report = export_network(
            video_runnable(network, space),
            given.out or Path(folder) / "network.mlpackage",
            palettise=given.palettise,
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
