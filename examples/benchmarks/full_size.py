"""Full-size networks with weights at random, which benchmarks of exports and trainings share."""

from pathlib import Path

from nas import bundle
from search_spaces import Architecture, TemporalSpace
from search_spaces.shipped.snapgen_v import PUBLISHED
from supernet import VideoUNet

# About 0.6B parameters in `snapgen_v`: 1D convolutions at high resolution, large 3D convolutions
# and 3D attention at low.
LARGE = (
    "conv1d(kernel=3,width=1.0,repeats=1)",
    "conv1d(kernel=3,width=1.0,repeats=1)",
    "conv3d(kernel=5,width=1.0,repeats=1)",
    "self_attention3d(heads=8,width=1.0,window=1.0,repeats=2)",
    "conv3d(kernel=5,width=1.0,repeats=1)",
    "conv3d(kernel=5,width=1.0,repeats=2)",
    "self_attention1d(heads=8,width=1.0,repeats=1)",
)
LAYOUTS = (0, 1, 2, 3)  # that one, and those of the published kind


def layout(space: TemporalSpace, number: int) -> Architecture:
    """One of LAYOUTS."""
    blocks = [LARGE, *PUBLISHED.layouts.values()][number]
    return space.arranged(space.parse_block(block) for block in blocks)


def write_bundle(path: Path, space: TemporalSpace, architecture: Architecture) -> Path:
    """A bundle of such a network; gigabytes."""
    network = VideoUNet(space, architecture).eval()
    programs = bundle.export_programs(network, space, architecture)
    study = {"space": space.to_json(), "weights": "at random"}
    bundle.write_bundle(path, network, space, architecture, programs, {}, study, b"", "")
    return path
