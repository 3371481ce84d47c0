"""`nas sample`: from a prompt to a clip, by the network of a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.export import FINETUNED, Which
from nas.cli.output import print_json, print_line, print_note
from search_spaces.files.errors import InputError


def sample(
    bundle: Annotated[Path, typer.Argument(help="A bundle, the folder that a search leaves.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="The .mp4 or .gif to write.", callback=options.checked_file),
    ],
    prompt: Annotated[
        list[str] | None, typer.Option(help="What the clip shows; several make a grid.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="A text file with a prompt a line.")
    ] = None,
    text_encoder: Annotated[
        Path | None,
        typer.Option(
            help="The folder of a CLIP text model with its tokenizer, which the clips were encoded "
            "by; moving digits need none."
        ),
    ] = None,
    vae: Annotated[
        Path | None,
        typer.Option(
            help="What decodes latents: a folder of diffusers' AutoencoderKL or TAESD, or a file "
            "of `nas train-autoencoder`; a network of pixels needs none."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Guided steps of weights that were not tuned: 25.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How hard these are pushed to the prompt: 4; 1 for none.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="The first so many; all without it.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=240,
            help="Frames a second of the file: as the clips had that the network learned from, or "
            "8 where that is not known.",
        ),
    ] = None,
    weights: Annotated[
        Which, typer.Option(help="tuned: by a training package; searched: as the search left them.")
    ] = Which.best,
    gpu: Annotated[bool, typer.Option("--gpu", help="On a GPU.")] = False,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Make a clip of a prompt by a bundle's network: its tuned steps, or guided ones."""
    from nas.bundle import Bundle
    from nas.progress import Progress
    from nas.sampling.files import check_suffix, frames_per_s, try_out, write_clips
    from nas.sampling.making import Maker, opened_asker, opened_decoder
    from nas.sampling.prompts import read_prompts
    from nas.sampling.sampler import sampler_of

    check_suffix(out)
    prompts = read_prompts(prompt or [], prompt_file)
    opened = Bundle.load(bundle)
    tuned = opened.chosen(finetuned=FINETUNED[weights]).which == "tuned"
    sampler = sampler_of(opened, tuned=tuned, steps=steps, guidance=guidance)
    device = _device(gpu=gpu)
    maker = Maker(
        opened,
        tuned,
        sampler,
        opened_asker(opened, text_encoder, device),
        opened_decoder(opened, vae, device),
        device,
    )
    fps = fps or frames_per_s(opened)
    try_out(out, maker.sides, prompts, fps)
    made = maker.make(prompts, seed, Progress(), frames)
    for each in made.cut:
        print_note(f"only the beginning is seen, the rest is beyond the text encoder: {each[:60]}")
    width, height = write_clips(out, made.x_BCTHW, made.prompts, fps)
    if json:
        print_json(
            {
                "clips": str(out),
                "prompts": made.prompts,
                "cut": len(made.cut),
                "frames": made.x_BCTHW.shape[2],
                "pixels": [height, width],
                "weights": opened.weights_in_words(finetuned=tuned),
                "sampler": {
                    "kind": sampler.kind, "times": sampler.times, "guidance": sampler.guidance,
                },
                "calls": sampler.calls,
                "seconds": made.seconds,
            }
        )  # fmt: skip
        return
    took = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in made.seconds.items())
    print_line(f"{out}: {len(prompts)} x {made.x_BCTHW.shape[2]} frames, {width} x {height} pixels")
    print_line(f"weights {opened.weights_in_words(finetuned=tuned)}; {sampler.words}")
    print_line(f"seconds: {took}")


def _device(*, gpu: bool) -> str:
    if not gpu:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise InputError("--gpu: torch finds no CUDA device here; leave it out")
    return "cuda"
