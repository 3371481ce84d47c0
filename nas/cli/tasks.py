"""Tasks of one's own, as flags name them: in one object, or by their parts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import options
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from nas.costs.traces import Traces
    from nas.task.task import Task as OwnTask
    from search_spaces import SearchSpace

Task = Annotated[
    str | None,
    typer.Option(help="A task of your own, package.module:NAME: a nas.Task, or what returns one."),
]
Evaluate = Annotated[
    str | None,
    typer.Option(
        help="How good a network of --space is: package.module:function takes an architecture, and "
        "returns a number, or numbers by name."
    ),
]
Build = Annotated[
    str | None,
    typer.Option(help="The torch module of an architecture: package.module:function."),
]
Shape = Annotated[str | None, typer.Option(help="Inputs of --build, as 1,3,224,224; several by ;.")]
Weights = Annotated[
    str | None,
    typer.Option(help="Weights of an architecture's module by name: package.module:function."),
]
Fidelity = Annotated[
    str | None,
    typer.Option(
        help="An argument of --evaluate that says how closely it looks: every network is seen at "
        "the first number, the best go on to the last: clips=16,32,64,128. --trials counts full "
        "evaluations, or as much in others."
    ),
]


def task_of(
    task: str | None,
    *,
    space: str | None,
    evaluate: str | None = None,
    build: str | None = None,
    shape: str | None = None,
    weights: str | None = None,
    fidelity: str | None = None,
    objectives: str | None = None,
    steps: int | None = None,
) -> "OwnTask | None":
    """The task that flags name; None where they name the main job's.

    Raises:
        InputError: nothing of such a name; parts that do not fit; a space that needs a task.
    """
    from search_spaces.shipped.loading import import_object

    parts: dict[str, Any] = {}
    for name, reference in (("evaluate", evaluate), ("build", build), ("weights", weights)):
        if reference is not None:
            parts[name] = import_object(reference, name)
    if shape is not None:
        parts["shape"] = shape
    if fidelity is not None:
        parts["fidelity"] = _fidelity(fidelity)
    if objectives is not None:
        parts["objectives"] = tuple(options.words(objectives))
    if steps is not None:
        parts["steps"] = steps
    if task is not None:
        from search_spaces import load

        if space is not None:
            parts["space"] = load(space)
        return _task(task).asked_for(**parts)
    if evaluate is None and build is None:
        _check_alone(shape=shape, weights=weights, fidelity=fidelity)
        _check_temporal(space)
        return None
    return _of_parts(space, parts)


def priced_task(
    task: str | None, *, space: str | None, build: str | None = None, shape: str | None = None
) -> "OwnTask | None":
    """A task whose networks are priced or measured; None for the main job's space.

    Raises:
        InputError: as `task_of`.
    """
    from search_spaces import TemporalSpace, load

    if task is None and build is None:
        _check_alone(shape=shape)
        found = None if space is None else load(space)
        if found is None or isinstance(found, TemporalSpace):
            return None
        from nas.task.task import Task as OwnTask

        return OwnTask(found)
    return task_of(task, space=space, build=build, shape=shape)


def built_task(
    task: str | None, *, space: str | None, build: str | None = None, shape: str | None = None
) -> "tuple[SearchSpace, Traces] | None":
    """The space of a task that builds its networks, and their traces; None where none is named.

    Raises:
        InputError: as `task_of`; or the task builds nothing.
    """
    if task is None and build is None:
        _check_alone(shape=shape)
        return None
    own = task_of(task, space=space, build=build, shape=shape)
    assert own is not None
    from nas.task.tracing import traces_of

    traces = traces_of(own)
    if traces is None:
        raise InputError(f"--task {task}: builds no networks; give --build and --shape too")
    return own.space, traces


def _of_parts(space: str | None, parts: dict[str, Any]) -> "OwnTask":
    from nas.task.task import Task as OwnTask
    from search_spaces import load

    if space is None:
        raise InputError("what is evaluated or built is of a space; give it, --space FILE.json")
    return OwnTask(load(space), **parts)


def _task(reference: str) -> "OwnTask":
    from nas.task.task import Task as OwnTask
    from search_spaces.shipped.loading import import_object

    found = import_object(reference, "task")
    if callable(found) and not isinstance(found, OwnTask):
        try:
            found = found()
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # whatever somebody's code raises
            from nas.problem.errors import in_a_line

            raise InputError(f"--task {reference} raised {in_a_line(error)}") from error
    if not isinstance(found, OwnTask):
        raise InputError(
            f"--task {reference}: is a {type(found).__name__}; name a nas.Task, or a function that "
            "returns one"
        )
    return found


def _check_alone(**flags: str | None) -> None:
    """Refuse parts of a task where none is named."""
    for name, value in flags.items():
        if value is not None:
            raise InputError(
                f"--{name} is of a task of your own; give --evaluate, --build or --task, too"
            )


def _check_temporal(space: str | None) -> None:
    """Say what a space without a U-Net needs."""
    from search_spaces import TemporalSpace, load

    if space is None or isinstance(load(space), TemporalSpace):
        return
    raise InputError(
        f"space {space!r} has no U-Net to put blocks in, so nothing is known of its networks; give "
        "what says how good one is, --evaluate my_module:function (and what builds one, --build "
        "my_module:function --shape 1,3,224,224), or --task my_module:TASK"
    )


def _fidelity(text: str) -> dict[str, tuple[int, ...]]:
    name, _, counts = text.partition("=")
    try:
        levels = tuple(int(count) for count in counts.split(","))
    except ValueError:
        levels = ()
    if not name.strip().isidentifier() or len(levels) < 2:
        raise InputError(
            f"--fidelity {text}: expected an argument with whole numbers, two or more, as "
            "clips=16,128"
        )
    return {name.strip(): levels}
