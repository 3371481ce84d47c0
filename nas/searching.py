"""`nas.search`: the front door, which makes a task of what it is given."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.costs.limits import MAXIMISED, Bound, Budget
from nas.evaluators.workers import Workers
from nas.pipeline.search import SearchResult, run
from nas.progress import Progress
from nas.run.settings import SearchSettings
from nas.task.open_task import NetworkTask
from nas.task.task import Task
from search_spaces import InputError

if TYPE_CHECKING:
    from nas.temporal.settings import Settings

Limit = float | str | Sequence[float | str]
# What a limit of `at_most` is called in a budget.
FIELDS = {"parameters_count": "parameters", "memory_mb": "memory_mb", "energy_mj": "energy_mj"}
BUDGETS = ("latency_ms", *FIELDS)


def search(
    out: str | Path,
    task: "Task | Settings | None" = None,
    *,
    device: str | Path | Sequence[str | Path] | None = None,
    at_most: Mapping[str, Limit] | None = None,
    at_least: Mapping[str, float] | None = None,
    goal: str | None = None,
    energy: str | None = None,
    objectives: Sequence[str] | None = None,
    trials: int | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    finalists: int | None = None,
    limit_bound: Bound | None = None,
    begin_from: "str | Path | Sequence[str | Path]" = (),
    resume: bool = False,
    storage: str | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the best network inside a budget, and leave a run folder.

    Args:
        out: the run folder.
        task: what is searched: a `nas.Task` of your own; or the `nas.Settings` of temporal blocks
            on an image U-Net, which None is, too.
        device: a shipped name, a device's file, or `host`; several for several, the main one first.
        at_most: limits by name: `{"latency_ms": 8, "parameters_count": 5e6, "memory_mb": 100}`; a
            latency may be a share of the slowest network's, `"60%"`, or a list, one for each
            device. Those are budgets, which every network keeps; limits on other objectives
            (`{"error_pct": 8}`) make a region, which is searched for.
        at_least: the same of objectives of which more is better: `{"accuracy_pct": 92}`.
        goal: what counts: the `best` quality inside the budgets, the default; a `region`, the
            default where one is given; or the whole `front`.
        energy: a device that was calibrated on millijoules, for `energy_mj`.
        objectives: what is traded off, in place of the task's own.
        trials: networks to evaluate.
        strategy: proposes them: a name, or `package.module:name`.
        seed: of everything that is drawn.
        finalists: how many of the best are looked at more closely at last.
        limit_bound: what of a latency counts: the `prediction`, or its `upper` 90% bound.
        begin_from: folders of earlier searches of the same space, of another device, budget or
            dataset: their studies teach this one as far as they predict it.
        resume: go on with a folder that is there.
        storage: an Optuna storage's URL; by default a file in the folder.
        workers: processes that evaluate, here or on a cluster; by default this one does.
        progress: where progress is shown.

    Raises:
        InputError: bad settings, a budget or a region below the cheapest network, or an existing
            folder; or the first networks all could not be evaluated.
        FloatingPointError: what was found of the first networks was no number.
        StorageError: the storage failed; what is finished there is safe.
    """
    for name, given in (("strategy", strategy), ("storage", storage)):
        if given is not None and not isinstance(given, str):
            raise InputError(f"`{name}={given}`: give a text")
    if isinstance(objectives, str):
        raise InputError(f"`objectives={objectives}`: give a list of names")
    made, settings = _made(task)
    changed: dict[str, Any] = {
        name: value
        for name, value in {
            "objectives": tuple(objectives) if objectives is not None else None,
            "energy": energy,
            "trials": trials,
            "strategy": strategy,
            "seed": seed,
            "finalists": finalists,
        }.items()
        if value is not None
    }
    if device is not None:
        main, *others = _names_of(device)
        changed |= {"device": main, "other_devices": tuple(others)}
    if workers is not None and not isinstance(workers, Workers):
        raise InputError(f"`workers={workers}`: give nas.Workers({workers})")
    settings = wishing(
        replace(settings, **changed),
        {} if at_most is None else at_most,
        {} if at_least is None else at_least,
        goal,
    )
    if limit_bound is not None:
        settings = replace(settings, budget=replace(settings.budget, bound=limit_bound))
    return run(
        Path(out),
        made,
        settings,
        begin_from=[Path(begin_from)]
        if isinstance(begin_from, str | Path)
        else [Path(each) for each in begin_from],
        resume=resume,
        storage=storage,
        workers=workers,
        progress=progress,
    )


def _names_of(device: str | Path | Sequence[str | Path]) -> list[str]:
    """Of one device or several, the main one first."""
    names = [device] if isinstance(device, str | Path) else device
    if not isinstance(names, Sequence):
        raise InputError(f"`device={device}`: is no name of a device")
    if not names:
        raise InputError("`device=` names none; give one, or leave it out")
    return [str(name) for name in names]


def wishing(
    settings: SearchSettings,
    at_most: Mapping[str, Limit],
    at_least: Mapping[str, Limit],
    goal: str | None,
) -> SearchSettings:
    """Settings with limits by name: those of the budget in place of what it has, and a region.

    Raises:
        InputError: a limit of another name, on the wrong side, or that is no number.
    """
    for field, limits in (("at_most", at_most), ("at_least", at_least)):
        if not isinstance(limits, Mapping):
            raise InputError(f"`{field}={limits}`: give limits by name, as latency_ms: 8")
    budgets = {name: limit for name, limit in at_most.items() if name in BUDGETS}
    rest = {name: limit for name, limit in at_most.items() if name not in BUDGETS}
    region = (*_region(settings, "at_most", rest), *_region(settings, "at_least", at_least))
    changed: dict[str, Any] = {"budget": _budget_of(budgets, settings.budget)} if budgets else {}
    if region or goal is not None:
        changed |= {"goal": goal or "region", "region": region}
    return replace(settings, **changed)


def _region(
    settings: SearchSettings, field: str, limits: Mapping[str, Limit]
) -> Iterator[tuple[str, float]]:
    """Limits on objectives that are no budgets."""
    maximised = {
        name.removesuffix(MAXIMISED): name.endswith(MAXIMISED) for name in settings.objectives
    }
    sides = {True: "at_least", False: "at_most"}
    for name, limit in limits.items():
        if name not in maximised:
            raise InputError(
                f"`{field}={name}`: is neither a budget, which are on what is known before "
                f"anything is evaluated ({', '.join(BUDGETS)}), nor one of the objectives "
                f"({', '.join(maximised)})"
            )
        side = sides[maximised[name]]
        if field != side:
            word = "more" if maximised[name] else "less"
            raise InputError(f"`{field}={name}`: {word} of it is better; limit it by `{side}=`")
        number = _number(limit)
        if not math.isfinite(number):
            raise InputError(f"`{field}={name}={limit}`: is no number")
        yield name, number


def _budget_of(at_most: Mapping[str, Limit], begun: Budget) -> Budget:
    given: dict[str, Any] = {}
    for name, limit in at_most.items():
        if limit is None:
            raise InputError(f"`at_most={name}`: gives no limit; give a number, or leave it out")
        if name == "latency_ms":
            several = [limit] if isinstance(limit, str | int | float) else list(limit)
            if not several:
                raise InputError("`at_most=latency_ms`: gives no limit; give a number, or a share")
            given["latency"], *others = (str(each) for each in several)
            given["other_latency"] = tuple(others)
            continue
        number = _number(limit)
        if not number > 0 or math.isinf(number):
            raise InputError(f"`at_most={name}={limit}`: is no number above 0")
        given[FIELDS[name]] = int(number) if name == "parameters_count" else number
    return replace(begun, **given)


def _number(limit: Limit) -> float:
    """A limit as a number; NaN for what is none."""
    try:
        return float(limit)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _made(task: "Task | Settings | None") -> tuple[Any, SearchSettings]:
    """The task, and what it is asked by default."""
    if isinstance(task, Task):
        return NetworkTask(task), task.settings
    from nas.temporal.settings import Settings
    from nas.temporal.task import TemporalTask

    if task is not None and not isinstance(task, Settings):
        raise InputError(
            f"a {type(task).__name__} cannot be searched; give a nas.Task or nas.Settings"
        )
    return TemporalTask(), task or Settings()
