"""The main job: measure, train, search, compare, hand over. Each stage picks up where it was left.

Latency comes first: it depends on shapes alone, so a budget that nothing keeps is refused before
a minute is spent on training.
"""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latency import Device
from latency.predictor.shipped import HOST, load_device
from nas import strategies
from nas.costs.costs import Costs
from nas.costs.limits import Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators import Evaluator
from nas.evaluators.block_scores import BlockScores
from nas.evaluators.cached import CachedEvaluator
from nas.evaluators.quality import Quality, elsewhere
from nas.evaluators.serial import Serial
from nas.evaluators.workers import Workers
from nas.pipeline import finalists
from nas.pipeline.deliver import hand_over
from nas.pipeline.host_profile import profiled_host
from nas.progress import Progress, counter
from nas.run.results import Found, found, front, winner
from nas.run.run_folder import SEARCH, RunFolder, Settings
from nas.run.studies import STUDIES, study_name
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from nas.training.training import trained_supernet
from search_spaces import Architecture, InputError, TemporalSpace
from search_spaces.shipped.loading import load_temporal, load_twin
from supernet import ClipSource, Supernet, Validation, load_supernet, open_backbone
from supernet.data.loading import load_clips
from supernet.data.splits import Split
from supernet.evaluation.temporal_metrics import Metric, Playback, load_metric
from supernet.training.recipes import Recipe, load_recipe

PICKS = "random picks, to compare"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
MEMORY_MEND = "give --memory-mb, or memory_limit_mb in the device's file"


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
    settings = settings or Settings()
    space = load_temporal(settings.space)
    folder = RunFolder(Path(out), settings, storage, resume=resume)
    twin = settings.learned_space
    learned = load_twin(space, twin) if twin else space
    job = _Job(space, learned, settings, folder, progress or Progress(stages(settings)))
    given = _opened(settings, space, learned)
    if workers is not None:
        workers.check()
    with folder.opened():
        job.trace()
        device = given.device or profiled_host(job.space_costs, folder, job.progress)
        costs = [Costs(job.space_costs, each) for each in (device, *given.others)]
        energy = Costs(job.space_costs, given.energy) if given.energy else None
        limits = resolve(settings.budget, *costs, energy=energy)
        if limits.memory_mb is None and given.device is not None:
            job.progress.say(
                f"{device.name} names no memory limit, so nothing is excluded for it; {MEMORY_MEND}"
            )
        if limits.too_large:
            job.progress.say(_excluded(limits))
        job.progress.say(pipeline_line(limits))
        problem = limits.problem(settings.objectives, settings.seed)
        scores = BlockScores(folder.file("guesses.json"), job.progress)
        if settings.scores_blocks:
            problem = replace(problem, proxy=scores)
            scores.wanted = strategies.scoring_set(problem)  # refuses blocks that it cannot list
        # Everything that can be refused is opened before the long training.
        url = storage or sqlite(folder.file("study.db"))
        records = [
            Record(url, study_name(folder.study, name), problem, partial(_described, limits))
            for name in STUDIES
        ]
        try:
            searched = Study(problem, given.strategy, records[0])
            picked = Study(problem, strategies.random, records[1])
            supernet = given.supernet or job.trained_supernet(given.recipe)
            validation = Validation(given.splits["validation"], settings.validation_clips)
            evaluator = CachedEvaluator(_evaluator(supernet, validation, settings, workers))
            with closing(evaluator):
                if settings.scores_blocks and len(searched.finished()) < settings.trials:
                    with folder.timed("guess"):
                        scores.make(supernet, given.splits["validation"])
                    job.start_warm(searched)
                evaluated = job.evaluated(SEARCH, searched, evaluator, limits)
                picks = job.evaluated(PICKS, picked, evaluator, limits)
        finally:
            for record in records:
                record.close()
        best = job.best(evaluated, supernet, given.splits["validation"])
        summary = hand_over(
            folder,
            limits,
            supernet,
            evaluated,
            picks,
            best,
            validation,
            given.splits["test"],
            given.metrics,
            job.progress,
        )
    return SearchResult(folder.path, best, front(evaluated), evaluated, summary)


@dataclass(frozen=True)
class _Opened:
    """What settings name."""

    splits: dict[Split, ClipSource]
    strategy: strategies.Strategy
    recipe: Recipe
    metrics: dict[str, Metric]
    supernet: Supernet | None  # None: to be trained
    device: Device | None  # None: this machine, to be measured
    others: list[Device]
    energy: Device | None


def _opened(settings: Settings, space: TemporalSpace, learned: TemporalSpace) -> _Opened:
    """Open all that settings name, so that what is misspelt or does not fit is refused at once."""
    if settings.device == HOST and learned is not space:
        raise InputError(
            f"space {space.name!r} is searched by a twin because it is large, and measuring all of "
            "its blocks on this machine would take hours; give a --device"
        )
    splits = {split: load_clips(settings.plan.data, learned.unet, split) for split in SPLITS}
    metrics = {name: load_metric(name) for name in settings.metrics}
    Playback(splits["test"], clips=2).try_out(metrics)
    if settings.backbone:
        open_backbone(Path(settings.backbone), space.unet)
    device = None if settings.device == HOST else _measured_in("ms", settings.device)
    if device is not None:
        _check_memory(device, settings)
    return _Opened(
        splits,
        strategies.load_strategy(settings.strategy),
        load_recipe(settings.recipe),
        metrics,
        load_supernet(Path(settings.supernet), learned) if settings.supernet else None,
        device,
        [_measured_in("ms", name) for name in settings.other_devices],
        _measured_in("mJ", settings.energy) if settings.energy else None,
    )


def _check_memory(device: Device, settings: Settings) -> None:
    """Refuse to search a large space where nobody knows which of its blocks fit."""
    if (
        settings.learned_space
        and device.memory_limit_mb is None
        and settings.budget.memory_mb is None
    ):
        raise InputError(
            f"device {device.name!r} names no memory limit, and some blocks of space "
            f"{settings.space!r} need gigabytes; {MEMORY_MEND}"
        )


def _measured_in(unit: str, name: str) -> Device:
    """A device that predicts times, or energies; InputError where it is the other kind."""
    device = load_device(name)
    if device.unit != unit:
        wanted, option = ("an energy (_mj)", "--device") if unit == "mJ" else ("a time", "--energy")
        raise InputError(
            f"{name}: was calibrated on {device.facts.get('column', 'latency_ms')}, not on "
            f"{wanted}; it is one for {option}"
        )
    return device


def _evaluator(
    supernet: Supernet, validation: Validation, settings: Settings, workers: Workers | None
) -> Evaluator:
    """This process, or others."""
    if workers is None:
        return Serial(Quality(supernet, validation))
    make, weights = elsewhere(supernet, settings.plan.data, settings.validation_clips)
    return workers.started(make, weights)


def _described(limits: Limits, architecture: Architecture) -> dict[str, float]:
    """What a trial says of its network beside the objectives."""
    costs = limits.costs
    return {
        "network_ms": costs.network_ms(architecture).latency_ms,
        "parameters": costs.parameters(architecture),
        "memory_mb": costs.memory_mb(architecture),
    }


def stages(settings: Settings) -> int:
    """How many stages a run with these settings shows progress of."""
    return (
        5
        + (settings.finalists > 1)
        + (settings.device == HOST)
        + 2 * (settings.supernet is None)
        + settings.scores_blocks
    )


def _excluded(limits: Limits) -> str:
    """How many blocks fit in no network, by slot and operator."""
    counts: dict[str, Counter[str]] = {}
    for each in limits.too_large:
        slot, _, block = each.partition("=")
        counts.setdefault(slot, Counter())[block.partition("(")[0]] += 1
    listed = "; ".join(
        f"{slot}: {', '.join(f'{count} {name}' for name, count in found.items())}"
        for slot, found in counts.items()
    )
    count = len(limits.too_large)
    return f"excluded, as they pass {limits.memory_mb:g} MB: {count} blocks ({listed})"


def pipeline_line(limits: Limits) -> str:
    """The pipeline on the main device, and what its budget leaves for the network."""
    target, steps = limits.targets[0], limits.budget.steps
    parts = "".join(f" + {part.name} {part.latency_ms:.4g} ms" for part in target.parts)
    line = f"pipeline on {target.costs.device.name}: {steps} x network{parts}"
    if np.isfinite(target.latency_ms):
        left_ms = target.network_ms(steps)
        line += f"; {target.latency_ms:.5g} ms leave {left_ms:.4g} ms for a call of the network"
    return line


@dataclass
class _Job:
    """The stages of one run."""

    space: TemporalSpace
    learned: TemporalSpace  # in which quality is searched: a twin, or the space itself
    settings: Settings
    folder: RunFolder
    progress: Progress

    def __post_init__(self) -> None:
        self.space_costs = SpaceCosts(self.space)

    def trace(self) -> None:
        """Find what every block costs on any device."""
        pieces = len(self.space_costs.pieces)
        with self.folder.timed("trace"), self.progress.stage("trace the blocks", pieces) as advance:
            self.space_costs.trace_all(advance)

    def trained_supernet(self, recipe: Recipe) -> Supernet:
        """The supernet of this run, trained here or before."""
        backbone, file = (self.folder.file(f"{n}.safetensors") for n in ("backbone", "supernet"))
        if self.settings.backbone and self.learned is self.space:
            backbone = Path(self.settings.backbone)
        plan = self.settings.plan
        return trained_supernet(
            self.learned, plan, recipe, backbone, file, self.progress, self.folder.timed
        )

    def start_warm(self, study: Study) -> None:
        """Let a study begin with the best arrangements of scored blocks."""
        wanted = min(self.settings.warm_start, self.settings.trials)
        if len(study.finished()) >= wanted:
            return
        found = strategies.warm_start(study.problem, wanted)
        if len(found) < wanted:
            self.progress.say(f"warm start: found {len(found)} of {wanted} networks to begin with")
        study.start_with(found)

    def evaluated(
        self, title: str, study: Study, evaluator: CachedEvaluator, limits: Limits
    ) -> list[Found]:
        """Run a study to its number of trials; every finished one stands in the storage."""
        problem = study.problem
        finished = found(study.finished(), problem, limits)
        evaluator.known |= {network.architecture: (network.loss,) for network in finished}
        trials = self.settings.trials
        with self.folder.timed(title), self.progress.stage(title, trials) as advance:
            count = counter(advance, len(finished))
            evaluated = study.run(trials, evaluator, lambda _: count())
        if study.ended:
            self.progress.say(f"{title}: {study.ended}, so there are {len(evaluated)}")
        if not evaluated:
            raise InputError(f"{title}: {study.ended}")
        return found(evaluated, problem, limits)

    def best(self, evaluated: list[Found], supernet: Supernet, data: ClipSource) -> Found:
        """The winner: of the search, or where several are raced, of the race."""
        count = min(self.settings.finalists, len(evaluated))
        self.folder.results.pop("finalists", None)
        if count < 2:
            if self.settings.finalists > 1:
                self.progress.skip("finalists", "there is only one")
            return winner(evaluated)
        clips = self.settings.finalist_clips
        title = f"finalists: {count} networks on {clips} clips at most"
        shown = self.progress.stage(title, count * clips)
        with self.folder.timed("finalists", again=True), shown as advance:
            verdict = finalists.race(evaluated, count, clips, supernet, data, advance)
        self.folder.results["finalists"] = finalists.summary(verdict)
        if not verdict.decided:
            self.progress.say(
                f"finalists: {clips} clips of each do not tell the best of them apart; give more "
                "--finalist-clips"
            )
        return next(network for network in evaluated if network.trial == verdict.best)
