"""`nas train`: a supernet alone."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from search_spaces.errors import InputError


def train(
    out: options.OutFile,
    space: options.Space = "moving_digits",
    backbone: Annotated[
        Path | None, typer.Option(help="A trained image U-Net (backbone.safetensors of a run).")
    ] = None,
    recipe: options.Recipe = "uniform",
    image_steps: options.ImageSteps = 600,
    video_steps: options.VideoSteps = 1200,
    freeze_backbone: options.FreezeBackbone = False,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Train a supernet: the image U-Net on frames, then the temporal blocks on clips."""
    from nas.pipeline import temporal
    from nas.progress import Progress
    from search_spaces import load
    from supernet import TrainingPlan, load_backbone, train_backbone, train_supernet
    from supernet.pretraining import state_path
    from supernet.recipes import load_recipe

    chosen = temporal(load(space))
    loaded_recipe = load_recipe(recipe)
    backbone_file = backbone or out.with_name(f"{out.stem}.backbone.safetensors")
    if out.exists() and not resume:
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    made = [state_path(out)]
    if not backbone:
        made += [backbone_file, state_path(backbone_file)]
    for file in made:
        if file.exists() and not resume:
            raise InputError(f"{file}: of an earlier training; go on with --resume, or remove it")
    plan = TrainingPlan(
        image_steps=image_steps,
        video_steps=video_steps,
        freeze_backbone=freeze_backbone,
        seed=seed,
    )
    progress = Progress(stages=2)
    if out.exists():
        progress.say(f"{out}: trained before")
    else:
        if backbone_file.exists() and (backbone or resume):
            progress.skip("train the image U-Net", f"taken from {backbone_file}")
            image_network = load_backbone(backbone_file, chosen)
        elif backbone:
            raise InputError(f"{backbone}: no such file")
        else:
            with progress.stage("train the image U-Net", image_steps) as advance:
                image_network = train_backbone(
                    chosen, plan, backbone_file, lambda step, _: advance(step)
                )
        with progress.stage("train the supernet", video_steps) as advance:
            train_supernet(
                chosen, image_network, plan, out, lambda step, _: advance(step), loaded_recipe
            )
    if json:
        print_json({"supernet": str(out), "backbone": str(backbone_file)})
    else:
        print_line(f"supernet: {out}")
