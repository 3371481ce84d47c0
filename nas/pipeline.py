"""The main job: measure, train, search, compare, hand over. Each stage picks up where it was left.

Latency comes first: it depends on shapes alone, so a budget that nothing keeps is refused before
a minute is spent on training.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import latency
from latency import Device
from latency.shipped import HOST, load_device
from latency.sources.torch_host import Protocol, host_facts, measure
from nas import bundle, profiling, report, strategies
from nas.budget import Limits, describe, resolve
from nas.costs import Costs, SpaceCosts, clip_inputs, layout
from nas.preview import preview_gif
from nas.progress import Progress
from nas.run_folder import RunFolder, Settings
from nas.study import Evaluated, Study, front, sqlite, winner
from search_spaces import Architecture, InputError, TemporalSpace, document, load, read_table
from supernet import Supernet, Validation, load_backbone, load_supernet
from supernet.pretraining import train_backbone, train_supernet
from supernet.recipes import load_recipe

NETWORK_PROTOCOL = Protocol(rounds=10, runs_per_visit=3)
STAGES = 7  # what a whole run shows progress of


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    path: Path
    winner: Evaluated
    front: list[Evaluated]
    evaluated: list[Evaluated]
    summary: dict[str, Any]


def search(
    out: str | Path,
    settings: Settings | None = None,
    *,
    resume: bool = False,
    storage: str | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for the best network inside the budget, and leave a run folder.

    Raises:
        InputError: bad settings, a budget below the fastest network, or an existing folder.
    """
    settings = settings or Settings()
    space = temporal(load(settings.space))
    folder = RunFolder(Path(out), settings, resume=resume)
    job = _Job(space, settings, folder, progress or Progress(STAGES))
    strategy = strategies.load_strategy(settings.strategy)
    recipe = load_recipe(settings.recipe)
    given = Path(settings.supernet) if settings.supernet else None
    supernet = load_supernet(given, space) if given else None
    known = None if settings.device == HOST else load_device(settings.device)
    with folder.locked():
        folder.save()
        device = known or job.profiled_host()
        limits = resolve(settings.budget, Costs(job.space_costs, device))
        supernet = supernet or job.trained_supernet(recipe)
        quality = _Quality(supernet, Validation(space.unet, settings.validation_clips))
        url = storage or sqlite(folder.file("study.db"))
        evaluated = job.searched(url, limits, strategy, quality)
        picks = job.random_picks(url, limits, quality)
        return job.handed_over(limits, supernet, evaluated, picks)


def temporal(space: object) -> TemporalSpace:
    """A space with a U-Net; InputError for one of names alone."""
    if not isinstance(space, TemporalSpace):
        name = getattr(space, "name", space)
        raise InputError(f"space {name!r} has no U-Net to put blocks in; this needs one that has")
    return space


class _Quality:
    """Validation loss of a path of the supernet; each architecture is evaluated once."""

    def __init__(self, supernet: Supernet, validation: Validation) -> None:
        self._supernet = supernet
        self._validation = validation
        self.known: dict[Architecture, float] = {}

    def __call__(self, architecture: Architecture) -> float:
        if architecture not in self.known:
            losses = self._validation.losses(path(self._supernet, architecture))
            self.known[architecture] = float(losses.mean())
        return self.known[architecture]


def path(supernet: Supernet, architecture: Architecture) -> Callable[..., torch.Tensor]:
    """One architecture's way through a supernet, as a denoiser."""

    def denoise(
        x_BCTHW: torch.Tensor, time_B: torch.Tensor, context_BLC: torch.Tensor
    ) -> torch.Tensor:
        predicted: torch.Tensor = supernet(x_BCTHW, time_B, context_BLC, architecture)
        return predicted

    return denoise


@dataclass
class _Job:
    """The stages of one run."""

    space: TemporalSpace
    settings: Settings
    folder: RunFolder
    progress: Progress

    def __post_init__(self) -> None:
        self.space_costs = SpaceCosts(self.space)

    def profiled_host(self) -> Device:
        """Measure every block and some networks here; others, unseen, judge the predictions."""
        title = "measure this machine"
        files = [self.folder.file(f"measured/{n}.csv") for n in ("blocks", "networks", "unseen")]
        if all(file.exists() for file in files):
            self.progress.skip(title, "measured before")
        else:
            with self.folder.timed("measure"):
                self._measure(title, *files)
        return self._calibrated(*files)

    def _measure(self, title: str, blocks: Path, networks: Path, unseen: Path) -> None:
        space, settings = self.space, self.settings
        count = settings.calibration_networks
        chosen = profiling.spread_out(space, count + settings.unseen_networks, settings.seed)
        fitted, judged = chosen[:count], chosen[count:]
        names = profiling.block_names(space)
        protocol = NETWORK_PROTOCOL
        total = profiling.visits(space, len(names), len(chosen), protocol)
        total += profiling.visits(space, 0, len(judged), protocol)
        with self.progress.stage(title, total) as advance:
            on_visit = _counter(advance)
            timed_blocks, timed = profiling.measure_space(space, names, chosen, protocol, on_visit)
            _, again = profiling.measure_space(space, [], judged, protocol, on_visit)
        profiling.write_blocks(blocks, timed_blocks)
        profiling.write_networks(networks, space, {a: timed[a] for a in fitted})
        second = {"again_ms": [again[a].latency_ms for a in judged]}
        profiling.write_networks(unseen, space, {a: timed[a] for a in judged}, second)

    def _calibrated(self, blocks: Path, networks: Path, unseen: Path) -> Device:
        """The device of this run's measurements, judged on the networks it has not seen."""
        space, costs = self.space, self.space_costs
        seen = [
            measurement
            for table in (read_table(blocks), read_table(networks, space))
            for measurement in profiling.measurements_of(table, "latency_ms", costs)
        ]
        device = latency.calibrate(seen, HOST, dict(host_facts()))
        table = read_table(unseen, space)
        judged = profiling.measurements_of(table, "latency_ms", costs)
        device = device.validated(judged, "held out")
        device.save(self.folder.file("device.json"))
        predicted = [device.predict(m.workload) for m in judged]
        self.folder.results["unseen"] = {
            "measured_ms": [m.latency_ms for m in judged],
            "again_ms": [float(ms) for ms in table.metric("again_ms")],
            "predicted_ms": [p.latency_ms for p in predicted],
            "low_ms": [p.low_ms for p in predicted],
            "high_ms": [p.high_ms for p in predicted],
        }
        return device

    def trained_supernet(self, recipe: Any) -> Supernet:
        """The image U-Net, then the supernet; each from its checkpoint where there is one."""
        backbone_file = self.folder.file("backbone.safetensors")
        supernet_file = self.folder.file("supernet.safetensors")
        plan = self.settings.plan
        if backbone_file.exists():
            self.progress.skip("train the image U-Net", "trained before")
            backbone = load_backbone(backbone_file, self.space)
        else:
            with (
                self.folder.timed("train the image U-Net"),
                self.progress.stage("train the image U-Net", plan.image_steps) as advance,
            ):
                backbone = train_backbone(
                    self.space, plan, backbone_file, lambda step, _: advance(step)
                )
        if supernet_file.exists():
            self.progress.skip("train the supernet", "trained before")
            return load_supernet(supernet_file, self.space)
        with (
            self.folder.timed("train the supernet"),
            self.progress.stage("train the supernet", plan.video_steps) as advance,
        ):
            return train_supernet(
                self.space, backbone, plan, supernet_file, lambda step, _: advance(step), recipe
            )

    def searched(
        self, storage: str, limits: Limits, strategy: strategies.Strategy, quality: _Quality
    ) -> list[Evaluated]:
        """The trials of the search; every finished one stands in the storage."""
        return self._study("search", "search", storage, limits, strategy, quality)

    def random_picks(self, storage: str, limits: Limits, quality: _Quality) -> list[Evaluated]:
        """As many random networks inside the budget, for comparison."""
        title = "random picks, to compare"
        return self._study("random picks", title, storage, limits, strategies.random, quality)

    def _study(
        self,
        name: str,
        title: str,
        storage: str,
        limits: Limits,
        strategy: strategies.Strategy,
        quality: _Quality,
    ) -> list[Evaluated]:
        study = Study(name, storage, limits, strategy, self.settings.seed)
        finished = study.finished()
        quality.known |= {found.architecture: found.loss for found in finished}
        trials = self.settings.trials
        with self.folder.timed(name), self.progress.stage(title, trials) as advance:
            count = _counter(advance, len(finished))
            evaluated = study.run(trials, quality, lambda _: count())
        if len(evaluated) < trials:
            self.progress.say(
                f"{name}: all {len(evaluated)} networks inside the budget are evaluated; "
                f"there are no {trials}"
            )
        return evaluated

    def handed_over(
        self, limits: Limits, supernet: Supernet, evaluated: list[Evaluated], picks: list[Evaluated]
    ) -> SearchResult:
        """Compare on test clips, write tables and pictures, report and bundle."""
        folder, space = self.folder, self.space
        best = winner(evaluated)
        named = {
            "winner": best.architecture,
            "image network": space.uniform(space.parse_block("none")),
            "slowest network": limits.costs.slowest,
            "best random pick": winner(picks).architecture,
        }
        with folder.timed("compare"):
            compared = self._compared(named, limits, supernet)
        network = supernet.extract(best.architecture).eval()
        with folder.timed("export"), self.progress.stage("export and report", 3) as advance:
            programs = bundle.export_programs(network, space, best.architecture)
            advance(1)
            gif = preview_gif(network, space, self.settings.seed)
            advance(2)
            self._write_trials(evaluated, limits)
            summary = self._summary(best, evaluated, picks, limits, compared)
            folder.results |= summary
            folder.save()
            html = report.write(folder, self.space, evaluated, picks, gif)
            bundle.write_bundle(
                folder.file("bundle"),
                network,
                best.architecture,
                programs,
                latency_of(best.architecture, limits),
                {"space": space.to_json(), "settings": _public(self.settings)},
                gif,
                html,
            )
            advance(3)
        return SearchResult(folder.path, best, front(evaluated), evaluated, summary)

    def _compared(
        self, named: dict[str, Architecture], limits: Limits, supernet: Supernet
    ) -> list[dict[str, Any]]:
        """Test loss (clips that nothing was chosen on) and measured latency, side by side."""
        settings = self.settings
        exam = Validation(self.space.unet, settings.test_clips, "test", settings.seed + 1)
        losses = {}
        with self.progress.stage("compare on test clips", len(named)) as advance:
            for done, (name, architecture) in enumerate(named.items(), start=1):
                losses[name] = exam.losses(path(supernet, architecture))
                advance(done)
        measured_ms = self._measured(named) if settings.device == HOST else {}
        rows = []
        for name, architecture in named.items():
            paired = losses[name] - losses["winner"]
            error = float(paired.std() / np.sqrt(len(paired))) if len(paired) > 1 else 0.0
            predicted = limits.costs.network_ms(architecture)
            rows.append(
                {
                    "network": name,
                    "layout": describe(limits.costs, architecture),
                    "test_loss": float(losses[name].mean()),
                    "above_winner": float(paired.mean()),
                    "above_winner_error": error,
                    "predicted_ms": predicted.latency_ms,
                    "low_ms": predicted.low_ms,
                    "high_ms": predicted.high_ms,
                    "measured_ms": measured_ms.get(name),
                    "parameters": limits.costs.parameters(architecture),
                    "memory_mb": limits.costs.memory_mb(architecture),
                }
            )
        return rows

    def _measured(self, named: dict[str, Architecture]) -> dict[str, float]:
        """Latency of the named networks on this machine, measured together."""
        from supernet import VideoUNet

        networks = {name: VideoUNet(self.space, a).eval() for name, a in named.items()}
        inputs = clip_inputs(self.space)
        runs = {name: _calling(network, inputs) for name, network in networks.items()}
        return {name: t.latency_ms for name, t in measure(runs, NETWORK_PROTOCOL).items()}

    def _write_trials(self, evaluated: list[Evaluated], limits: Limits) -> None:
        names = [choice.name for choice in self.space.choices]
        rows = [
            {
                "trial": found.trial,
                "strategy": self.settings.strategy,
                "seed": self.settings.seed,
                **{name: found.architecture.get(name, "") for name in names},
                "validation_loss": found.loss,
                "latency_ms": found.latency_ms,
                "parameters_count": limits.costs.parameters(found.architecture),
                "memory_mb": limits.costs.memory_mb(found.architecture),
            }
            for found in evaluated
        ]
        csv = pd.DataFrame(rows).to_csv(index=False)
        document.write_atomically(self.folder.file("trials.csv"), csv)

    def _summary(
        self,
        best: Evaluated,
        evaluated: list[Evaluated],
        picks: list[Evaluated],
        limits: Limits,
        compared: list[dict[str, Any]],
    ) -> dict[str, Any]:
        validation = limits.costs.device.validation
        return {
            "space": self.space.name,
            "device": limits.costs.device.name,
            "budget_ms": limits.latency_ms if np.isfinite(limits.latency_ms) else None,
            "steps": self.settings.budget.steps,
            "winner": layout(self.space, best.architecture),
            "winner_trial": best.trial,
            "validation_loss": best.loss,
            "latency_ms": best.latency_ms,
            "per_slot_ms": limits.costs.per_slot_ms(best.architecture),
            "image_ms": limits.costs.image_ms,
            "trials": len(evaluated),
            "random_picks": len(picks),
            "front": [e.trial for e in front(evaluated)],
            "compared": compared,
            "prediction": asdict(validation) if validation else None,
        }


def latency_of(architecture: Architecture, limits: Limits) -> dict[str, Any]:
    """The `latency.json` of a bundle."""
    costs = limits.costs
    predicted = costs.network_ms(architecture)
    return {
        "device": costs.device.name,
        "facts": costs.device.facts,
        "network": asdict(predicted),
        "steps": limits.budget.steps,
        "fixed_ms": limits.budget.fixed_ms,
        "pipeline_ms": limits.pipeline_ms(architecture),
        "image_ms": costs.image_ms,
        "slots": {
            slot: {"block": block, "added_ms": costs.per_slot_ms(architecture)[slot]}
            for slot, block in layout(costs.space, architecture).items()
        },
        "parameters": costs.parameters(architecture),
        "memory_mb": costs.memory_mb(architecture),
    }


def _public(settings: Settings) -> dict[str, Any]:
    """Settings without the paths of somebody's machine."""
    plain = asdict(settings)
    for name in ("space", "device", "supernet"):
        value = plain[name]
        plain[name] = Path(value).name if isinstance(value, str) else value
    return plain


def _counter(advance: Callable[[int], None], start: int = 0) -> Callable[[], None]:
    done = start
    advance(done)

    def count() -> None:
        nonlocal done
        done += 1
        advance(done)

    return count


def _calling(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    return lambda: module(*inputs)
