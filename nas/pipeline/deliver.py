"""After the search: compare the winner with others, write tables and pictures, report, bundle."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from latency.predictor.shipped import HOST
from latency.sources.contract import Inputs, Job, Protocol
from latency.sources.torch_host import TorchSource
from latency.sources.visits import gather, visits
from nas import bundle
from nas.calibration.validated import status, trust
from nas.costs.costs import layout
from nas.costs.limits import Limits
from nas.costs.modules import clip_inputs
from nas.costs.published import published_beside
from nas.costs.resolve import describe
from nas.evaluators.quality import Quality
from nas.progress import Progress
from nas.report import report
from nas.report.preview import preview_gif
from nas.run.results import Found, front, winner
from nas.run.run_folder import RunFolder, Settings
from search_spaces import NONE, Architecture, Block, TemporalSpace
from search_spaces.files import document
from supernet import ClipSource, Supernet, Validation, VideoUNet, open_backbone
from supernet.evaluation.temporal_metrics import Measured, Metric, Playback

WINNER, IMAGE, SLOWEST, RANDOM = "winner", "image network", "slowest network", "best random pick"
UNIFORM = "best uniform layout"
PLAYED_CLIPS = 32
INHERITED = "inherited from the supernet"
PROTOCOL = Protocol(rounds=12, runs_per_visit=4)


def hand_over(
    folder: RunFolder,
    limits: Limits,
    supernet: Supernet,
    evaluated: list[Found],
    picks: list[Found],
    best: Found,
    validation: Validation,
    data: ClipSource,
    metrics: dict[str, Metric],
    progress: Progress,
) -> dict[str, Any]:
    """Write everything that a finished run leaves; the summary comes back.

    `supernet` may be of a twin: it shows what the winner generates, and the bundle holds the
    network of the space itself. `validation` are the search's clips, `data` others, that nothing
    was trained or chosen on, `metrics` a user's own.
    """
    space, settings = limits.costs.space, folder.settings
    named = {WINNER: best.architecture}
    if NONE in space.operators:
        named[IMAGE] = space.uniform(Block(NONE))
    uniform = best_uniform(limits, Quality(supernet, validation))
    if uniform is not None:
        named[UNIFORM] = uniform
    named |= {SLOWEST: limits.costs.slowest, RANDOM: winner(picks).architecture}
    with folder.timed("compare", again=True):
        compared = _compared(named, limits, supernet, settings, data, metrics, progress)
    learned = supernet.extract(best.architecture).eval()
    with progress.stage("export and report", 3) as advance:
        with folder.timed("export", again=True):
            gif = preview_gif(learned, data, settings.seed)
            advance(1)
            network, weights = (learned, INHERITED)
            if supernet.space != space:
                network, weights = full_size(space, best.architecture, settings)
            programs = bundle.export_programs(network, space, best.architecture)
            advance(2)
        _write_trials(folder, evaluated, limits)
        summary = {
            "objectives": list(settings.objectives),
            "weights": weights,
            "finalists": folder.results.get("finalists"),
            **_summary(best, evaluated, picks, limits, compared, supernet.space),
        }
        folder.results |= summary
        folder.save()
        html = report.write(folder, space, evaluated, picks, best, gif)
        bundle.write_bundle(
            folder.file("bundle"),
            network,
            space,
            best.architecture,
            programs,
            latency_of(best.architecture, limits),
            {"space": space.to_json(), "settings": _public(settings), "weights": weights},
            gif,
            html,
        )
        advance(3)
    return summary


def best_uniform(limits: Limits, quality: Quality) -> Architecture | None:
    """The best network with one block in every slot: what a search must beat to be worth it.

    Of every operator the dearest that keeps all limits is evaluated; None where none keeps them.
    """
    space = limits.costs.space
    dearest: dict[str, tuple[float, Architecture]] = {}
    for block in space.blocks():
        architecture = space.uniform(block)
        if block.operator.module and limits.keeps(architecture):
            found = limits.pipeline_ms(architecture), architecture
            name = block.operator.name
            dearest[name] = max(dearest.get(name, found), found, key=lambda each: each[0])
    rivals = [architecture for _, architecture in dearest.values()]
    return min(rivals, key=quality, default=None)


def full_size(
    space: TemporalSpace, architecture: Architecture, settings: Settings
) -> tuple[VideoUNet, str]:
    """The network that a twin stood for, and what its weights are.

    The image U-Net's are those of the folder that was given, else random; the temporal blocks are
    fresh, and begin as the identity.
    """
    torch.manual_seed(settings.seed)
    if settings.backbone is None:
        return VideoUNet(space, architecture).eval(), "random: no image U-Net was given"
    folder = Path(settings.backbone)
    network = VideoUNet(space, architecture, open_backbone(folder, space.unet))
    return network.eval(), f"the image U-Net of {folder.name}, and temporal blocks without training"


def _compared(
    named: dict[str, Architecture],
    limits: Limits,
    supernet: Supernet,
    settings: Settings,
    data: ClipSource,
    metrics: dict[str, Metric],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Test loss (clips that nothing was chosen on), motion and measured latency, side by side."""
    exam = Validation(data, settings.test_clips, settings.seed + 1)
    playback = Playback(data, min(PLAYED_CLIPS, settings.test_clips), settings.seed + 2)
    losses, played = {}, {}
    with progress.stage("compare on test clips", len(named)) as advance:
        for done, (name, architecture) in enumerate(named.items(), start=1):
            losses[name] = exam.losses(supernet.path(architecture))
            played[name] = playback.measure(supernet.path(architecture), metrics)
            advance(done)
    measured_ms = _measured(named, supernet) if settings.device == HOST else {}
    rows = []
    for name, architecture in named.items():
        loss = exam.estimate(losses[name])
        behind = exam.estimate(losses[name] - losses[WINNER])
        predicted = limits.costs.network_ms(architecture)
        rows.append(
            {
                "network": name,
                "layout": describe(limits.costs, architecture),
                "test_loss": loss.value,
                "test_loss_error": loss.error,
                "above_winner": behind.value,
                "above_winner_error": behind.error,
                "playback": {metric: _finite(found) for metric, found in played[name].items()},
                "predicted_ms": predicted.latency_ms,
                "low_ms": predicted.low_ms,
                "high_ms": predicted.high_ms,
                "measured_ms": measured_ms.get(name),
                "parameters": limits.costs.parameters(architecture),
                "memory_mb": limits.costs.memory_mb(architecture),
            }
        )
    return rows


def _finite(found: Measured) -> dict[str, float | None]:
    """As JSON, which has no word for what is not a number: the share of data that stands still."""
    numbers = {"value": found.value, "error": found.error}
    return {n: v if v is not None and np.isfinite(v) else None for n, v in numbers.items()}


def _measured(named: dict[str, Architecture], supernet: Supernet) -> dict[str, float]:
    """Latency of the named networks on this machine, measured together."""
    jobs = {name: Job(partial(_extracted, supernet, a)) for name, a in named.items()}
    measured = gather(visits(TorchSource(), jobs, PROTOCOL))
    return {name: each.timing.latency_ms for name, each in measured.items()}


def _extracted(supernet: Supernet, architecture: Architecture) -> tuple[nn.Module, Inputs]:
    return supernet.extract(architecture), clip_inputs(supernet.space)


def _write_trials(folder: RunFolder, evaluated: list[Found], limits: Limits) -> None:
    names = [choice.name for choice in limits.costs.space.choices]
    architectures = [found.architecture for found in evaluated]
    measured = {name: meter(architectures) for name, meter in limits.meters.items()}
    measured["parameters_count"] = measured["parameters_count"].astype(int)
    rows = [
        {
            "trial": found.trial,
            "strategy": folder.settings.strategy,
            "seed": folder.settings.seed,
            **{name: found.architecture.get(name, "") for name in names},
            "validation_loss": found.loss,
            **{meter: column[index] for meter, column in measured.items()},
        }
        for index, found in enumerate(evaluated)
    ]
    csv = pd.DataFrame(rows).to_csv(index=False)
    document.write_atomically(folder.file("trials.csv"), csv)


def _summary(
    best: Found,
    evaluated: list[Found],
    picks: list[Found],
    limits: Limits,
    compared: list[dict[str, Any]],
    quality_space: TemporalSpace,
) -> dict[str, Any]:
    costs = limits.costs
    validation = costs.device.validation
    return {
        "space": costs.space.name,
        "device": costs.device.name,
        "budget_ms": limits.latency_ms if np.isfinite(limits.latency_ms) else None,
        "on": {
            target.costs.device.name: {
                "latency_ms": float(limits.pipelines_ms([best.architecture], target)[0]),
                "budget_ms": target.latency_ms if np.isfinite(target.latency_ms) else None,
            }
            for target in limits.targets
        },
        "steps": limits.budget.steps,
        "winner": dict(layout(costs.space, best.architecture)),
        "winner_trial": best.trial,
        "validation_loss": best.loss,
        "latency_ms": best.latency_ms,
        "per_slot_ms": costs.per_slot_ms(best.architecture),
        "image_ms": costs.image_ms,
        "pipeline": _pipeline(limits, best.architecture),
        "device_status": f"{status(costs.device)}; {trust(costs.device)}",
        "quality_space": quality_space.name,
        "published": published_beside(limits),
        "trials": len(evaluated),
        "random_picks": len(picks),
        "front": [found.trial for found in front(evaluated)],
        "compared": compared,
        "prediction": asdict(validation) if validation else None,
    }


def _pipeline(limits: Limits, architecture: Architecture) -> dict[str, Any]:
    """A clip on the main device, with bounds, and what the budget leaves for the network."""
    target, steps = limits.targets[0], limits.budget.steps
    network, left_ms = target.costs.network_ms(architecture), target.network_ms(steps)
    return {
        "parts": [asdict(part) for part in target.parts],
        "fixed_ms": target.fixed_ms,
        "low_ms": steps * network.low_ms + target.fixed_ms,
        "high_ms": steps * network.high_ms + target.fixed_ms,
        "network_budget_ms": left_ms if np.isfinite(left_ms) else None,
    }


def latency_of(architecture: Architecture, limits: Limits) -> dict[str, Any]:
    """The `latency.json` of a bundle."""
    costs = limits.costs
    added_ms = costs.per_slot_ms(architecture)
    return {
        "device": costs.device.name,
        "facts": costs.device.facts,
        "network": asdict(costs.network_ms(architecture)),
        "steps": limits.budget.steps,
        "parts": [asdict(part) for part in limits.targets[0].parts],
        "pipeline_ms": limits.pipeline_ms(architecture),
        "image_ms": costs.image_ms,
        "slots": {
            slot: {"block": block, "added_ms": added_ms[slot]}
            for slot, block in layout(costs.space, architecture).items()
        },
        "parameters": costs.parameters(architecture),
        "memory_mb": costs.memory_mb(architecture),
    }


def _public(settings: Settings) -> dict[str, Any]:
    """Settings without the paths of somebody's machine."""
    plain = asdict(settings)
    for name in ("space", "device", "twin", "backbone", "supernet", "energy"):
        value = plain[name]
        plain[name] = Path(value).name if isinstance(value, str) else value
    plain["other_devices"] = [Path(name).name for name in settings.other_devices]
    plain["plan"]["data"] = Path(settings.plan.data).name
    return plain
