"""The search: price, prepare, search, compare, choose, deliver.

Each stage picks up where it was left (`stages.py`); what they do for a task, the task knows
(`contract.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.evaluators.workers import Workers
from nas.pipeline.contract import Task, Told
from nas.pipeline.earlier_runs import names_of, runs_read
from nas.pipeline.stages import STAGES, Job
from nas.progress import Progress
from nas.run.results import Found, closest, front
from nas.run.run_folder import RunFolder
from nas.run.settings import SearchSettings


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    path: Path
    winner: Found
    front: list[Found]
    evaluated: list[Found]
    summary: dict[str, Any]
    told: Told


def run(
    out: Path,
    task: Task,
    settings: SearchSettings,
    *,
    begin_from: Sequence[Path] = (),
    resume: bool = False,
    storage: str | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search a task, and leave a run folder; arguments and errors as of `nas.search`."""
    settings = replace(settings, begin_from=names_of(begin_from))
    folder = RunFolder(out, settings, storage, resume=resume)
    progress = progress or Progress()
    opened = task.opened(folder, progress)
    progress.expect(STAGES + opened.own_stages)
    if workers is not None:
        workers.check()
    with folder.opened():
        earlier = runs_read(begin_from, folder, opened.space, storage)
        job = Job(opened, folder, progress, storage, earlier)
        limits = job.limits()
        with job.studies(limits) as studies:
            outcome = job.outcome(studies, limits, workers)
        summary = opened.deliver(outcome)
    best = front(closest(outcome.evaluated), outcome.problem)
    return SearchResult(
        folder.path, outcome.winner, best, outcome.evaluated, summary, opened.told(summary)
    )
