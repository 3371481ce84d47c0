"""From films with captions to a phone that is asked by text, in one command.

    python examples/phone_video/run.py OUT                     three short films
    python examples/phone_video/run.py OUT --videos FOLDER     films of your own, with captions
    python examples/phone_video/run.py OUT --backbone UNET     with a trained image U-Net's weights

Films and captions become latents and token states; quality is searched on the narrow twin of
`snapgen_v`, latency, parameters and memory are those of the 0.6B network on an iPhone 16 Pro Max.
What is found leaves in two widths. The twin has learned: it is tuned to four steps, and asked for
the films by their captions (OUT/prompts.gif). The wide network is exported with its text encoder
and its decoder (OUT/phone); nothing has trained it, which takes a larger machine. OUT/report.html
shows all of it, and says what three films cannot show. Every step is a command, which is printed,
and goes on where it was left. Needs the training package (examples/adversarial_finetune) and
`pip install 'temporal-nas[text]'`.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from captions import check_captions, prompts_of, write_captions
from footage import footage
from page import write_page

from examples.commands import TEXT, TRAINING, call, check_installed, check_wishes, run_python
from nas import Settings
from search_spaces import InputError, TemporalSpace
from search_spaces.files.document import write_atomically
from search_spaces.shipped.loading import load_temporal
from supernet import LatentFolder
from temporal_bundle import FINETUNED, MANIFEST, sha256

ASKED_BY = "context_tokens=77,context_channels=768"  # of Stable Diffusion's text encoder
SPACE, TWIN = "snapgen_v", f"snapgen_v_mini({ASKED_BY})"
QUICK_SPACE = "snapgen_v(frames=5,height=32,width=32,channels=32)"
QUICK_TWIN = f"snapgen_v_mini(frames=4,height=8,width=8,{ASKED_BY})"
QUICK_SEARCH = "--trials 3 --image-steps 4 --video-steps 8 --test-clips 4 --finalist-clips 8"
QUICK_VALIDATION = 8  # clips of an evaluation
CLIPS = "--train 2048 --validation 64 --test 64"
QUICK_CLIPS = "--train 16 --validation 4 --test 4"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=Path, help="a folder of videos with captions")
    parser.add_argument("--text-encoder", type=Path, help="a folder with CLIP's; else a tiny one")
    parser.add_argument("--autoencoder", type=Path, help="of nas train-autoencoder, or diffusers")
    parser.add_argument("--backbone", type=Path, help="a unet folder of diffusers for the space")
    parser.add_argument("--space", default=SPACE)
    parser.add_argument("--twin", default=TWIN, help="a narrow space of the same slots")
    parser.add_argument("--device", default="iphone-16-pro-max")
    parser.add_argument("--latency-ms", default="4120")
    parser.add_argument("--params", default="600000000")
    parser.add_argument("--steps", default="4", help="network calls of a clip")
    parser.add_argument("--tune-steps", type=int, default=600, help="of the twin, stage one")
    parser.add_argument("--palettise", choices=("8", "6", "4"), help="bits of a weight; else 16")
    parser.add_argument(
        "--quick", action="store_true", help="far too short, on small spaces: shows that it runs"
    )
    asked = parser.parse_args()
    check_installed("phone_video", TRAINING | TEXT)
    if asked.quick:
        asked.space, asked.twin, asked.tune_steps = QUICK_SPACE, QUICK_TWIN, 3
    try:
        run(asked)
    except InputError as error:
        print(f"phone_video: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def run(asked: argparse.Namespace) -> None:
    out: Path = asked.out
    wide, narrow = load_temporal(asked.space), load_temporal(asked.twin)
    check_contexts(wide, narrow)
    films = footage(out / "films", asked.videos)
    if asked.videos is None:
        write_captions(films)
    else:
        check_captions(films)
    wishes = {name: value for name, value in vars(asked).items() if name != "out"}
    check_wishes(out, {n: str(v) if isinstance(v, Path) else v for n, v in wishes.items()})
    text = asked.text_encoder or tiny_text_encoder(out / "text", wide)
    autoencoder = asked.autoencoder or trained_autoencoder(asked, films, narrow)
    made_by = ("--autoencoder", autoencoder, "--text-encoder", text)
    latents = out / "latents"
    call("nas", "encode", films, *made_by, "--size", size(narrow), "--out", latents, "--resume")
    # Not again: it would write the bundle anew, without the weights that somebody tuned since.
    if not (out / "run" / "bundle").exists():
        search(asked, latents, text, autoencoder)

    ends = ("--text-encoder", text, "--vae", autoencoder)
    asking = [
        word for prompt in prompts_of(latents, narrow.unet.frames) for word in ("--prompt", prompt)
    ]
    twin = tuned_twin(asked, latents)
    call("nas", "sample", twin, *ends, *asking, "--out", out / "prompts.gif")
    frames = ("--frames", str(narrow.unet.frames))
    shown = (latents, "--autoencoder", autoencoder, *frames, "--out", out / "films.gif")
    run_python("examples.phone_video.films", *shown)
    report = exported(asked, ends)
    commands = at_full_size(asked, wide, ("encode", films, *made_by))
    page = write_page(out, report, commands, tiny_text=asked.text_encoder is None)
    print(f"clips: {out / 'prompts.gif'}\npipeline: {out / 'phone'}\nreport: {page}")


def check_contexts(wide: TemporalSpace, narrow: TemporalSpace) -> None:
    """Both networks are asked by the same token states, so that one text encoder serves them."""
    own, others = ((u.context_tokens, u.context_channels) for u in (wide.unet, narrow.unet))
    if own != others:
        raise InputError(
            f"space {wide.name!r} is asked by {own[0]} tokens of {own[1]} channels, and its twin "
            f"{narrow.name!r} by {others[0]} of {others[1]}; give a twin of the same"
        )


def size(space: TemporalSpace) -> str:
    """The sides of a space's latents, as `nas encode` takes them."""
    return f"{space.unet.height}x{space.unet.width}"


def tiny_text_encoder(folder: Path, space: TemporalSpace) -> Path:
    """A text encoder that understands nothing, and tells captions apart."""
    sizes = (
        "--tokens",
        str(space.unet.context_tokens),
        "--width",
        str(space.unet.context_channels),
    )
    if not folder.exists():
        run_python("examples.tiny_text_encoder", folder, *sizes)
    return folder


def trained_autoencoder(asked: argparse.Namespace, films: Path, narrow: TemporalSpace) -> Path:
    """A small autoencoder, which is trained on the films."""
    file: Path = asked.out / "autoencoder.safetensors"
    short = ("--steps", "20") if asked.quick else ()
    call(
        "nas", "train-autoencoder", films, "--size", size(narrow), *short, "--out", file, "--resume"
    )
    return file


def search(asked: argparse.Namespace, latents: Path, text: Path, autoencoder: Path) -> None:
    """Search the space by its twin, with what will stand beside the network in the budget."""
    call(
        *("nas", "search", "--space", asked.space, "--twin", asked.twin, "--data", latents),
        *("--device", asked.device, "--latency-ms", asked.latency_ms, "--params", asked.params),
        *("--steps", asked.steps),
        *("--part", f"text-encoder={text}", "--part", f"decoder={autoencoder}"),
        *("--validation-clips", str(validation_clips(asked, latents))),
        *(("--backbone", asked.backbone) if asked.backbone else ()),
        *(QUICK_SEARCH.split() if asked.quick else ()),
        *("--out", asked.out / "run", "--resume"),
    )


def validation_clips(asked: argparse.Namespace, latents: Path) -> int:
    """How many clips an evaluation takes: as by default, where short films have as many."""
    usual = QUICK_VALIDATION if asked.quick else Settings.validation_clips
    return min(usual, LatentFolder(latents, load_temporal(asked.twin).unet, "validation").places)


def tuned_twin(asked: argparse.Namespace, latents: Path) -> Path:
    """A bundle of the winner's twin, tuned to few steps on clips of the films."""
    twin, clips, tuned = (asked.out / name for name in ("twin", "clips", "tuned"))
    if not twin.exists():
        call("nas", "bundle", asked.out / "run", "--twin", "--out", twin)
    if not clips.exists():
        counts = (QUICK_CLIPS if asked.quick else CLIPS).split()
        call("nas", "clips", "--space", asked.twin, "--data", latents, *counts, "--out", clips)
    if not (twin / FINETUNED).exists():
        stages = ("--stage-one-steps", str(asked.tune_steps))
        stages += ("--stage-two-steps", str(-(-asked.tune_steps // 3)), "--steps", asked.steps)
        stages += ("--clips-per-step", "2" if asked.quick else "4")
        arguments = (twin, "--data", clips, "--out", tuned, *stages, "--resume")
        call("adversarial-finetune", "train", *arguments)
    return twin


def exported(asked: argparse.Namespace, ends: tuple[str | Path, ...]) -> dict[str, object]:
    """The wide network's pipeline in OUT/phone; what the export said.

    It is exported anew where the bundle is another one, or was tuned since.
    """
    out, bundle = asked.out, asked.out / "run" / "bundle"
    phone, looked = out / "phone", out / "export.json"
    files = [bundle / name for name in (MANIFEST, FINETUNED) if (bundle / name).exists()]
    wanted = {file.name: sha256(file) for file in files}
    known = json.loads(looked.read_text()) if looked.exists() and phone.exists() else {}
    if known.get("of") != wanted:
        bits = ("--palettise", asked.palettise) if asked.palettise else ()
        # Tuned weights have a sampler of their own; untrained ones get the one of the budget.
        sampler = () if FINETUNED in wanted else ("--steps", asked.steps, "--guidance", "1")
        options = (*ends, *bits, *sampler, "--replace", "--out", phone, "--json")
        report = json.loads(call("nas", "export", bundle, "--pipeline", *options, keep=True))
        known = {"of": wanted, "report": report}
        write_atomically(looked, json.dumps(known))
    report: dict[str, object] = known["report"]
    return report


def at_full_size(
    asked: argparse.Namespace, wide: TemporalSpace, encode: tuple[str | Path, ...]
) -> list[str]:
    """The commands that tune the wide network, on a machine that can."""
    bundle, latents, clips, tuned = (
        asked.out / name for name in ("run/bundle", "latents-wide", "clips-wide", "tuned-wide")
    )
    train = ("adversarial-finetune", "train", bundle, "--data", clips, "--out", tuned)
    train = (*train, "--steps", asked.steps, "--device", "cuda", "--precision", "bf16")
    commands = (
        ("nas", *encode, "--size", size(wide), "--out", latents),
        ("nas", "clips", "--space", asked.space, "--data", latents, *CLIPS.split(), "--out", clips),
        (*train, "--checkpointing", "--dry-run"),
        (*train, "--checkpointing"),
    )
    return [shlex.join(map(str, words)) for words in commands]


if __name__ == "__main__":
    main()
