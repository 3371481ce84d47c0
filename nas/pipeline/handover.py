"""Any other point of a finished run's front, handed over as its winner was."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from nas.pipeline.contract import OpenTask, Outcome, Task
from nas.pipeline.stages import Job
from nas.progress import Progress
from nas.run.results import Found, found, front
from nas.run.run_folder import RunFolder
from nas.run.settings import SearchSettings
from nas.run.studies import FORMAT, MAJOR
from search_spaces import InputError
from search_spaces.files import document


def hand_over(
    run: Path,
    task: Task,
    settings: SearchSettings,
    trial: int,
    out: Path,
    *,
    storage: str | None = None,
    progress: Progress | None = None,
) -> Found:
    """Write what a run leaves of its winner for another of its trials; the run stays as it is.

    Args:
        run: the folder of a finished search.
        task: that was searched.
        settings: of the run, see `settings_of`.
        trial: its number in trials.csv.
        out: the folder to write.
        storage: of the run's studies, where they are not in its folder.
        progress: where progress is shown.

    Raises:
        InputError: no finished run, or no such trial in it.
    """
    folder = RunFolder(run, settings, storage, resume=True, only_read=True)
    progress = progress or Progress()
    with folder.opened():
        opened = task.opened(folder, progress, evaluates=False)
        progress.expect(opened.own_stages)
        outcome = _as_if_won(opened, folder, trial, storage, progress)
        opened.prepare()
        opened.hand_over(outcome, out)
    return outcome.winner


def settings_of(run: Path, kind: type[SearchSettings]) -> SearchSettings:
    """The settings that a run was begun with.

    Raises:
        InputError: no run, or one of another task.
    """
    file = run / "run.json"
    if not file.exists():
        raise InputError(f"{run}: is no folder of a search, as it lacks run.json")
    content = document.read(file, FORMAT, MAJOR)
    if not content.get("results", {}).get("winner"):
        raise InputError(f"{run}: its search is not finished; go on with it first")
    plain = content["settings"]
    unknown = set(plain) - {field.name for field in fields(kind)}
    if unknown:
        raise InputError(
            f"{run}: was a search of another task; name it as it was named to the search: `task=`, "
            "or `space=` with `evaluate=`, `build=` and `shape=`; the main job's by nothing"
        )
    made: SearchSettings = _as(kind, plain)
    return made


def _as_if_won(
    opened: OpenTask, folder: RunFolder, trial: int, storage: str | None, progress: Progress
) -> Outcome:
    """What the run came to, had another trial won."""
    limits = opened.limits()
    with Job(opened, folder, progress, storage).studies(limits) as studies:
        problem = studies.searched.problem
        evaluated = found(studies.searched.finished(), problem, limits)
        picks = found(studies.picked.finished(), problem, limits, "random")
        spent = studies.searched.spent
    chosen = next((each for each in evaluated if each.trial == trial), None)
    if chosen is None:
        listed = ", ".join(str(each.trial) for each in front(evaluated, problem))
        raise InputError(f"{folder.path}: has no finished trial {trial}; on its front are {listed}")
    return Outcome(limits, problem, evaluated, picks, [], chosen, spent)


def _as(kind: Any, plain: Any) -> Any:
    """A value of JSON as the type of a dataclass's field."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {field.name for field in fields(kind)}
        return kind(**{n: _as(hints[n], value) for n, value in plain.items() if n in known})
    if plain is None:
        return None
    if isinstance(plain, list):
        kinds = _dataclasses(kind)
        return tuple(_as(_fitting(kinds, each), each) if kinds else _listed(each) for each in plain)
    if isinstance(plain, dict):
        return {name: _listed(value) for name, value in plain.items()}
    return plain


def _dataclasses(kind: Any) -> list[Any]:
    """Those that a type names, however deep: of a tuple of two kinds of parts, both."""
    if is_dataclass(kind):
        return [kind]
    return [found for each in get_args(kind) for found in _dataclasses(each)]


def _fitting(kinds: Sequence[Any], plain: Mapping[str, Any]) -> Any:
    """The one of several dataclasses whose fields these are."""
    return next((k for k in kinds if plain.keys() <= {f.name for f in fields(k)}), kinds[0])


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
