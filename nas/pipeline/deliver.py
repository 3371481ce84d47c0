"""After the search: write the tables, the pictures, the report and the bundle."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nas import bundle
from nas.calibration.validated import status, trust
from nas.costs.costs import layout
from nas.costs.limits import Limits
from nas.costs.published import published_beside
from nas.pipeline.comparison import Comparison
from nas.pipeline.inputs import Inputs
from nas.pipeline.outcome import Outcome
from nas.progress import Progress
from nas.report import report
from nas.report.preview import preview_gif
from nas.run.results import Found, front
from nas.run.run_folder import RunFolder, Settings
from search_spaces import Architecture, TemporalSpace
from search_spaces.files import document
from supernet import VideoUNet, open_backbone

INHERITED = "inherited from the supernet"


def deliver(
    folder: RunFolder, inputs: Inputs, outcome: Outcome, progress: Progress
) -> dict[str, Any]:
    """Write everything that a finished run leaves; the summary comes back.

    Where quality was searched in a twin, the clips are the twin's, and the bundle holds the network
    of the space itself.
    """
    settings, best = inputs.settings, outcome.winner.architecture
    comparison = Comparison(inputs, outcome)
    with folder.timed("compare", again=True):
        compared = comparison.rows(progress)
        clips = comparison.samples.drawn(outcome.network)
    with progress.stage("export and report", 3) as advance:
        with folder.timed("export", again=True):
            gif = preview_gif(clips, comparison.samples)
            advance(1)
            network, weights = _delivered(inputs, outcome)
            programs = bundle.export_programs(network, inputs.space, best)
            advance(2)
        _write_trials(folder, outcome.evaluated, outcome.limits)
        summary = {
            "objectives": list(settings.objectives),
            "weights": weights,
            "finalists": folder.results.get("finalists"),
            **_summary(outcome),
            "compared": compared,
            "asked": comparison.asked(clips),
            "sampled": comparison.sampled,
        }
        folder.results |= summary
        folder.save()
        html = report.write(
            folder, inputs.space, outcome.evaluated, outcome.picks, outcome.winner, gif
        )
        study = {"space": inputs.space.to_json(), "settings": _public(settings), "weights": weights}
        bundle.write_bundle(
            folder.file("bundle"),
            network,
            inputs.space,
            best,
            programs,
            latency_of(best, outcome.limits),
            study,
            gif,
            html,
        )
        advance(3)
    return summary


def _delivered(inputs: Inputs, outcome: Outcome) -> tuple[VideoUNet, str]:
    """The network that the bundle holds, and what its weights are."""
    settings = inputs.settings
    if inputs.has_twin:
        return full_size(inputs.space, outcome.winner.architecture, settings)
    if not outcome.trained:
        return outcome.network, INHERITED
    trained = f"{INHERITED}, then trained on by itself for {settings.winner_steps} steps"
    return outcome.network, trained


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


def _summary(outcome: Outcome) -> dict[str, Any]:
    limits, best = outcome.limits, outcome.winner
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
        "winner_origin": best.origin,
        "validation_loss": best.loss,
        "latency_ms": best.latency_ms,
        "per_slot_ms": costs.per_slot_ms(best.architecture),
        "image_ms": costs.image_ms,
        "pipeline": _pipeline(limits, best.architecture),
        "device_status": f"{status(costs.device)}; {trust(costs.device)}",
        "quality_space": outcome.supernet.space.name,
        "published": published_beside(limits),
        "trials": len(outcome.evaluated),
        "random_picks": len(outcome.picks),
        "front": [found.trial for found in front(outcome.evaluated)],
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
