"""`nas search`: the main job, or a search of a task of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from nas.cli import options, tasks
from nas.cli.output import print_json, print_line, print_table
from nas.cli.resume import resumable
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.costs.limits import Bound, Budget
    from nas.pipeline.contract import Task
    from nas.run.settings import SearchSettings
    from nas.task.task import Task as OwnTask

# What a task of one's own has nothing of.
OF_THE_MAIN_JOB = (
    *("warm_start", "twin", "backbone", "supernet", "data", "recipe", "image_steps"),
    *("video_steps", "freeze_backbone", "screening_clips", "validation_clips", "test_clips"),
    *("finalist_clips", "finalist_steps", "winner_steps", "metric"),
)


def search(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="The run folder to make.", callback=options.checked_folder)
    ],
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    evaluate: tasks.Evaluate = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    weights: tasks.Weights = None,
    fidelity: tasks.Fidelity = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="Device: a shipped name, a device's JSON file, or host (the default; of a task of "
            "your own, none); several times for several, the main one first."
        ),
    ] = None,
    latency_ms: Annotated[
        list[str] | None,
        typer.Option(
            help="Budget of all steps: ms, or a share of the slowest network (60%, the default; of "
            "a task of your own, none); once for all devices, or once for each."
        ),
    ] = None,
    params: Annotated[int | None, typer.Option(help="Budget: parameters.")] = None,
    memory_mb: Annotated[
        float | None, typer.Option(help="Budget: weights and activations.")
    ] = None,
    limit_bound: Annotated[
        str,
        typer.Option(help="What of a latency --latency-ms counts: prediction, or upper 90% bound."),
    ] = "prediction",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="How often the network runs: denoising steps (4; of a task, 1)."),
    ] = None,
    part: options.Parts = None,
    energy: Annotated[
        Path | None,
        typer.Option(help="A device file calibrated on a column in _mj, for energy_mj."),
    ] = None,
    energy_mj: Annotated[
        float | None, typer.Option(help="Budget: energy of all steps, with --energy.")
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help="What is traded off, separated by commas: validation_loss (of a task, what "
            "--evaluate finds, :max where more is better), latency_ms, latency_DEVICE_ms of "
            "another device, parameters_count, memory_mb, energy_mj."
        ),
    ] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            help="What counts: best, the best quality inside the budgets (the default); region, "
            "what --at-most and --at-least leave (the default with them); front, the whole front."
        ),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(
            help="The most of an objective that counts, NAME=NUMBER (validation_loss=0.3): it "
            "makes the region; several times. Of a budget's name, the budget."
        ),
    ] = None,
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            help="The least of an objective of which more is better, NAME=NUMBER; several times."
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Networks to evaluate (36; of a task, 60); where most are seen less closely "
            "(--screening-clips, --fidelity), as much as so many full evaluations cost.",
        ),
    ] = None,
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
    video_steps: options.VideoSteps = 2000,
    freeze_backbone: options.FreezeBackbone = False,
    screening_clips: Annotated[
        int,
        typer.Option(
            min=0,
            help="Clips on which every network is seen; the best are seen on twice as many, and "
            "twice as many again, up to --validation-clips. All at once by 0, or by as many.",
        ),
    ] = 16,
    validation_clips: Annotated[int, typer.Option(min=2, help="Clips of a full evaluation.")] = 128,
    test_clips: Annotated[int, typer.Option(min=2, help="Clips of the last comparison.")] = 384,
    finalists: Annotated[
        int, typer.Option(min=1, help="Best networks seen on more clips at last; 1 for none.")
    ] = 4,
    finalist_clips: Annotated[
        int, typer.Option(min=2, help="Clips of a finalist, at most.")
    ] = 1024,
    finalist_steps: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps that train the finalists on by themselves, all together, before one of "
            "them wins: the better half stays, again and again. 0 keeps the supernet's order.",
        ),
    ] = 480,
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
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="The run folder of an earlier search of the same space (another device, budget or "
            "dataset), which teaches this one as far as it predicts it; several times.",
        ),
    ] = None,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Search for the best network inside a budget: price, train, search, deliver."""
    from nas.evaluators.workers import Workers
    from nas.pipeline.search import run
    from nas.searching import wishing

    own = tasks.task_of(
        task,
        space=space,
        evaluate=evaluate,
        build=build,
        shape=shape,
        weights=weights,
        fidelity=fidelity,
        objectives=objectives,
        steps=steps,
    )
    given: dict[str, Any] = {
        "trials": trials,
        "strategy": strategy,
        "finalists": finalists,
        "energy": str(energy) if energy else None,
        "seed": seed,
    }
    if device:
        given |= {"device": device[0], "other_devices": tuple(device[1:])}
    if own is None:
        plan = {
            "image_steps": image_steps,
            "video_steps": video_steps,
            "freeze_backbone": freeze_backbone,
            "data": data,
            "seed": seed,
        }
        job, settings = _main_job(
            plan,
            twin=twin,
            backbone=str(backbone) if backbone else None,
            warm_start=warm_start,
            supernet=str(supernet) if supernet else None,
            recipe=recipe,
            screening_clips=screening_clips,
            validation_clips=validation_clips,
            test_clips=test_clips,
            finalist_clips=finalist_clips,
            finalist_steps=finalist_steps,
            winner_steps=winner_steps,
            metrics=tuple(metric or ()),
        )
        given |= {"space": space, "objectives": tuple(options.words(objectives)) or None}
    else:
        _refuse(context, OF_THE_MAIN_JOB)
        job, settings = _own_job(own)
    settings = replace(settings, **{name: v for name, v in given.items() if v is not None})
    limits = _budget(
        settings.budget, latency_ms, params, memory_mb, energy_mj, steps, part, limit_bound
    )
    most = options.limits("at-most", at_most)
    flags = {
        "latency_ms": latency_ms,
        "parameters_count": params,
        "memory_mb": memory_mb,
        "energy_mj": energy_mj,
    }
    if twice := [name for name in most if flags.get(name)]:
        raise InputError(f"--at-most {twice[0]}: there is another limit on it; give one")
    settings = wishing(
        replace(settings, budget=limits), most, options.limits("at-least", at_least), goal
    )
    elsewhere = workers is not None or ray is not None
    if timeout_s is not None and not elsewhere:
        raise InputError("--timeout-s stops workers; give --workers or --ray too")
    with resumable():
        result = run(
            out,
            job,
            settings,
            begin_from=from_ or (),
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


def _main_job(plan: dict[str, Any], **wishes: Any) -> "tuple[Task, SearchSettings]":
    """The temporal blocks of a U-Net; torch loads with it."""
    from nas.temporal.settings import Settings
    from nas.temporal.task import TemporalTask
    from supernet import TrainingPlan

    return TemporalTask(), Settings(plan=TrainingPlan(**plan), **wishes)


def _own_job(own: "OwnTask") -> "tuple[Task, SearchSettings]":
    from nas.task.open_task import NetworkTask

    return NetworkTask(own), own.settings


def _refuse(context: typer.Context, names: tuple[str, ...]) -> None:
    """Refuse flags of the main job beside a task of one's own."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"--{name.replace('_', '-')} is of the main job, and a task of your own has none "
                "of it; leave it out"
            )


def _budget(
    begun: "Budget",
    latency_ms: list[str] | None,
    params: int | None,
    memory_mb: float | None,
    energy_mj: float | None,
    steps: int | None,
    part: list[str] | None,
    limit_bound: str,
) -> "Budget":
    """What the flags allow, beside what is allowed by default."""
    from nas.costs.fixed_parts import parse_part

    if latency_ms:
        begun = replace(begun, latency=latency_ms[0], other_latency=tuple(latency_ms[1:]))
    return replace(
        begun,
        parameters=params,
        memory_mb=memory_mb,
        energy_mj=energy_mj,
        steps=steps or begun.steps,
        parts=tuple(parse_part(each) for each in part) if part else begun.parts,
        bound=cast("Bound", limit_bound),  # which is checked there
    )
