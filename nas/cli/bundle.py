"""`nas bundle`: a bundle of any other point of a search's front."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli import options, tasks
from nas.cli.output import print_json, print_line

if TYPE_CHECKING:
    from nas.run.settings import SearchSettings


def bundle(
    run: Annotated[Path, typer.Argument(help="The folder of a finished search.")],
    trial: Annotated[int, typer.Option(min=0, help="A trial of it, as trials.csv numbers them.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The folder to write; default: RUN/trial-N.",
            callback=options.checked_folder,
        ),
    ] = None,
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    evaluate: tasks.Evaluate = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    weights: tasks.Weights = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL, where the run was given one.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Hand over another trial of a search: a bundle, or its architecture and report.

    A task of your own is named as it was to the search: a run holds no code.
    """
    from nas.pipeline.handover import hand_over, settings_of
    from search_spaces.files.errors import InputError

    out = out or run / f"trial-{trial}"
    if out.exists():
        raise InputError(f"{out}: exists; choose another folder for --out, or remove it")
    own = tasks.task_of(
        task, space=space, evaluate=evaluate, build=build, shape=shape, weights=weights
    )
    if own is None:
        from nas.temporal.settings import Settings
        from nas.temporal.task import TemporalTask

        found = hand_over(
            run, TemporalTask(), settings_of(run, Settings), trial, out, storage=storage
        )
    else:
        from nas.task.open_task import NetworkTask
        from nas.task.task import TaskSettings

        settings = settings_of(run, TaskSettings)
        _check_same(run, settings, own.settings)
        found = hand_over(run, NetworkTask(own), settings, trial, out, storage=storage)
    if json:
        print_json({"out": str(out), "trial": trial, "values": list(found.values)})
        return
    print_line(f"trial {trial}, {found.architecture}: {out}")


def _check_same(run: Path, begun: "SearchSettings", given: "SearchSettings") -> None:
    """Refuse a task whose networks are others than those of the run."""
    from search_spaces.files.errors import InputError

    for name in ("space_digest", "shape"):
        was, now = (getattr(each, name, None) for each in (begun, given))
        if now is not None and was != now:
            what = "space" if name == "space_digest" else "shape"
            raise InputError(f"{run}: was a search of another {what} than the given one ({now})")
