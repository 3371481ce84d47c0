"""The winner beside others, on test clips: what nothing was trained or chosen on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from latency.predictor.shipped import HOST
from latency.sources.contract import Inputs as NetworkInputs
from latency.sources.contract import Job, Protocol
from latency.sources.torch_host import TorchSource
from latency.sources.visits import gather, visits
from nas.costs.block_costs import BlockCosts
from nas.costs.modules import clip_inputs
from nas.pipeline.contract import Outcome
from nas.pipeline.worth import Difference, best_of
from nas.progress import Progress
from nas.report.report import BEST_OF
from nas.temporal.anchors import drift_of
from nas.temporal.inputs import Inputs
from nas.temporal.learned import Learned
from search_spaces import NONE, Architecture, Block
from supernet import Supernet, Validation, VideoUNet
from supernet.evaluation.sampling import Samples
from supernet.evaluation.temporal_metrics import Measured, Playback
from supernet.flow_matching import Denoiser

WINNER, TRAINED, IMAGE = "winner", "winner, trained on", "image network"
UNIFORM, SLOWEST = "best uniform layout", "slowest network"
PLAYED_CLIPS, SAMPLED_CLIPS = 32, 64
PROTOCOL = Protocol(rounds=6, runs_per_visit=4)


@dataclass(frozen=True)
class Judged:
    """A network on test clips: the loss of each, and how those that it makes move."""

    loss_B: Tensor
    played: dict[str, Measured]


@dataclass(frozen=True)
class Comparison:
    """Networks side by side.

    Args:
        inputs: of the search.
        outcome: what it came to.
        costs: of networks on the main device.
        learned: what training left.
        anchors: networks that were measured when this machine was calibrated, and their ms then.
    """

    inputs: Inputs
    outcome: Outcome
    costs: BlockCosts
    learned: Learned
    anchors: Mapping[Architecture, float] = field(default_factory=dict)

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """What is compared, by name, all with the weights of the supernet; the winner first."""
        outcome, space = self.outcome, self.inputs.space
        named = {WINNER: outcome.winner.architecture}
        if NONE in space.operators:
            named[IMAGE] = space.uniform(Block(NONE))
        named |= {BEST_OF[side]: best.architecture for side, best in best_of(outcome).items()}
        for rival in outcome.rivals:
            named[UNIFORM] = rival.architecture
        named[SLOWEST] = self.costs.slowest
        return named

    @cached_property
    def samples(self) -> Samples:
        """What is generated to be looked at, and to be searched for what was asked for."""
        settings = self.inputs.settings
        clips = min(SAMPLED_CLIPS, settings.test_clips)
        return Samples(self.inputs.splits["test"], clips, settings.seed + 3)

    def judged(self, progress: Progress) -> dict[str, Judged]:
        """What each network does on test clips."""
        settings, test = self.inputs.settings, self.inputs.splits["test"]
        playback = Playback(test, min(PLAYED_CLIPS, settings.test_clips), settings.seed + 2)
        found: dict[str, Judged] = {}
        with progress.stage("compare on test clips", len(self._networks)) as advance:
            for done, (name, network) in enumerate(self._networks.items(), start=1):
                # Several names may be one network's: the winner is the best of somebody.
                same = next(n for n, each in self._networks.items() if each == network)
                if same == name:
                    denoiser = self._denoiser(network)
                    played = playback.measure(denoiser, self.inputs.metrics)
                    found[name] = Judged(self._exam.losses(denoiser), played)
                found[name] = found[same]
                advance(done)
        return found

    def search_above_random(self, judged: Mapping[str, Judged]) -> Difference:
        """The test loss of the search's best less that of the best random pick, paired."""
        searched, picked = (judged[BEST_OF[side]].loss_B for side in ("search", "random"))
        apart = self._exam.estimate(searched - picked)
        error = apart.error if np.isfinite(apart.error) else None
        return Difference("test_loss", apart.value, error, "test clips")

    def rows(self, judged: Mapping[str, Judged]) -> list[dict[str, Any]]:
        """Test loss, motion and latency of each network, for run.json and the report."""
        settings, exam = self.inputs.settings, self._exam
        winner_B = judged[WINNER].loss_B
        measured_ms = self._measured if settings.device == HOST else {}
        return [
            {
                "network": name,
                "layout": self.costs.describe(self._architecture(name)),
                "test_loss": exam.estimate(each.loss_B).value,
                "test_loss_error": exam.estimate(each.loss_B).error,
                "above_winner": exam.estimate(each.loss_B - winner_B).value,
                "above_winner_error": exam.estimate(each.loss_B - winner_B).error,
                "playback": {metric: _finite(found) for metric, found in each.played.items()},
                **self._costs(self._architecture(name)),
                "measured_ms": measured_ms.get(self._architecture(name)),
            }
            for name, each in judged.items()
        ]

    @cached_property
    def _exam(self) -> Validation:
        settings = self.inputs.settings
        return Validation(self.inputs.splits["test"], settings.test_clips, settings.seed + 1)

    @property
    def sampled(self) -> dict[str, float]:
        """How clips were generated to be looked at."""
        samples = self.samples
        return {"clips": samples.clips, "steps": samples.steps, "guidance": samples.guidance}

    def asked(self, x_BCTHW: Tensor) -> dict[str, Any] | None:
        """How much of what was asked for is in generated clips, and in the data's own."""
        samples = self.samples
        found, own = samples.found(x_BCTHW), samples.found(samples.real.x_BCTHW)
        if found is None or own is None:
            return None
        return {
            "what": samples.what,
            "clips": samples.clips,
            "found": asdict(found),
            "data": asdict(own),
        }

    @property
    def _networks(self) -> dict[str, Architecture | VideoUNet]:
        """What is compared: with the supernet's weights, and the winner as it was trained on."""
        first, *others = self.architectures.items()
        trained = [(TRAINED, self.learned.winner)] if self.learned.trained else []
        return dict([first, *trained, *others])

    def _denoiser(self, network: Architecture | VideoUNet) -> Denoiser:
        if isinstance(network, VideoUNet):
            return network
        return self.learned.supernet.path(network)

    def _architecture(self, name: str) -> Architecture:
        return self.architectures[WINNER if name == TRAINED else name]

    def _costs(self, architecture: Architecture) -> dict[str, Any]:
        costs = self.costs
        predicted = costs.network_ms(architecture)
        beside = costs.network_ms(architecture, same_hour=True)
        return {
            "predicted_ms": predicted.latency_ms,
            "low_ms": predicted.low_ms,
            "high_ms": predicted.high_ms,
            "same_hour_ms": [beside.low_ms, beside.high_ms],
            "parameters": costs.parameters(architecture),
            "memory_mb": costs.memory_mb(architecture),
        }

    @property
    def drift(self) -> dict[str, Any] | None:
        """How this machine differs from when it was calibrated; None where it was not, here."""
        if not self.anchors or self.inputs.settings.device != HOST:
            return None
        return asdict(drift_of(self.anchors, self._measured))

    @cached_property
    def _measured(self) -> dict[Architecture, float]:
        """Latency of the networks and of the anchors on this machine, measured together."""
        supernet = self.learned.supernet
        networks = dict.fromkeys([*self.architectures.values(), *self.anchors])
        jobs = {str(each): Job(partial(_extracted, supernet, each)) for each in networks}
        measured = gather(visits(TorchSource(), jobs, PROTOCOL))
        return {each: measured[str(each)].timing.latency_ms for each in networks}


def _extracted(supernet: Supernet, architecture: Architecture) -> tuple[nn.Module, NetworkInputs]:
    return supernet.extract(architecture), clip_inputs(supernet.space)


def _finite(found: Measured) -> dict[str, float | None]:
    """As JSON, which has no word for what is not a number: the share of data that stands still."""
    numbers = {"value": found.value, "error": found.error}
    return {n: v if v is not None and np.isfinite(v) else None for n, v in numbers.items()}
