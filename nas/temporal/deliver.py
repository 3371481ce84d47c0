"""After the search: write the tables, the pictures, the report and the bundle."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nas import bundle
from nas.costs.block_costs import BlockCosts, layout
from nas.costs.limits import Limits
from nas.costs.part_rows import part_rows
from nas.costs.published import published_beside
from nas.pipeline.contract import Outcome
from nas.pipeline.summary import public, summary_of, write_trials
from nas.pipeline.verdict import verdict
from nas.pipeline.worth import worth
from nas.progress import Progress
from nas.run.run_folder import RunFolder
from nas.temporal import report
from nas.temporal.anchors import anchors
from nas.temporal.comparison import Comparison
from nas.temporal.inputs import Inputs
from nas.temporal.learned import INHERITED, Learned
from nas.temporal.preview import preview_gif
from nas.temporal.settings import Settings
from search_spaces import Architecture, TemporalSpace
from supernet import Supernet, VideoUNet, open_backbone
from temporal_bundle.made_with import MADE_WITH


def deliver(
    folder: RunFolder,
    inputs: Inputs,
    outcome: Outcome,
    costs: BlockCosts,
    learned: Learned,
    progress: Progress,
) -> dict[str, Any]:
    """Write everything that a finished run leaves; the summary comes back.

    Where quality was searched in a twin, the clips are the twin's, and the bundle holds the network
    of the space itself.
    """
    settings, best = inputs.settings, outcome.winner.architecture
    comparison = Comparison(inputs, outcome, costs, learned, anchors(folder, inputs.space))
    with folder.timed("compare", again=True):
        judged = comparison.judged(progress)
        compared = comparison.rows(judged)
        clips = comparison.samples.drawn(learned.winner)
    with progress.stage("export and report", 3) as advance:
        with folder.timed("export", again=True):
            gif = preview_gif(clips, comparison.samples)
            advance(1)
            network, weights = _delivered(inputs, best, learned)
            programs = bundle.export_programs(network, inputs.space, best)
            advance(2)
        write_trials(folder, outcome)
        summary = {
            "objectives": list(settings.objectives),
            "weights": weights,
            "finalists": folder.results.get("finalists"),
            **_summary(outcome, costs, learned),
            "worth": worth(outcome, settings.strategy, comparison.search_above_random(judged)),
            "compared": compared,
            "drift": comparison.drift,
            "asked": comparison.asked(clips),
            "sampled": comparison.sampled,
        }
        summary["verdict"] = verdict(summary)
        folder.results |= summary
        folder.save()
        html = report.write(folder, inputs.space, outcome, gif)
        priced = latency_of(best, costs, outcome.limits)
        _write(folder.file("bundle"), inputs, best, network, weights, programs, priced, gif, html)
        advance(3)
    return summary


def hand_over(
    folder: RunFolder,
    inputs: Inputs,
    outcome: Outcome,
    costs: BlockCosts,
    supernet: Supernet,
    progress: Progress,
    out: Path,
) -> None:
    """Write a bundle of one trial, with the supernet's weights; its report is the run's."""
    best = outcome.winner.architecture
    learned = Learned(supernet, supernet.extract(best).eval())
    comparison = Comparison(inputs, outcome, costs, learned)
    with progress.stage("export", 2) as advance:
        gif = preview_gif(comparison.samples.drawn(learned.winner), comparison.samples)
        advance(1)
        network, weights = _delivered(inputs, best, learned)
        programs = bundle.export_programs(network, inputs.space, best)
        priced = latency_of(best, costs, outcome.limits)
        html = folder.file("report.html").read_text(encoding="utf-8")
        _write(out, inputs, best, network, weights, programs, priced, gif, html)
        advance(2)


def _write(
    path: Path,
    inputs: Inputs,
    architecture: Architecture,
    network: VideoUNet,
    weights: str,
    programs: bundle.Programs,
    priced: dict[str, Any],
    gif: bytes,
    html: str,
) -> None:
    """Write the bundle of a network, and what its weights are."""
    study = {
        "space": inputs.space.to_json(),
        "settings": _public(inputs.settings),
        "weights": weights,
        # What a twin stood for has learned from no clips.
        MADE_WITH: {} if inputs.has_twin else inputs.made_with,
    }
    bundle.write_bundle(
        path, network, inputs.space, architecture, programs, priced, study, gif, html
    )


def _delivered(inputs: Inputs, best: Architecture, learned: Learned) -> tuple[VideoUNet, str]:
    """The network that the bundle holds, and what its weights are."""
    settings = inputs.settings
    if inputs.has_twin:
        return full_size(inputs.space, best, settings)
    if not learned.trained:
        return learned.winner, INHERITED
    said = ["as a finalist"] * settings.trains_finalists
    said += [f"for {settings.winner_steps} steps"] * settings.trains_winner
    return learned.winner, f"{INHERITED}, then trained on by itself {', and then '.join(said)}"


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


def _summary(outcome: Outcome, costs: BlockCosts, learned: Learned) -> dict[str, Any]:
    best = outcome.winner
    return {
        **summary_of(outcome),
        "winner": dict(layout(costs.space, best.architecture)),
        "validation_loss": best.loss,
        "per_slot_ms": costs.per_slot_ms(best.architecture),
        "image_ms": costs.image_ms,
        "quality_space": learned.supernet.space.name,
        "published": published_beside(costs, outcome.limits),
    }


def latency_of(architecture: Architecture, costs: BlockCosts, limits: Limits) -> dict[str, Any]:
    """The `latency.json` of a bundle."""
    added_ms = costs.per_slot_ms(architecture)
    return {
        "device": costs.device.name,
        "facts": costs.device.facts,
        "network": asdict(costs.network_ms(architecture)),
        "steps": limits.budget.steps,
        "parts": part_rows(limits.targets[0].parts),
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
    plain = public(settings, ("twin", "backbone", "supernet"))
    plain["plan"]["data"] = Path(settings.plan.data).name
    return plain
