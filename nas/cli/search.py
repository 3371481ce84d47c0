"""`nas search`: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_table
from nas.cli.resume import resumable


def search(
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    space: options.Space = "moving_digits",
    device: options.Device = "host",
    latency_ms: Annotated[
        str, typer.Option(help="Budget of all steps: ms, or a share of the slowest network (60%).")
    ] = "60%",
    params: Annotated[int | None, typer.Option(help="Budget: parameters.")] = None,
    memory_mb: Annotated[
        float | None, typer.Option(help="Budget: weights and activations.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of the pipeline.")] = 4,
    fixed_ms: Annotated[
        float, typer.Option(min=0, help="The rest of the pipeline: text encoder, decoder.")
    ] = 0.0,
    trials: Annotated[int, typer.Option(min=1, help="Networks to evaluate.")] = 36,
    strategy: Annotated[
        str, typer.Option(help="cost-aware, random, tpe, nsga2, or package.module:name.")
    ] = "cost-aware",
    supernet: Annotated[
        Path | None, typer.Option(help="A trained supernet; without one it is trained.")
    ] = None,
    data: options.Data = "digits",
    recipe: options.Recipe = "uniform",
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL; default: study.db in the run folder.")
    ] = None,
    image_steps: options.ImageSteps = 400,
    video_steps: options.VideoSteps = 760,
    freeze_backbone: options.FreezeBackbone = False,
    validation_clips: Annotated[int, typer.Option(min=2, help="Clips of an evaluation.")] = 128,
    test_clips: Annotated[int, typer.Option(min=2, help="Clips of the last comparison.")] = 512,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric on generated clips, package.module:name; several times."),
    ] = None,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Search for the best network inside a budget: train, measure, search, hand over."""
    from nas.budget import Budget
    from nas.pipeline import search as run_search
    from nas.run_folder import Settings
    from supernet import TrainingPlan

    settings = Settings(
        space=space,
        device=device,
        budget=Budget(latency_ms, params, memory_mb, steps, fixed_ms),
        trials=trials,
        strategy=strategy,
        supernet=str(supernet) if supernet else None,
        recipe=recipe,
        plan=TrainingPlan(
            image_steps=image_steps,
            video_steps=video_steps,
            freeze_backbone=freeze_backbone,
            data=data,
            seed=seed,
        ),
        validation_clips=validation_clips,
        test_clips=test_clips,
        metrics=tuple(metric or ()),
        seed=seed,
    )
    with resumable():
        result = run_search(out, settings, resume=resume, storage=storage)
    if json:
        print_json({"out": str(out), **result.summary})
        return
    print_table(
        ["network", "layout", ">test loss", ">ms a call", ">measured"],
        [
            (
                row["network"],
                row["layout"],
                f"{row['test_loss']:.4f}",
                f"{row['predicted_ms']:.2f}",
                f"{row['measured_ms']:.2f}" if row["measured_ms"] else "",
            )
            for row in result.summary["compared"]
        ],
    )
    print_line(f"report: {out / 'report.html'}")
    print_line(f"bundle: {out / 'bundle'}")
