"""The pipeline of a full-size network on a phone: predicted part by part, and its export timed.

    python examples/benchmarks/pipeline_full_size.py [--layout 0] [--export]

Text encoder, denoiser and decoder have weights at random and the sizes of the real ones: SD 1.5's
text encoder (CLIP ViT-L/14's), a layout of the published kind (`--layout 0`: the 0.6B network of
export_full_size.py), and the decoder of SD's AutoencoderKL, of TAESD or our small one. Each is
traced; the totals stand beside the published budget of 4,120 ms, which no fit has seen. `--export`
writes the whole pipeline with the decoder that `--vae` names, and prints what that took.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from full_size import LAYOUTS, layout, write_bundle

from examples.tiny_pipeline import write_autoencoder
from examples.tiny_text_encoder import write_model, write_tokenizer
from latency.predictor.shipped import load_device
from nas.bundle import Bundle
from nas.costs.block_costs import BlockCosts
from nas.costs.fixed_parts import PartFolder
from nas.costs.limits import Budget
from nas.costs.part_rows import part_rows
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.phone.writing import Wishes, export_pipeline
from nas.progress import Progress
from nas.sampling.sampler import Sampler
from search_spaces import Architecture, TemporalSpace
from search_spaces.shipped.loading import load_temporal, published_of
from search_spaces.shipped.snapgen_v import PUBLISHED
from supernet.flow_matching import step_times
from supernet.text.clip_text import ClipTextConfig

STEPS = 4
# Of SD 1.5: text_encoder/config.json and vae/config.json.
TEXT = ClipTextConfig(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
)
STAGES = (128, 256, 512, 512)


def write_text(folder: Path, space: TemporalSpace) -> Path:
    """A text encoder of the right size for a space; of SD 1.5's for the shipped one."""
    write_model(folder / "text_encoder", TEXT)
    write_tokenizer(folder / "tokenizer", space.unet.context_tokens)
    return folder


def write_kl(folder: Path) -> Path:
    """SD's AutoencoderKL."""
    import diffusers

    diffusers.AutoencoderKL(
        block_out_channels=STAGES, layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def write_taesd(folder: Path) -> Path:
    """TAESD, as AutoencoderTiny has it unless told otherwise."""
    import diffusers

    diffusers.AutoencoderTiny().save_pretrained(folder)
    return folder


def print_predicted(
    space: TemporalSpace, architecture: Architecture, device: str, text: Path, vaes: list[Path]
) -> None:
    """Each part and the whole, with each decoder."""
    costs = BlockCosts(SpaceCosts(space), load_device(device))
    published = published_of(space.name)
    call = costs.network_ms(architecture)
    low_ms, high_ms = (STEPS * ms for ms in (call.low_ms, call.high_ms))
    print(f"{device}: {costs.describe(architecture)}")
    print(f"{STEPS} x network: {STEPS * call.latency_ms:.0f} ms ({low_ms:.0f} to {high_ms:.0f})")
    for vae in vaes:
        parts = (PartFolder("text encoder", str(text)), PartFolder("decoder", str(vae)))
        target = resolve(Budget(None, steps=STEPS, parts=parts), costs).targets[0]
        for part in part_rows(target.parts):
            print(
                f"{part['name']}: {part['latency_ms']:.1f} ms ({part['low_ms']:.1f} to "
                f"{part['high_ms']:.1f}), {part['memory_mb']:.0f} MB; {part['source']}"
            )
        fixed_low_ms, fixed_high_ms = target.fixed_bounds_ms
        beside = f" beside {published.latency_ms:.0f} published" if published else ""
        print(
            f"pipeline with {vae.stem}: {STEPS * call.latency_ms + target.fixed_ms:.0f} ms "
            f"({low_ms + fixed_low_ms:.0f} to {high_ms + fixed_high_ms:.0f}){beside}"
        )


def print_export(
    space: TemporalSpace, architecture: Architecture, work: Path, text: Path, vae: Path, bits: int
) -> None:
    """Seconds and memory of the whole export."""
    opened = Bundle.load(write_bundle(work / "bundle", space, architecture))
    sampler = Sampler("leap", tuple(step_times(STEPS)))
    wishes = Wishes(text, vae, sampler, tuned=False, weights={"says": "at random"}, palettise=bits)
    report = export_pipeline(opened, work / "phone", wishes, progress=Progress(3))
    for name, part in report.parts.items():
        print(
            f"{name}: {part.seconds:.0f} s, {part.size_mb:.0f} MB, {part.flops / 1e12:.3f} TFLOPs"
        )
    size_mb = sum(part.size_mb for part in report.parts.values())
    print(f"pipeline: {report.seconds:.0f} s, peak {report.peak_gb:.2f} GB, {size_mb:.0f} MB")


def main() -> None:
    """Predict, and export where that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", default="snapgen_v")
    parser.add_argument("--device", default=PUBLISHED.device)
    parser.add_argument("--layout", type=int, default=1, choices=LAYOUTS)
    parser.add_argument(
        "--vae", choices=("small", "taesd", "kl"), default="small", help="to export"
    )
    parser.add_argument("--palettise", type=int, default=0)
    parser.add_argument("--export", action="store_true", help="too; minutes, and gigabytes")
    given = parser.parse_args()
    space = load_temporal(given.space)
    architecture = layout(space, given.layout)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = write_text(work / "text", space)
        vaes = {
            "kl": write_kl(work / "kl"),
            "taesd": write_taesd(work / "taesd"),
            "small": write_autoencoder(work / "small.safetensors"),
        }
        print_predicted(space, architecture, given.device, text, list(vaes.values()))
        if given.export:
            print_export(space, architecture, work, text, vaes[given.vae], given.palettise)


if __name__ == "__main__":
    main()
