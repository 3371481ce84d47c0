"""What opening, inflating and extracting a U-Net of Stable Diffusion 1.5's width takes.

    python examples/benchmarks/open_sd15.py --operators conv1d,self_attention1d

Weights are random: only sizes matter here. Each phase prints its seconds and the largest memory
that the process has held until then (ru_maxrss), mapped files included.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from search_spaces import NONE, Operator, StableDiffusionShape, TemporalSpace, temporal_space
from search_spaces.unet import temporal
from supernet import (
    Supernet,
    VideoUNet,
    build_backbone,
    checkpoint,
    load_supernet,
    open_backbone,
    parameter_count,
)
from supernet.backbones.diffusers_io import save_backbone

DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
STORED = {"fp32": torch.float32, "fp16": torch.float16}


def sd15(channels: tuple[int, ...], frames: int) -> StableDiffusionShape:
    """SD 1.5, or a narrower one of its kind."""
    return StableDiffusionShape(
        frames=frames,
        height=64,
        width=64,
        context_tokens=77,
        block_out_channels=channels,
        down_block_types=(DOWN, DOWN, DOWN, "DownBlock2D"),
        up_block_types=("UpBlock2D", UP, UP, UP),
        mid_block_type="UNetMidBlock2DCrossAttn",
        layers_per_block=(2,) * 4,
        attention_head_dim=(8,) * 4,
        transformer_layers_per_block=(1,) * 4,
        cross_attention_dim=768,
        sample_size=64,
    )


def write_random(folder: Path, shape: StableDiffusionShape, stored: torch.dtype) -> None:
    save_backbone(build_backbone(shape).to(stored), folder)


def known_operators() -> dict[str, Operator]:
    found = vars(temporal).values()
    return {each.name: each for each in found if isinstance(each, Operator)}


def operators(text: str) -> tuple[Operator, ...]:
    known = known_operators()
    names = [name for name in text.split(",") if name != NONE.name]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown operators {', '.join(unknown)}; known: {', '.join(known)}")
    return (NONE, *(known[name] for name in names))


@contextmanager
def phase(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    print(f"{name:8} {time.perf_counter() - started:7.1f} s  peak {peak / 1e9:6.2f} GB", flush=True)


def run(folder: Path, space: TemporalSpace, *, keep: bool) -> None:
    with phase("start"):
        pass
    with phase("open"):
        backbone = open_backbone(folder, space.unet)
    print(f"         {parameter_count(backbone) / 1e6:.1f} M parameters in the image U-Net")
    with phase("inflate"):
        supernet = Supernet(space, backbone).eval()
    blocks = parameter_count(supernet.operators)
    print(f"         {blocks / 1e6:.1f} M parameters in the temporal blocks of all slots")
    with phase("extract"):
        network = supernet.extract(space.uniform(space.blocks()[-1]))
    assert type(network) is VideoUNet
    print(f"         {parameter_count(network) / 1e6:.1f} M parameters in the network")
    del network
    if keep:
        path = folder.with_name("supernet.safetensors")
        with phase("write"):
            notes = {"holds": "supernet", "space": space.to_json()}
            checkpoint.write(path, supernet.state_dict(), notes)
        del supernet, backbone
        with phase("read"):
            load_supernet(path, space)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--operators", default="conv1d,self_attention1d", help="beside none")
    parser.add_argument("--channels", default="320,640,1280,1280", help="of the four stages")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--stored", choices=STORED, default="fp32", help="type in the file")
    parser.add_argument("--write", action="store_true", help="and the supernet's file, and back")
    given = parser.parse_args()
    channels = tuple(map(int, given.channels.split(",")))
    space = temporal_space("sd15", sd15(channels, given.frames), operators(given.operators))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "unet"
        # Another process: what making the folder takes is not what opening it takes.
        made = (folder, space.unet, STORED[given.stored])
        maker = multiprocessing.get_context("spawn").Process(target=write_random, args=made)
        maker.start()
        maker.join()
        if maker.exitcode:
            sys.exit("the random folder could not be made")
        run(folder, space, keep=given.write)


if __name__ == "__main__":
    main()
