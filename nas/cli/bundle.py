"""`nas bundle`: a bundle of any other point of a search's front, or of the winner's twin."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli import options, tasks
from nas.cli.output import print_json, print_line
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.run.settings import SearchSettings


def bundle(
    run: Annotated[Path, typer.Argument(help="The folder of a finished search.")],
    trial: Annotated[
        int | None, typer.Option(min=0, help="A trial of it, as trials.csv numbers them.")
    ] = None,
    twin: Annotated[
        bool,
        typer.Option(
            "--twin",
            help="The narrow network that stood for the winner, with the weights it was judged by.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The folder to write; default: RUN/trial-N, or RUN/twin.",
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
    """Hand over another trial of a search, or its winner's twin: a bundle, or what there is.

    A task of your own is named as it was to the search: a run holds no code.
    """
    if (trial is None) != twin:
        raise InputError("say of which network: either --trial N, or --twin for the winner's twin")
    out = out or run / ("twin" if twin else f"trial-{trial}")
    if out.exists():
        raise InputError(f"{out}: exists; choose another folder for --out, or remove it")
    own = tasks.task_of(
        task, space=space, evaluate=evaluate, build=build, shape=shape, weights=weights
    )
    if trial is None:
        if own is not None:
            raise InputError("--twin: is of a search of temporal blocks; name no task of your own")
        _hand_over_twin(run, out, json=json)
        return
    from nas.pipeline.handover import hand_over, settings_of

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


def _hand_over_twin(run: Path, out: Path, *, json: bool) -> None:
    """The bundle of the network that was judged for the winner."""
    from nas.temporal.twin import hand_over_twin

    architecture = hand_over_twin(run, out)
    if json:
        print_json({"out": str(out), "space": architecture.space})
    else:
        print_line(f"twin, of {architecture.space}: {out}")


def _check_same(run: Path, begun: "SearchSettings", given: "SearchSettings") -> None:
    """Refuse a task whose networks are others than those of the run."""
    for name in ("space_digest", "shape"):
        was, now = (getattr(each, name, None) for each in (begun, given))
        if now is not None and was != now:
            what = "space" if name == "space_digest" else "shape"
            raise InputError(f"{run}: was a search of another {what} than the given one ({now})")
