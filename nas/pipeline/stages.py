"""The stages of the main job. Each picks up where it was left."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from latency.predictor.shipped import HOST
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
from nas.pipeline.host_profile import profiled_host
from nas.pipeline.inputs import Inputs
from nas.pipeline.outcome import Outcome
from nas.progress import Progress, counter
from nas.run.results import Found, Origin, found, winner
from nas.run.run_folder import SEARCH, RunFolder, Settings
from nas.run.studies import STUDIES, study_name
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from nas.training.training import trained_network, trained_supernet
from search_spaces import Architecture, InputError
from supernet import Supernet, Validation, VideoUNet

PICKS = "random picks, to compare"


@dataclass(frozen=True)
class Studies:
    """The search and the random baseline beside it, with what scores blocks for both."""

    searched: Study
    picked: Study
    scores: BlockScores


@dataclass(frozen=True)
class Job:
    """The stages of one run.

    Args:
        inputs: what its settings name.
        folder: where it stands.
        progress: where progress is shown.
        storage: of its studies; None for a file in the folder.
    """

    inputs: Inputs
    folder: RunFolder
    progress: Progress
    storage: str | None

    @property
    def settings(self) -> Settings:
        """What was asked for."""
        return self.inputs.settings

    @cached_property
    def space_costs(self) -> SpaceCosts:
        """What every block of the space costs on any device, traced now."""
        costs = SpaceCosts(self.inputs.space)
        shown = self.progress.stage("trace the blocks", len(costs.pieces))
        with self.folder.timed("trace"), shown as advance:
            costs.trace_all(advance)
        return costs

    def limits(self) -> Limits:
        """The budgets, on devices that are known or measured now."""
        inputs, space_costs = self.inputs, self.space_costs
        device = inputs.device or profiled_host(space_costs, self.folder, self.progress)
        costs = [Costs(space_costs, each) for each in (device, *inputs.others)]
        energy = Costs(space_costs, inputs.energy) if inputs.energy else None
        limits = resolve(self.settings.budget, *costs, energy=energy)
        if limits.memory_mb is None and inputs.device is not None:
            self.progress.say(
                f"{device.name} names no memory limit, so nothing is excluded for it; a budget "
                "of memory would, or memory_limit_mb in the device's file"
            )
        if limits.too_large:
            self.progress.say(_excluded(limits))
        self.progress.say(pipeline_line(limits))
        return limits

    @contextmanager
    def studies(self, limits: Limits) -> Iterator[Studies]:
        """The studies of the run, opened: what can be refused is, before the long training."""
        problem = limits.problem(self.settings.objectives, self.settings.seed)
        scores = BlockScores(self.folder.file("guesses.json"), self.progress)
        if self.settings.scores_blocks:
            problem = replace(problem, proxy=scores)
            scores.wanted = strategies.scoring_set(problem)  # refuses blocks that it cannot list
        url = self.storage or sqlite(self.folder.file("study.db"))
        records = [
            Record(url, study_name(self.folder.study, name), problem, partial(_described, limits))
            for name in STUDIES
        ]
        try:
            searched = Study(problem, self.inputs.strategy, records[0])
            yield Studies(searched, Study(problem, strategies.random, records[1]), scores)
        finally:
            for record in records:
                record.close()

    def supernet(self) -> Supernet:
        """The supernet that was given, or that of this run, trained here or before."""
        inputs, plan = self.inputs, self.settings.plan
        if inputs.supernet is not None:
            return inputs.supernet
        backbone, file = (self.folder.file(f"{n}.safetensors") for n in ("backbone", "supernet"))
        if self.settings.backbone and not inputs.has_twin:
            backbone = Path(self.settings.backbone)
        return trained_supernet(
            inputs.learned, plan, inputs.recipe, backbone, file, self.progress, self.folder.timed
        )

    def outcome(self, studies: Studies, limits: Limits, workers: Workers | None) -> Outcome:
        """Train, search, race, and train the winner on."""
        supernet = self.supernet()
        exam = Validation(self.inputs.splits["validation"], self.settings.validation_clips)
        with closing(
            CachedEvaluator(_evaluator(supernet, exam, self.settings, workers))
        ) as evaluator:
            if self.settings.scores_blocks:
                self._score_blocks(studies, supernet)
            evaluated = self._evaluated(SEARCH, "search", studies.searched, evaluator, limits)
            picks = self._evaluated(PICKS, "random", studies.picked, evaluator, limits)
        problem = studies.searched.problem
        uniform = finalists.best_uniform(limits, Quality(supernet, exam), problem)
        groups = (evaluated, picks, [uniform] if uniform else [])
        best = self._winner(supernet, *groups)
        network = self._trained_on(supernet.extract(best.architecture).eval(), best.architecture)
        trained = self.settings.trains_winner
        return Outcome(limits, supernet, evaluated, picks, uniform, best, network, trained)

    def _score_blocks(self, studies: Studies, supernet: Supernet) -> None:
        """Score blocks, and let the search begin with their best arrangements."""
        study, settings = studies.searched, self.settings
        if len(study.finished()) >= settings.trials:
            return
        with self.folder.timed("guess"):
            studies.scores.make(supernet, self.inputs.splits["validation"])
        wanted = min(settings.warm_start, settings.trials)
        if len(study.finished()) >= wanted:
            return
        first = strategies.warm_start(study.problem, wanted)
        if len(first) < wanted:
            self.progress.say(f"warm start: found {len(first)} of {wanted} networks to begin with")
        study.start_with(first)

    def _evaluated(
        self, title: str, origin: Origin, study: Study, evaluator: CachedEvaluator, limits: Limits
    ) -> list[Found]:
        """Run a study to its number of trials; every finished one stands in the storage."""
        problem, trials = study.problem, self.settings.trials
        finished = found(study.finished(), problem, limits)
        evaluator.known |= {network.architecture: (network.loss,) for network in finished}
        with self.folder.timed(title), self.progress.stage(title, trials) as advance:
            count = counter(advance, len(finished))
            evaluated = study.run(trials, evaluator, lambda _: count())
        if study.ended:
            self.progress.say(f"{title}: {study.ended}, so there are {len(evaluated)}")
        if not evaluated:
            raise InputError(f"{title}: {study.ended}")
        return found(evaluated, problem, limits, origin)

    def _winner(self, supernet: Supernet, *groups: list[Found]) -> Found:
        """The best of all that was evaluated, whoever found it; by a race of the best few."""
        settings = self.settings
        racing = finalists.entrants(settings.finalists, *groups)
        self.folder.results.pop("finalists", None)
        if settings.finalists < 2 or len(racing) < 2:
            if settings.finalists > 1:
                self.progress.skip("finalists", "there is only one")
            return winner(racing)
        clips = settings.finalist_clips
        title = f"finalists: {len(racing)} networks on {clips} clips at most"
        shown = self.progress.stage(title, len(racing) * clips)
        data = self.inputs.splits["validation"]
        with self.folder.timed("finalists", again=True), shown as advance:
            verdict = finalists.race(racing, clips, supernet, data, advance)
        self.folder.results["finalists"] = finalists.summary(verdict, racing)
        if not verdict.decided:
            self.progress.say(
                f"finalists: {clips} clips of each do not tell the best of them apart; more would"
            )
        return next(network for network in racing if network.architecture == verdict.best)

    def _trained_on(self, network: VideoUNet, architecture: Architecture) -> VideoUNet:
        """The winner, trained on by itself where that was asked for.

        A twin's winner is not: the network that is delivered is another, of full size.
        """
        settings = self.settings
        if not settings.trains_winner:
            return network
        return trained_network(
            network,
            self.inputs.space,
            architecture,
            settings.plan,
            settings.winner_steps,
            self.folder.file("winner.safetensors"),
            self.progress,
            self.folder.timed,
        )


def stages(settings: Settings) -> int:
    """How many stages a run with these settings shows progress of."""
    return (
        5
        + (settings.finalists > 1)
        + (settings.device == HOST)
        + 2 * (settings.supernet is None)
        + settings.scores_blocks
        + settings.trains_winner
    )


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
