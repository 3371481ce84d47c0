"""From a search space to a Core ML package of a video network for a phone, in one command.

    python examples/phone_video/run.py OUT                     three short films, half an hour
    python examples/phone_video/run.py OUT --videos FOLDER     films of your own
    python examples/phone_video/run.py OUT --backbone UNET     with a trained image U-Net's weights

Films become latents through a small autoencoder that is trained on them; quality is searched on the
narrow twin of `snapgen_v`, latency, parameters and memory are those of the 0.6B network on an
iPhone 16 Pro Max; what is found is exported and looked over. OUT/report.html shows all of it. Every
step is a `nas` command, which is printed, and goes on where it was left.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from footage import footage
from page import write_page

from search_spaces import InputError, TemporalSpace, load
from search_spaces.files.document import write_atomically
from search_spaces.shipped.loading import twin_of
from temporal_bundle import sha256

QUICK = "snapgen_v(frames=5,height=32,width=32,channels=32)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=Path, help="a folder of videos")
    parser.add_argument("--autoencoder", type=Path, help="of nas train-autoencoder, or diffusers")
    parser.add_argument("--backbone", type=Path, help="a unet folder of diffusers for the space")
    parser.add_argument("--space", default="snapgen_v")
    parser.add_argument("--device", default="iphone-16-pro-max")
    parser.add_argument("--latency-ms", default="4120")
    parser.add_argument("--params", default="600000000")
    parser.add_argument("--steps", default="4")
    parser.add_argument("--palettise", choices=("8", "6", "4"), help="bits of a weight; else 16")
    parser.add_argument(
        "--quick", action="store_true", help=f"far too short, on {QUICK}: shows that it runs"
    )
    asked = parser.parse_args()
    try:
        run(asked)
    except InputError as error:
        print(f"phone_video: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def run(asked: argparse.Namespace) -> None:
    out: Path = asked.out
    space = QUICK if asked.quick else asked.space
    learned = load(twin_of(space) or space)
    if not isinstance(learned, TemporalSpace):
        raise InputError(f"space {space!r} has no U-Net; give one that has")
    size = f"{learned.unet.height}x{learned.unet.width}"
    films = footage(out / "films", asked.videos)
    autoencoder: Path = asked.autoencoder or out / "autoencoder.safetensors"
    if asked.autoencoder is None:
        steps = ["--steps", "20"] if asked.quick else []
        nas("train-autoencoder", films, "--size", size, *steps, "--out", autoencoder, "--resume")
    latents = out / "latents"
    nas(
        *("encode", films, "--autoencoder", autoencoder, "--size", size),
        *("--out", latents, "--resume"),
    )
    budget = ["--latency-ms", asked.latency_ms, "--params", asked.params, "--steps", asked.steps]
    short = (
        "--trials 3 --image-steps 4 --video-steps 8 --validation-clips 8 --test-clips 8 "
        "--finalist-clips 16"
    )
    nas(
        *("search", "--space", space, "--device", asked.device, *budget, "--data", latents),
        *(["--backbone", asked.backbone] if asked.backbone else []),
        *(short.split() if asked.quick else []),
        *("--out", out / "run", "--resume"),
    )
    package, looked = out / "network.mlpackage", out / "export.json"
    # What was exported before counts where it is of this bundle, with weights as asked for.
    bundle = out / "run" / "bundle"
    wanted = {"bundle": sha256(bundle / "bundle.json"), "bits": int(asked.palettise or 0)}
    known = json.loads(looked.read_text()) if looked.exists() and package.exists() else {}
    if {name: known.get(name) for name in wanted} != wanted:
        bits = ["--palettise", asked.palettise] if asked.palettise else []
        arguments = (
            "export",
            bundle,
            "--to",
            "coreml",
            *bits,
            "--replace",
            "--out",
            package,
            "--json",
        )
        known = {**wanted, "report": json.loads(nas(*arguments, keep=True))}
        write_atomically(looked, json.dumps(known))
    page = write_page(out, out / "run", known["report"])
    print(f"package: {package}\nreport: {page}")


def nas(*arguments: str | Path, keep: bool = False) -> str:
    """Run a `nas` command; what it prints is shown, or kept and returned."""
    words = [str(each) for each in arguments]
    print("$ nas " + shlex.join(words), file=sys.stderr, flush=True)
    command = [sys.executable, "-c", "from nas.cli import main; main()", *words]
    output = subprocess.PIPE if keep else None
    done = subprocess.run(command, check=True, stdout=output, text=True)  # noqa: S603
    return done.stdout or ""


if __name__ == "__main__":
    main()
