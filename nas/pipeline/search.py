"""The main job: measure, train, search, race, train the winner on, deliver.

Each stage picks up where it was left (`stages.py`).

Latency comes first: it depends on shapes alone, so a budget that nothing keeps is refused before
a minute is spent on training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.evaluators.workers import Workers
from nas.pipeline.deliver import deliver
from nas.pipeline.inputs import open_inputs
from nas.pipeline.stages import Job, stages
from nas.progress import Progress
from nas.run.results import Found, front
from nas.run.run_folder import RunFolder, Settings


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    path: Path
    winner: Found
    front: list[Found]
    evaluated: list[Found]
    summary: dict[str, Any]


def search(
    out: str | Path,
    settings: Settings | None = None,
    *,
    resume: bool = False,
    storage: str | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the best network inside the budget, and leave a run folder.

    Args:
        out: the run folder.
        settings: what to search for.
        resume: go on with a folder that is there.
        storage: an Optuna storage's URL; by default a file in the folder.
        workers: processes that evaluate, here or on a cluster; by default this one does.
        progress: where progress is shown.

    Raises:
        InputError: bad settings, a budget below the fastest network, or an existing folder; or the
            first networks all could not be evaluated.
        FloatingPointError: the losses of the first networks all were no numbers.
        StorageError: the storage failed; what is finished there is safe.
    """
    folder = RunFolder(Path(out), settings or Settings(), storage, resume=resume)
    inputs = open_inputs(folder.settings)
    progress = progress or Progress(stages(folder.settings))
    job = Job(inputs, folder, progress, storage)
    if workers is not None:
        workers.check()
    with folder.opened():
        limits = job.limits()
        with job.studies(limits) as studies:
            outcome = job.outcome(studies, limits, workers)
        summary = deliver(folder, inputs, outcome, progress)
    evaluated = outcome.evaluated
    return SearchResult(folder.path, outcome.winner, front(evaluated), evaluated, summary)
