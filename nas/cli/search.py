"""`nas search`: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line, print_table
from nas.cli.resume import resumable
from search_spaces.files.errors import InputError


def search(
    out: Annotated[
        Path, typer.Option(help="The run folder to make.", callback=options.checked_folder)
    ],
    space: options.Space = "moving_digits",
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Device: a shipped name, a device's JSON file, or host (the default); several "
            "times for several, the main one first."
        ),
    ] = None,
    latency_ms: Annotated[
        list[str] | None,
        typer.Option(
            help="Budget of all steps: ms, or a share of the slowest network (60%, the default); "
            "once for all devices, or once for each."
        ),
    ] = None,
    params: Annotated[int | None, typer.Option(help="Budget: parameters.")] = None,
    memory_mb: Annotated[
        float | None, typer.Option(help="Budget: weights and activations.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of the pipeline.")] = 4,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="What the pipeline runs once a clip beside the network, NAME=MS (decoder=540), in "
            "place of what is published under that name; several times. none=0 for no parts."
        ),
    ] = None,
    energy: Annotated[
        Path | None,
        typer.Option(help="A device file calibrated on a column in _mj, for energy_mj."),
    ] = None,
    energy_mj: Annotated[
        float | None, typer.Option(help="Budget: energy of all steps, with --energy.")
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(
            help="What is traded off, separated by commas: validation_loss, latency_ms, "
            "latency_DEVICE_ms of another device, parameters_count, memory_mb, energy_mj."
        ),
    ] = "validation_loss,latency_ms",
    trials: Annotated[int, typer.Option(min=1, help="Networks to evaluate.")] = 36,
    strategy: Annotated[
        str, typer.Option(help="cost-aware, exact, random, tpe, nsga2, gp, or package.module:name.")
    ] = "cost-aware",
    warm_start: Annotated[
        int,
        typer.Option(
            min=0,
            help="Networks to begin with: the best arrangements of blocks, each block scored by "
            "the supernet on few clips.",
        ),
    ] = 0,
    twin: Annotated[
        str | None,
        typer.Option(
            help="A narrow space of the same choices, in which quality is searched; default: the "
            "space's own where it has one; none to train at full size."
        ),
    ] = None,
    backbone: Annotated[
        Path | None,
        typer.Option(help="The image U-Net: a unet folder of diffusers that fits the space."),
    ] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="A trained supernet; without one it is trained.")
    ] = None,
    data: options.Data = "digits",
    recipe: options.Recipe = "uniform",
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL; default: study.db in the run folder.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that evaluate; without it this one, on all cores."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster whose CPUs evaluate (HOST:PORT, or auto)."),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(help="A worker's evaluation that takes longer is stopped and tried again."),
    ] = None,
    image_steps: options.ImageSteps = 1800,
    video_steps: options.VideoSteps = 700,
    freeze_backbone: options.FreezeBackbone = False,
    validation_clips: Annotated[int, typer.Option(min=2, help="Clips of an evaluation.")] = 128,
    test_clips: Annotated[int, typer.Option(min=2, help="Clips of the last comparison.")] = 384,
    finalists: Annotated[
        int, typer.Option(min=1, help="Best networks seen on more clips at last; 1 for none.")
    ] = 4,
    finalist_clips: Annotated[
        int, typer.Option(min=2, help="Clips of a finalist, at most.")
    ] = 1024,
    winner_steps: Annotated[
        int,
        typer.Option(
            min=0, help="Steps that train the winner on by itself; 0 keeps the supernet's weights."
        ),
    ] = 450,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric on generated clips, package.module:name; several times."),
    ] = None,
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Search for the best network inside a budget: train, measure, search, deliver."""
    from nas.costs.fixed_parts import parse_part
    from nas.costs.limits import Budget
    from nas.evaluators.workers import Workers
    from nas.searching import search as run_search
    from nas.temporal.settings import Settings
    from supernet import TrainingPlan

    main, *others = device or ["host"]
    parts = tuple(parse_part(each) for each in part) if part else None
    latency, *other_latency = latency_ms or ["60%"]
    settings = Settings(
        space=space,
        device=main,
        other_devices=tuple(others),
        energy=str(energy) if energy else None,
        objectives=tuple(name.strip() for name in objectives.split(",")),
        budget=Budget(latency, params, memory_mb, energy_mj, steps, parts, tuple(other_latency)),
        twin=twin,
        backbone=str(backbone) if backbone else None,
        trials=trials,
        strategy=strategy,
        warm_start=warm_start,
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
        finalists=finalists,
        finalist_clips=finalist_clips,
        winner_steps=winner_steps,
        metrics=tuple(metric or ()),
        seed=seed,
    )
    elsewhere = workers is not None or ray is not None
    if timeout_s is not None and not elsewhere:
        raise InputError("--timeout-s stops workers; give --workers or --ray too")
    with resumable():
        result = run_search(
            out,
            settings,
            resume=resume,
            storage=storage,
            workers=Workers(workers, ray, timeout_s) if elsewhere else None,
        )
    if json:
        print_json({"out": str(out), **result.summary})
        return
    print_table(result.told.columns, result.told.rows)
    for line in result.told.lines:
        print_line(line)
