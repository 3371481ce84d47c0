"""The winner beside others, on test clips: what nothing was trained or chosen on."""

from dataclasses import asdict, dataclass
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
from nas.progress import Progress
from nas.run.results import winner
from nas.temporal.inputs import Inputs
from nas.temporal.learned import Learned
from search_spaces import NONE, Architecture, Block
from supernet import Supernet, Validation, VideoUNet
from supernet.evaluation.sampling import Samples
from supernet.evaluation.temporal_metrics import Measured, Playback
from supernet.flow_matching import Denoiser

WINNER, TRAINED, IMAGE = "winner", "winner, trained on", "image network"
SEARCHED, RANDOM, UNIFORM = "best of the search", "best random pick", "best uniform layout"
SLOWEST = "slowest network"
PLAYED_CLIPS, SAMPLED_CLIPS = 32, 64
PROTOCOL = Protocol(rounds=6, runs_per_visit=4)


@dataclass(frozen=True)
class Comparison:
    """Networks side by side.

    Args:
        inputs: of the search.
        outcome: what it came to.
        costs: of networks on the main device.
        learned: what training left.
    """

    inputs: Inputs
    outcome: Outcome
    costs: BlockCosts
    learned: Learned

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """What is compared, by name, all with the weights of the supernet; the winner first."""
        outcome, space = self.outcome, self.inputs.space
        named = {WINNER: outcome.winner.architecture}
        if NONE in space.operators:
            named[IMAGE] = space.uniform(Block(NONE))
        named[SEARCHED] = winner(outcome.evaluated).architecture
        named[RANDOM] = winner(outcome.picks).architecture
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

    def rows(self, progress: Progress) -> list[dict[str, Any]]:
        """Test loss, motion and latency of each network, for run.json and the report."""
        settings, test = self.inputs.settings, self.inputs.splits["test"]
        exam = Validation(test, settings.test_clips, settings.seed + 1)
        playback = Playback(test, min(PLAYED_CLIPS, settings.test_clips), settings.seed + 2)
        losses: dict[str, Tensor] = {}
        played: dict[str, dict[str, Measured]] = {}
        with progress.stage("compare on test clips", len(self._networks)) as advance:
            for done, (name, network) in enumerate(self._networks.items(), start=1):
                # Several names may be one network's: the winner is the best of somebody.
                same = next(n for n, each in self._networks.items() if each == network)
                if same == name:
                    denoiser = self._denoiser(network)
                    losses[name] = exam.losses(denoiser)
                    played[name] = playback.measure(denoiser, self.inputs.metrics)
                losses[name], played[name] = losses[same], played[same]
                advance(done)
        measured_ms = self._measured() if settings.device == HOST else {}
        return [
            {
                "network": name,
                "layout": self.costs.describe(self._architecture(name)),
                "test_loss": exam.estimate(loss_B).value,
                "test_loss_error": exam.estimate(loss_B).error,
                "above_winner": exam.estimate(loss_B - losses[WINNER]).value,
                "above_winner_error": exam.estimate(loss_B - losses[WINNER]).error,
                "playback": {metric: _finite(found) for metric, found in played[name].items()},
                **self._costs(self._architecture(name)),
                "measured_ms": measured_ms.get(self._architecture(name)),
            }
            for name, loss_B in losses.items()
        ]

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

    def _costs(self, architecture: Architecture) -> dict[str, float]:
        costs = self.costs
        predicted = costs.network_ms(architecture)
        return {
            "predicted_ms": predicted.latency_ms,
            "low_ms": predicted.low_ms,
            "high_ms": predicted.high_ms,
            "parameters": costs.parameters(architecture),
            "memory_mb": costs.memory_mb(architecture),
        }

    def _measured(self) -> dict[Architecture, float]:
        """Latency of the networks on this machine, measured together."""
        supernet = self.learned.supernet
        jobs = {
            str(architecture): Job(partial(_extracted, supernet, architecture))
            for architecture in self.architectures.values()
        }
        measured = gather(visits(TorchSource(), jobs, PROTOCOL))
        return {
            architecture: measured[str(architecture)].timing.latency_ms
            for architecture in self.architectures.values()
        }


def _extracted(supernet: Supernet, architecture: Architecture) -> tuple[nn.Module, NetworkInputs]:
    return supernet.extract(architecture), clip_inputs(supernet.space)


def _finite(found: Measured) -> dict[str, float | None]:
    """As JSON, which has no word for what is not a number: the share of data that stands still."""
    numbers = {"value": found.value, "error": found.error}
    return {n: v if v is not None and np.isfinite(v) else None for n, v in numbers.items()}
