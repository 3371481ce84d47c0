"""`nas.Task`: any search space, with functions that evaluate and build its networks."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from latency import Workload
from nas.costs.limits import Budget
from nas.problem.fidelity import Fidelity
from nas.run.settings import SearchSettings
from nas.task.evaluation import Evaluate, Evaluation
from search_spaces import Architecture, InputError, SearchSpace

Build = Callable[[Architecture], Any]
Weights = Callable[[Architecture], Mapping[str, Any]]


@dataclass(frozen=True)
class TaskSettings(SearchSettings):
    """What the search of a task is asked; what is of the task itself stands for its results.

    Args:
        task: its name.
        space_digest: of its space.
        shape: of its inputs.
        fidelity: its name, and how much is asked for, look by look; empty for none.
    """

    task: str = "task"
    space_digest: str = ""
    shape: str | None = None
    fidelity: tuple[str | int, ...] = ()


def _digest(space: SearchSpace) -> str:
    text = json.dumps(space.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fidelity(name: str, levels: Any) -> Fidelity:
    several = isinstance(levels, tuple | list) and len(levels) > 1
    if not several or not all(isinstance(level, int) for level in levels):
        raise InputError(
            f"`fidelity={name}`: give whole numbers, two or more, as (16, 128); found {levels}"
        )
    return Fidelity(name, tuple(levels))


def _check_takes(evaluate: Evaluate | None, name: str) -> None:
    """Refuse a fidelity that the function does not take, where that can be told."""
    try:
        taken = inspect.signature(evaluate).parameters.values() if evaluate else ()
    except (TypeError, ValueError):  # of what is written in C
        return
    any_name = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken)
    if evaluate and not any_name and name not in {each.name for each in taken}:
        raise InputError(
            f"`fidelity={name}`: evaluate takes no argument of that name; it takes "
            f"{', '.join(each.name for each in taken)}"
        )


def _check_fidelity(evaluate: Evaluate | None, fidelity: Any) -> None:
    """Refuse what is no argument of the function with rising counts."""
    if not isinstance(fidelity, Mapping):
        raise InputError(
            f'`fidelity={fidelity}`: give a name with counts, as {{"clips": (16, 128)}}'
        )
    if len(fidelity) > 1:
        raise InputError(f"`fidelity=` has {', '.join(fidelity)}; give one")
    for name, levels in fidelity.items():
        _fidelity(name, levels)
        _check_takes(evaluate, name)


@dataclass(frozen=True)
class Task:
    """A task: a space, how good its networks are, and how they are built.

    Each part but the space may be left out; what is missing is said where it is needed.

    Args:
        space: the architectures.
        evaluate: how good an architecture is: one number, or several by their names
            (`{"accuracy_pct": 93.1}`); units stand at the end of names. What it raises is tried
            again, then given up. It may take a fidelity, `evaluate(architecture, clips=16)`.
        objectives: what is traded off: what `evaluate` finds, `:max` where more is better, and
            costs that are known (`latency_ms` on a device; `parameters_count`, `memory_mb` and
            `flops_count` where there is a `build`).
        build: the torch module of an architecture.
        workload: what an architecture's network runs, where that is known more quickly than by
            tracing what `build` makes: `latency.concatenate` of layers that were traced once.
        shape: its example inputs, `1,3,224,224`, as `latency.input_shapes` reads them.
        weights: parameters and buffers of an architecture's module, by name, for the bundle;
            without it they are what `build` made.
        steps: how often the network runs for one result.
        fidelity: of `evaluate`, an argument of it, and how much it is asked for: of every network
            the first number, of the best the next, up to the last, which is a full evaluation:
            `{"clips": (16, 32, 64, 128)}`. `trials` counts full evaluations, or as much in less
            close ones. Where `evaluate` returns an array of one number a clip, differences between
            networks are known with their errors.
        name: of the task.

    Raises:
        InputError: parts that do not fit together.
    """

    space: SearchSpace
    evaluate: Evaluate | None = None
    objectives: Sequence[str] = ()
    build: Build | None = None
    shape: str | None = None
    weights: Weights | None = None
    workload: Callable[[Architecture], Workload] | None = None
    steps: int = 1
    fidelity: Mapping[str, Sequence[int]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.objectives, str):
            raise InputError(f"`objectives={self.objectives}`: give a list of names")
        if not isinstance(self.space, SearchSpace):
            raise InputError(
                f"a {type(self.space).__name__} is no SearchSpace; search_spaces.load reads a file"
            )
        for name in ("evaluate", "build", "weights", "workload"):
            part = getattr(self, name)
            if part is not None and not callable(part):
                raise InputError(f"`{name}=`: a {type(part).__name__} is not callable")
        if (self.build is None) != (self.shape is None):
            given, lacking = ("build", "shape") if self.shape is None else ("shape", "build")
            raise InputError(f"`{given}=` without `{lacking}=`; give both, or neither")
        if self.shape is not None and not isinstance(self.shape, str):
            raise InputError(f"`shape={self.shape}`: give a text, as 1,3,224,224")
        if self.weights is not None and self.build is None:
            raise InputError("`weights=` without `build=`; give what builds the networks, too")
        _check_fidelity(self.evaluate, self.fidelity)

    @property
    def settings(self) -> SearchSettings:
        """What a search of it is asked by default."""
        return TaskSettings(
            task=self.name or self.space.name,
            space=self.space.name,
            shape=self.shape,
            space_digest=_digest(self.space),
            fidelity=next(((name, *levels) for name, levels in self.fidelity.items()), ()),
            objectives=tuple(self.objectives),
            budget=Budget(latency=None, steps=self.steps),
        )

    def looks(self, finalists: int, trials: int) -> Fidelity | None:
        """How closely networks are looked at; None where all evaluations are alike.

        What `trials` full evaluations cost takes one network at least from the first look to the
        last: levels for which it is too little are left out.
        """
        found = [_fidelity(name, levels) for name, levels in self.fidelity.items()]
        if not found:
            return None
        levels = found[0].levels
        while sum(levels) > trials * levels[-1]:
            levels = levels[1:]
        return replace(found[0], levels=levels, finalists=finalists)

    def evaluation(self, finds: Sequence[str]) -> Evaluation:
        """What a search calls, for the unknown objectives.

        Raises:
            InputError: there is nothing that evaluates.
        """
        if self.evaluate is None:
            raise InputError(
                "a search needs to know how good a network is; give a function, `evaluate=`"
            )
        return Evaluation(self.evaluate, tuple(finds), next(iter(self.fidelity), None))

    def asked_for(self, **changed: Any) -> "Task":
        """The same with other parts."""
        return replace(self, **changed)
