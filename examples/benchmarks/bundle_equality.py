"""Do a bundle's programs answer as the networks that they were exported from?

    python examples/benchmarks/bundle_equality.py

Random architectures of every space are written as bundles, opened again as whoever does not know
this toolkit opens them, and asked for clips and frames of several counts. Printed: the largest
difference of an output beside the outputs' own size.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from nas.bundle import Bundle, export_programs, write_bundle
from nas.costs.modules import clip_inputs
from nas.progress import Progress
from nas.testing.operators import randomised
from search_spaces import TemporalSpace, load
from supernet import DownFeatures, VideoUNet
from temporal_bundle.closeness import SHARE, difference

SPACES = (
    "moving_digits",
    "snapgen_v_mini",
    "snapgen_v(frames=5,height=16,width=16,channels=32)",  # the full width takes minutes each
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", type=int, default=30)
    parser.add_argument("--spaces", nargs="+", default=SPACES)
    asked = parser.parse_args()
    print(f"{'space':<52}{'networks':>9}{'largest difference':>20}")
    for name in asked.spaces:
        space = load(name)
        assert isinstance(space, TemporalSpace)
        worst = 0.0
        with Progress().stage(name, asked.architectures) as advance:
            for seed in range(asked.architectures):
                worst = max(worst, largest_difference(space, seed))
                advance(seed + 1)
        print(f"{name:<52}{asked.architectures:>9}{worst:>20.1e}")
        if worst > SHARE:
            sys.exit(f"{name}: a program answers otherwise than its network")


def largest_difference(space: TemporalSpace, seed: int) -> float:
    """The largest difference of an answer, as a share of the answers' standard deviation."""
    architecture = space.sample(np.random.default_rng(seed))
    network = randomised(VideoUNet(space, architecture)).eval()
    down = DownFeatures(space, architecture).eval()
    down.load_state_dict({n: t for n, t in network.state_dict().items() if n in down.state_dict()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        programs = export_programs(network, space, architecture)
        study = {"space": space.to_json()}
        write_bundle(path, network, space, architecture, programs, {}, study, b"", "")
        bundle = Bundle.load(path)
        denoiser, features = bundle.denoiser(), bundle.features()
    worst = 0.0
    x, _, context = clip_inputs(space)
    generator = torch.Generator().manual_seed(seed)
    for clips, frames in ((1, 1), (2, x.shape[2]), (3, 3)):
        case = (
            torch.randn(clips, x.shape[1], frames, *x.shape[3:], generator=generator),
            torch.rand(clips, generator=generator),
            torch.randn(clips, *context.shape[1:], generator=generator),
        )
        with torch.inference_mode():
            pairs = [(denoiser(*case), network(*case))]
            pairs += zip(features(*case), down(*case), strict=True)
        worst = max(worst, *(difference(a, b) for a, b in pairs))
    return worst


if __name__ == "__main__":
    main()
