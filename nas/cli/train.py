"""`nas train`: a supernet alone."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from nas.cli.resume import resumable
from search_spaces.errors import InputError


def train(
    out: options.OutFile,
    space: options.Space = "moving_digits",
    backbone: Annotated[
        Path | None, typer.Option(help="A trained image U-Net (backbone.safetensors of a run).")
    ] = None,
    recipe: options.Recipe = "uniform",
    image_steps: options.ImageSteps = 400,
    video_steps: options.VideoSteps = 760,
    freeze_backbone: options.FreezeBackbone = False,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Train a supernet: the image U-Net on frames, then the temporal blocks on clips."""
    from nas.pipeline import temporal
    from nas.progress import Progress
    from nas.training import trained_supernet
    from search_spaces import load
    from supernet import TrainingPlan
    from supernet.pretraining import state_path
    from supernet.recipes import load_recipe

    chosen = temporal(load(space))
    loaded_recipe = load_recipe(recipe)
    if backbone is not None and not backbone.is_file():
        raise InputError(f"{backbone}: no such file")
    backbone_file = backbone or out.with_name(f"{out.stem}.backbone.safetensors")
    made = [out, state_path(out)]
    if backbone is None:
        made += [backbone_file, state_path(backbone_file)]
    for file in made:
        if file.exists() and not resume:
            raise InputError(f"{file}: exists; go on by --resume, or choose another --out")
    plan = TrainingPlan(
        image_steps=image_steps,
        video_steps=video_steps,
        freeze_backbone=freeze_backbone,
        seed=seed,
    )
    with resumable():
        trained_supernet(chosen, plan, loaded_recipe, backbone_file, out, Progress(stages=2))
    if json:
        print_json({"supernet": str(out), "backbone": str(backbone_file)})
    else:
        print_line(f"supernet: {out}")
