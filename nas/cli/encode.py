"""`nas train-autoencoder` and `nas encode`: from videos and captions to what a space takes."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from nas.cli.resume import resumable
from search_spaces.files.errors import InputError

Videos = Annotated[Path, typer.Argument(help="A folder of videos that FFmpeg reads.")]
Size = Annotated[
    str,
    typer.Option(
        help="Latents, height x width, as the space's U-Net takes them; frames are cut and "
        "resized to 8 times as many pixels (with --pixels, to as many)."
    ),
]
STEPS = 1200


def train_autoencoder(
    videos: Videos,
    out: options.OutFile,
    steps: Annotated[int, typer.Option(min=1, help="Changes of the weights.")] = STEPS,
    size: Size = "16x16",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Train a small autoencoder on videos, for want of a large one: 4 latents for 8 x 8 pixels."""
    from nas.progress import Progress
    from supernet.autoencoders.autoencoder import load_autoencoder
    from supernet.training.autoencoder_training import psnr_db, train_autoencoder, training_frames
    from supernet.training.training import state_path

    height, width = _sides(size)
    for file in (out, state_path(out)):
        if file.exists() and not resume:
            raise InputError(f"{file}: exists; go on by --resume, or choose another --out")
    frames = training_frames(videos, height, width, "train")
    unseen = training_frames(videos, height, width, "validation")
    if out.exists():
        autoencoder = load_autoencoder(out)
    else:
        title = f"train the autoencoder on frames of {height * 8} x {width * 8} pixels"
        notes = {"data": videos.resolve().name, "size": [height, width]}
        with resumable(), Progress().stage(title, steps) as advance:
            autoencoder = train_autoencoder(
                frames, out, steps, lambda done, _: advance(done), seed, notes
            )
    found_db = round(psnr_db(autoencoder, unseen), 2)
    if json:
        print_json({"autoencoder": str(out), "psnr_db": found_db})
    else:
        print_line(f"autoencoder: {out}, PSNR {found_db} dB on frames that it was not trained on")


def encode(
    videos: Videos,
    size: Size,
    out: options.OutFolder,
    autoencoder: Annotated[
        Path | None,
        typer.Option(
            help="A file of `nas train-autoencoder`, or a folder of diffusers' AutoencoderKL or "
            "TAESD."
        ),
    ] = None,
    pixels: Annotated[
        Literal["grey", "rgb"] | None,
        typer.Option(
            help="No latents: small pictures of --size pixels, in one channel or in three, for a "
            "network that makes pixels."
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second; without it, every frame as filmed.")
    ] = None,
    text_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Encode captions, too: a folder with diffusers' text_encoder and tokenizer, or a "
            "CLIP text model of transformers."
        ),
    ] = None,
    uncaptioned: Annotated[
        Literal["zeros", "skip"] | None,
        typer.Option(
            help="With --text-encoder, films without a caption: zeros (a context that says "
            "nothing: the encoded empty caption), or skip; without it, zeros."
        ),
    ] = None,
    shard_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of a file of encoded captions.")
    ] = 256.0,
    gpu: Annotated[bool, typer.Option("--gpu", help="Encode on GPUs, one a worker.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the films.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster that the workers run on.")
    ] = None,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Turn videos into latents, which `nas train` and `nas search` take as --data.

    Or into small pictures (--pixels). Films lie in a folder, each in a file, or as samples of
    WebDataset shards (.tar). With --text-encoder, captions become the clips' contexts: NAME.txt
    beside a film, metadata.csv or metadata.jsonl with file_name and text, or what a shard holds.
    """
    from nas.progress import Progress
    from supernet.autoencoders.pixel_space import PixelSpace
    from supernet.data.caption_encoding import CaptionPlan, Spread
    from supernet.data.encoded_captions import EMPTY
    from supernet.data.encoding import Encoding, one_by_one, unfinished_path

    height, width = _sides(size)
    if (autoencoder is None) == (pixels is None):
        raise InputError(
            "give one of the two: --autoencoder FILE for latents, or --pixels grey (or rgb) for a "
            "network of pixels"
        )
    coder = PixelSpace(pixels) if pixels else autoencoder
    assert coder is not None
    if uncaptioned is not None and text_encoder is None:
        raise InputError("--uncaptioned is about captions; name what encodes them: --text-encoder")
    for folder in (out, unfinished_path(out)):
        if folder.exists() and not resume:
            raise InputError(f"{folder}: exists; go on by --resume, or choose another --out")
    shared, shown = workers > 1 or ray is not None, str(out)
    if shared:  # other processes may stand elsewhere
        videos, out = videos.resolve(), out.resolve()
        coder = coder.resolve() if isinstance(coder, Path) else coder
        text_encoder = text_encoder and text_encoder.resolve()
    plan = CaptionPlan(text_encoder, uncaptioned or "zeros", shard_mb) if text_encoder else None
    device = "cuda" if gpu else "cpu"
    encoding = Encoding(videos, coder, height, width, fps, device, plan)
    progress = Progress(stages=2 if plan else 1)
    with resumable(), ExitStack() as stack:
        spread: Spread = one_by_one
        if shared:
            from nas.training.encoding_workers import spread_over

            spread = stack.enter_context(spread_over(workers, ray, gpu=gpu))
        index = encoding.run(out, progress.stage, spread)
    films = index["files"]
    kept = sum(film["frames"] for film in films)
    told: dict[str, Any] = {"videos": len(films), "frames": kept}
    if plan is not None:
        told["captions"] = len({film["caption"] for film in films} - {EMPTY})
    if json:
        sizes = {name: index[name] for name in ("channels", "height", "width")}
        print_json({"latents": shown, **sizes, **told})
    else:
        words = f", {told['captions']} captions" if plan else ""
        what = "pixels" if pixels else "latents"
        print_line(f"{what}: {shown}, {kept} frames of {len(films)} videos{words}")


def _sides(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", size)
    if found is None:
        raise InputError(
            f"--size {size!r}: expected height x width as whole numbers from 1, such as 64x64"
        )
    return int(found[1]), int(found[2])
