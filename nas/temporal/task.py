"""The main job as a task: temporal blocks on an image U-Net, compared by a supernet.

Latency depends on shapes alone, so a budget that nothing keeps is refused before a minute is spent
on training.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

from latency import Device
from latency.predictor.shipped import HOST
from nas import strategies
from nas.bundle.made_with import check_supernet
from nas.calibration import profiling
from nas.costs.block_costs import BlockCosts
from nas.costs.feasibility import ADDITIVE
from nas.costs.limits import Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators import Evaluator
from nas.evaluators.serial import Serial
from nas.evaluators.workers import Workers
from nas.pipeline.contract import Outcome, Told
from nas.pipeline.host_profile import HostProfile
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.run.results import Found, winner
from nas.run.run_folder import RunFolder
from nas.study.study import Study
from nas.temporal import finalists
from nas.temporal.block_scores import BlockScores
from nas.temporal.deliver import deliver, hand_over
from nas.temporal.halving import trained_by_halving
from nas.temporal.inputs import Inputs, open_inputs
from nas.temporal.learned import Learned
from nas.temporal.quality import Quality, elsewhere
from nas.temporal.settings import Settings
from nas.temporal.words import told
from nas.training.training import trained_network, trained_supernet
from search_spaces import Architecture, SearchSpace
from supernet import Supernet, Validation, VideoUNet
from supernet.flow_matching import Denoiser


class TemporalTask:
    """Temporal blocks on an image U-Net; all that it is asked stands in its `Settings`."""

    def opened(
        self, folder: RunFolder, progress: Progress, *, evaluates: bool = True
    ) -> "OpenTemporalTask":
        """What the settings name, opened; the supernet hands over, whether it evaluates or not."""
        del evaluates
        assert isinstance(folder.settings, Settings)
        return OpenTemporalTask(open_inputs(folder.settings), folder, progress)


class OpenTemporalTask:
    """The main job, opened for one run."""

    def __init__(self, inputs: Inputs, folder: RunFolder, progress: Progress) -> None:
        self._inputs = inputs
        self._settings = cast("Settings", folder.settings)
        self._folder = folder
        self._progress = progress
        self._costs: BlockCosts | None = None
        self._scores = BlockScores(folder.file("guesses.json"), progress)
        self._learned: Learned | None = None
        self._trained: dict[Architecture, VideoUNet] = {}

    @property
    def space(self) -> SearchSpace:
        """The architectures."""
        return self._inputs.space

    @property
    def strategy(self) -> strategies.Strategy:
        """Proposes networks."""
        return self._inputs.strategy

    @property
    def own_stages(self) -> int:
        """Trace, measure, train twice, score, race, train on, compare: those that are asked for."""
        settings = self._settings
        return (
            2
            + (settings.finalists > 1)
            + (settings.device == HOST)
            + 2 * (settings.supernet is None)
            + settings.scores_blocks
            + settings.trains_finalists
            + settings.trains_winner
        )

    def limits(self) -> Limits:
        """The budgets, on devices that are known or measured now."""
        inputs, traced, say = self._inputs, self._traced, self._progress.say
        device = inputs.device or self._measured_here()
        costs = [BlockCosts(traced, each) for each in (device, *inputs.others)]
        energy = BlockCosts(traced, inputs.energy) if inputs.energy else None
        self._costs = costs[0]
        limits = resolve(self._settings.budget, *costs, energy=energy, feasibility=ADDITIVE)
        if limits.memory_mb is None and inputs.device is not None:
            say(
                f"{device.name} names no memory limit, so nothing is excluded for it; a budget "
                "of memory would, or memory_limit_mb in the device's file"
            )
        if limits.memory_mb is not None:
            large = {block for each in costs for block in each.too_large(limits.memory_mb)}
            if large:
                say(excluded(sorted(large), limits.memory_mb))
        return limits

    def problem(self, limits: Limits) -> Problem:
        """What is searched; a proxy where blocks are scored."""
        settings = self._settings
        problem = limits.problem(settings.objectives, settings.seed, goal=settings.asked_goal())
        problem = replace(problem, fidelity=settings.fidelity)
        if settings.scores_blocks:
            problem = replace(problem, proxy=self._scores)
            self._scores.wanted = strategies.scoring_set(problem)  # refuses what it cannot list
        return problem

    def prepare(self) -> None:
        """Train the supernet, or open the one that was given."""
        inputs, plan, folder = self._inputs, self._settings.plan, self._folder
        supernet = inputs.supernet
        if supernet is None:
            backbone, file = (folder.file(f"{n}.safetensors") for n in ("backbone", "supernet"))
            if self._settings.backbone and not inputs.has_twin:
                backbone = Path(self._settings.backbone)
            supernet = trained_supernet(
                inputs.learned, plan, inputs.recipe, backbone, file, self._progress, folder.timed
            )
            check_supernet(file, inputs.made_with, plan.data)  # trained before, perhaps
        self._learned = Learned(supernet)

    def evaluator(self, workers: Workers | None) -> Evaluator:
        """Paths of the supernet on validation clips, in this process or others."""
        if workers is None:
            return Serial(self._quality)
        settings = self._settings
        make, weights = elsewhere(self._supernet, settings.plan.data, settings.validation_clips)
        return workers.started(make, weights)

    def begin(self, study: Study) -> None:
        """Score blocks, and let the search begin with their best arrangements."""
        settings = self._settings
        if not settings.scores_blocks:
            return
        with self._folder.timed("guess"):
            self._scores.make(self._supernet, self._inputs.splits["validation"])
        wanted = min(settings.warm_start, settings.trials)
        if len(study.finished()) >= wanted:
            return
        first = strategies.warm_start(study.problem, wanted)
        if len(first) < wanted:
            self._progress.say(f"warm start: found {len(first)} of {wanted} networks to begin with")
        study.start_with(first)

    def rivals(self, limits: Limits, problem: Problem) -> list[Found]:
        """The best network of one block in every slot, where one keeps the limits."""
        best = finalists.best_uniform(self._inputs.space, limits, self._quality, problem)
        return [] if best is None else [best]

    def chosen(self, problem: Problem, *groups: list[Found]) -> Found:
        """The best of all that was evaluated, by a race of the best few."""
        settings, progress = self._settings, self._progress
        racing = finalists.entrants(settings.finalists, *groups)
        self._folder.results.pop("finalists", None)
        if settings.finalists < 2 or len(racing) < 2:
            if settings.finalists > 1:
                progress.skip("finalists", "there is only one")
            return winner(racing)
        paths: dict[Architecture, Denoiser]
        paths = {each.architecture: self._supernet.path(each.architecture) for each in racing}
        if settings.trains_finalists:
            self._trained = self._trained_on(list(paths))
            paths = dict(self._trained)
        clips, data = settings.finalist_clips, self._inputs.splits["validation"]
        title = f"finalists: {len(racing)} networks on {clips} clips at most"
        shown = progress.stage(title, len(racing) * clips)
        with self._folder.timed("finalists", again=True), shown as advance:
            verdict = finalists.race(paths, clips, data, advance)
        self._folder.results["finalists"] = finalists.summary(verdict, racing)
        if not verdict.decided:
            progress.say(
                f"finalists: {clips} clips of each do not tell the best of them apart; more would"
            )
        return next(network for network in racing if network.architecture == verdict.best)

    def finish(self, winner: Architecture) -> None:
        """Extract the winner, and train it on by itself where that was asked for.

        A twin's winner is not: the network that is delivered is another, of full size.
        """
        settings, supernet = self._settings, self._supernet
        network = self._trained.get(winner) or supernet.extract(winner).eval()
        if settings.trains_winner:
            network = trained_network(
                network,
                self._inputs.space,
                winner,
                settings.plan,
                settings.winner_steps,
                self._folder.file("winner.safetensors"),
                self._progress,
                self._folder.timed,
            )
        trained = settings.trains_winner or winner in self._trained
        self._learned = Learned(supernet, network, trained)

    def deliver(self, outcome: Outcome) -> dict[str, Any]:
        """Compare on test clips, report, and hand over."""
        assert self._learned is not None
        assert self._costs is not None
        return deliver(
            self._folder, self._inputs, outcome, self._costs, self._learned, self._progress
        )

    def hand_over(self, outcome: Outcome, out: Path) -> None:
        """Write a bundle of one trial, with the supernet's weights."""
        assert self._costs is not None
        hand_over(
            self._folder, self._inputs, outcome, self._costs, self._supernet, self._progress, out
        )

    def told(self, summary: dict[str, Any]) -> Told:
        """The summary in words."""
        return told(summary, self._folder.path)

    def _measured_here(self) -> Device:
        space, traced = self._inputs.space, self._traced
        blocks = profiling.plan_blocks(space, profiling.block_names(space))
        return HostProfile(
            space,
            partial(profiling.plan_networks, space),
            {"blocks": blocks},
            partial(profiling.measurements_of, costs=traced),
            self._folder,
            self._progress,
        ).device()

    @cached_property
    def _traced(self) -> SpaceCosts:
        """What every block of the space costs on any device, traced now."""
        costs = SpaceCosts(self._inputs.space)
        shown = self._progress.stage("trace the blocks", len(costs.pieces))
        with self._folder.timed("trace"), shown as advance:
            costs.trace_all(advance)
        return costs

    def _trained_on(self, architectures: Sequence[Architecture]) -> dict[Architecture, VideoUNet]:
        """The finalists, each trained on by itself."""
        settings, stage = self._settings, "train the finalists on"
        validation = Validation(
            self._inputs.splits["validation"], settings.validation_clips, finalists.SEED
        )
        shown = self._progress.stage(stage, settings.finalist_steps)
        with self._folder.timed(stage), shown as advance:
            return trained_by_halving(
                architectures,
                settings.finalist_steps,
                self._supernet,
                self._inputs.space,
                settings.plan,
                validation,
                self._folder.file,
                advance,
            )

    @property
    def _supernet(self) -> Supernet:
        assert self._learned is not None, "prepared first"
        return self._learned.supernet

    @cached_property
    def _quality(self) -> Quality:
        clips = self._settings.validation_clips
        return Quality(self._supernet, Validation(self._inputs.splits["validation"], clips))


def excluded(blocks: Sequence[str], memory_mb: float) -> str:
    """How many blocks fit in no network, by slot and operator."""
    counts: dict[str, Counter[str]] = {}
    for each in blocks:
        slot, _, block = each.partition("=")
        counts.setdefault(slot, Counter())[block.partition("(")[0]] += 1
    listed = "; ".join(
        f"{slot}: {', '.join(f'{count} {name}' for name, count in found.items())}"
        for slot, found in counts.items()
    )
    return f"excluded, as they pass {memory_mb:g} MB: {len(blocks)} blocks ({listed})"
