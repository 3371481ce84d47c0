"""What tuning a full-size network takes: `adversarial-finetune train --dry-run` on one of them.

    python examples/benchmarks/tune_full_size.py [--checkpointing] [--precision bf16]

The network is one of `full_size.py` with weights at random, for five frames of 16 x 16 latents
(`--space`: others), and a step has one clip. It takes 20 GB; other flags are those of `train`.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from full_size import LAYOUTS, layout, write_bundle
from safetensors.torch import save_file

from search_spaces import TemporalSpace
from search_spaces.shipped.loading import load_temporal

SPLITS = ("train", "validation", "test")


def write_clips(folder: Path, space: TemporalSpace, count: int) -> Path:
    """Noise in the layout of `nas clips`."""
    shape = space.unet
    clips = torch.randn(count, shape.in_channels, shape.frames, shape.height, shape.width)
    context = torch.randn(count, shape.context_tokens, shape.context_channels)
    folder.mkdir()
    for split in SPLITS:
        save_file(
            {"clips": clips.half(), "context": context.half()}, folder / f"{split}.safetensors"
        )
    return folder


def main() -> None:
    """Try a training out, in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="snapgen_v(frames=5,height=16,width=16)")
    parser.add_argument("--layout", type=int, choices=LAYOUTS, default=0)
    parser.add_argument("--tried", type=int, default=1, help="steps of each stage")
    parser.add_argument("--clips-per-step", type=int, default=1)
    given, flags = parser.parse_known_args()
    space = load_temporal(given.space)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bundle = write_bundle(work / "bundle", space, layout(space, given.layout))
        clips = write_clips(work / "clips", space, max(4, given.clips_per_step))
        begun = time.perf_counter()
        train = ("train", bundle, "--data", clips, "--out", work / "run")
        tried = (
            "--clips-per-step",
            given.clips_per_step,
            "--dry-run",
            "--dry-run-steps",
            given.tried,
        )
        command = (sys.executable, "-m", "adversarial_finetune", *train, *tried, *flags)
        subprocess.run(list(map(str, command)), check=True)  # noqa: S603
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        print(f"{time.perf_counter() - begun:.0f} s in all, at most {peak_gb:.2f} GB in memory")


if __name__ == "__main__":
    main()
