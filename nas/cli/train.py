"""`nas train`: a supernet alone."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line
from nas.cli.resume import resumable
from search_spaces.files.errors import InputError


def train(
    out: options.OutFile,
    space: options.Space = "moving_digits",
    backbone: Annotated[
        Path | None,
        typer.Option(help="A trained image U-Net: backbone.safetensors, or a diffusers folder."),
    ] = None,
    data: options.Data = "digits",
    recipe: options.Recipe = "uniform",
    image_steps: options.ImageSteps = 1800,
    video_steps: options.VideoSteps = 2000,
    clips: Annotated[
        int | None, typer.Option(min=1, help="Clips of a step: 3 of the image U-Net's, then 4.")
    ] = None,
    images: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the supernet's steps on single frames.")
    ] = 0.0,
    freeze_backbone: options.FreezeBackbone = False,
    ema: Annotated[bool, typer.Option(help="Keep the average of the weights, or the last.")] = True,
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16.")] = False,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory: compute activations twice.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the blocks of the image U-Net.")
    ] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Train on GPUs, one a worker.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share each step.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of the Ray cluster that the workers run on.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="A folder for TensorBoard's event files.")
    ] = None,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Train a supernet: the image U-Net on frames, then the temporal blocks on clips."""
    from nas.progress import Progress
    from nas.training.events import written_to
    from nas.training.training import trained_supernet
    from nas.training.training_workers import Job
    from search_spaces.shipped.loading import load_temporal
    from supernet import TrainingPlan
    from supernet.training.execution import Execution
    from supernet.training.recipes import load_recipe

    chosen = load_temporal(space)
    loaded_recipe = load_recipe(recipe)
    backbone_file = _backbone_file(out, backbone, resume=resume)
    plan = TrainingPlan(
        image_steps=image_steps,
        image_clips=clips or TrainingPlan.image_clips,
        video_steps=video_steps,
        video_clips=clips or TrainingPlan.video_clips,
        images=images,
        freeze_backbone=freeze_backbone,
        averaged=ema,
        data=data,
        seed=seed,
    )
    execution = Execution(bf16, checkpointing, compiled, "cuda" if gpu else "cpu")
    with resumable():
        if workers > 1 or ray is not None:
            if tensorboard is not None:
                raise InputError("--tensorboard: is written by one process; leave out --workers")
            job = Job(chosen, plan, recipe, backbone_file.resolve(), out.resolve(), execution)
            job.run(workers, ray)
        else:
            with written_to(tensorboard) as on_loss:
                trained_supernet(
                    chosen, plan, loaded_recipe, backbone_file, out, Progress(stages=2),
                    execution=execution, on_loss=on_loss,
                )  # fmt: skip
    if json:
        print_json({"supernet": str(out), "backbone": str(backbone_file)})
    else:
        print_line(f"supernet: {out}")


def _backbone_file(out: Path, given: Path | None, *, resume: bool) -> Path:
    """Where the image U-Net is, or will be; InputError for files in the way."""
    from supernet.training.training import state_path

    if given is not None and not given.exists():
        raise InputError(f"{given}: no such file or folder")
    made = [out, state_path(out)]
    backbone_file = given or out.with_name(f"{out.stem}.backbone.safetensors")
    if given is None:
        made += [backbone_file, state_path(backbone_file)]
    for file in made:
        if file.exists() and not resume:
            raise InputError(f"{file}: exists; go on by --resume, or choose another --out")
    return backbone_file
