"""Runs that a search begins from: read from their storages, checked, and kept in its own folder.

What was read stands in `earlier.json` of the new run, so that it goes on when the others are gone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from nas.problem.distributions import distributions
from nas.problem.earlier import Earlier
from nas.problem.problem import Objective, Problem
from nas.run.run_folder import RunFolder
from nas.run.studies import FORMAT, MAJOR, STUDIES, study_name
from nas.study.reading import study_read
from nas.study.standings import Board, chance_of
from nas.study.storage_url import public_url
from search_spaces import InputError, SearchSpace
from search_spaces.files import document

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

KEPT, KEPT_FORMAT, KEPT_MAJOR = "earlier.json", "temporal-nas/earlier", 1


@dataclass(frozen=True)
class EarlierRun:
    """A run as it stands in its storage, whether it is finished, runs or was stopped.

    Args:
        path: its folder.
        space: what it called its space.
        maximized: its objectives, and of which more is better.
        trials: that have values, or looks; of its search, and its random picks.
    """

    path: Path
    space: str
    maximized: Mapping[str, bool]
    trials: "Sequence[FrozenTrial]"


def names_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """What runs are called where a run says what it began from."""
    return tuple(path.resolve().name for path in paths)


def runs_read(
    paths: Sequence[Path], folder: RunFolder, space: SearchSpace, storage: str | None
) -> list[EarlierRun]:
    """The runs that a search begins from; none where its folder keeps what was read.

    Args:
        paths: their folders.
        folder: of the search.
        space: that it searches.
        storage: of the search: the credentials of a storage that another run shares.

    Raises:
        InputError: no run, one of another space, or one that cannot be read.
    """
    if folder.file(KEPT).exists():
        return []
    runs = []
    for path in paths:
        if path.resolve() == folder.path.resolve():
            raise InputError(f"{path}: a search cannot begin from itself; go on by `resume=True`")
        run = _read(path, storage)
        _check_space(run, space, Path(folder.settings.space).name)
        runs.append(run)
    return runs


def earlier_of(
    runs: Sequence[EarlierRun], folder: RunFolder, problem: Problem
) -> tuple[Earlier, ...]:
    """What earlier runs found of a problem's quality; it is kept in the run's folder.

    Raises:
        InputError: a run that judged by something else, or evaluated nothing.
    """
    kept = folder.file(KEPT)
    if kept.exists():
        return tuple(_kept(document.read(kept, KEPT_FORMAT, KEPT_MAJOR), problem.space))
    quality = next(each for each in problem.objectives if not each.known)
    found = tuple(_found(run, problem.space, quality) for run in runs)
    if found:
        content = {
            "format": KEPT_FORMAT,
            "version": f"{KEPT_MAJOR}.0",
            "objective": quality.name,
            "runs": [
                {
                    "name": each.name,
                    "networks": [dict(network) for network in each.architectures],
                    "quality": list(each.quality),
                }
                for each in found
            ],
        }
        document.write_atomically(kept, document.dumps(content))
    return found


def _read(path: Path, storage: str | None) -> EarlierRun:
    file = path / "run.json"
    if not file.is_file():
        raise InputError(f"{path}: is no folder of a search, as it lacks run.json")
    said = document.read(file, FORMAT, MAJOR)
    url = said.get("storage") or f"sqlite:///{path / 'study.db'}"
    if storage is not None and url == public_url(storage):
        url = storage
    try:
        studies = [study_read(url, study_name(str(said.get("study")), name)) for name in STUDIES]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    read = [each for each in studies if each is not None]
    maximized = read[0].maximized if read else {}
    # A finished run says its space's name; one that runs, how it was named: by a file, perhaps.
    space = said.get("results", {}).get("space") or Path(said["settings"]["space"]).name
    trials = [trial for each in read for trial in each.trials if _says(trial)]
    return EarlierRun(path, space, maximized, trials)


def _says(trial: "FrozenTrial") -> bool:
    """Whether a trial says something of its network's quality."""
    return trial.state == TrialState.COMPLETE or bool(trial.intermediate_values)


def _check_space(run: EarlierRun, space: SearchSpace, name: str) -> None:
    """Refuse a run of another space; `name` is what this search calls its own."""
    differ = list(_differences(run, space))
    if run.space not in (name, space.name):
        differ.insert(0, f"its name is {run.space!r}, here {space.name!r}")
    if differ:
        raise InputError(
            f"{run.path}: was a search of another space: {'; '.join(differ)}; begin from a search "
            "of this one"
        )


def _differences(run: EarlierRun, space: SearchSpace) -> Iterator[str]:
    """Which choices differ, and how; one that never mattered there is in no trial."""
    here, there = distributions(space), dict[str, BaseDistribution]()
    for trial in run.trials:
        there |= trial.distributions
    if not there:
        return  # nothing was evaluated, which is refused later
    for name, distribution in here.items():
        if name in there and there[name] != distribution:
            yield f"choice {name!r} has {_options(there[name])}, here {_options(distribution)}"
        elif name not in there and name not in space.may_not_matter:
            yield f"choice {name!r} is missing"
    for name in there:
        if name not in here:
            yield f"choice {name!r} is not here"


def _options(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"options {', '.join(map(str, distribution.choices))}"
    low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
    return f"a range from {low} to {high}"


def _found(run: EarlierRun, space: SearchSpace, quality: Objective) -> Earlier:
    """What a run found of the quality of its networks."""
    if not run.trials:
        raise InputError(
            f"{run.path}: evaluated no network yet, so there is nothing to begin from; let it run"
        )
    if run.maximized.get(quality.name) != quality.maximize:
        judged = ", ".join(f"{n} ({_way(more)})" for n, more in run.maximized.items())
        raise InputError(
            f"{run.path}: found {judged or 'no named objective'}, and this search looks for "
            f"{quality.name} ({_way(quality.maximize)}); begin from a search of the same"
        )
    place = list(run.maximized).index(quality.name)
    found: dict[Any, float] = {}
    for trial, value in _as_seen_fully(run.trials, place):
        if math.isfinite(value):
            found.setdefault(space.architecture(trial.params), value)
    return Earlier(names_of([run.path])[0], tuple(found), tuple(found.values()))


def _as_seen_fully(
    trials: "Sequence[FrozenTrial]", place: int
) -> "Iterator[tuple[FrozenTrial, float]]":
    """Each trial's quality; of a network that was not seen fully, what a full look should find.

    Looks of several levels are not to be compared as they are: they count other samples.
    """
    full = [(trial, trial.values[place]) for trial in trials if trial.values is not None]
    raced = sorted(
        (trial for trial in trials if trial.intermediate_values),
        key=lambda trial: -max(trial.intermediate_values),  # of two looks at one, the closer
    )
    seen = [trial for trial in raced if trial.values is not None]
    if any(_last_look(trial) != trial.values[place] for trial in seen) or not (seen or place == 0):
        yield from full  # looks found another objective, or nobody knows which
        return
    yield from ((trial, value) for trial, value in full if not trial.intermediate_values)
    if raced:
        steps = sorted({step for trial in raced for step in trial.intermediate_values})
        looks = [[each.intermediate_values.get(step, math.nan) for step in steps] for each in raced]
        found = np.array(looks)[:, :, None]
        board = Board(found, np.zeros((len(raced), 0)), tuple(steps), chance_of(found, steps))
        yield from zip(raced, board.estimates[:, 0].tolist(), strict=True)


def _last_look(trial: "FrozenTrial") -> float:
    return trial.intermediate_values[max(trial.intermediate_values)]


def _way(maximized: bool) -> str:
    return "more is better" if maximized else "less is better"


def _kept(content: Mapping[str, Any], space: SearchSpace) -> Iterator[Earlier]:
    for each in content["runs"]:
        networks = tuple(space.architecture(choices) for choices in each["networks"])
        yield Earlier(each["name"], networks, tuple(each["quality"]))
