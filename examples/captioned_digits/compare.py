"""Is a network that is asked by sentences obeyed as one that is asked by one-hot tokens?

    python -m examples.captioned_digits.compare OUT

Trains the same network twice, on the same clips, noise and times: with one-hot contexts, and with
encoded captions; the image U-Net on frames first, then all of it on clips. Both are asked for the
digits of the same test clips, in 25 guided steps from the same noise. Prints the share of the
digits asked for that are found, and the difference with its standard error over clips. Whatever
was trained is kept in OUT, and goes on where it was left.
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from examples.captioned_digits.space import SPACE
from nas.progress import Progress
from search_spaces import TemporalSpace
from search_spaces.shipped import moving_digits
from supernet import TrainingPlan, VideoUNet, load_backbone, train_backbone, train_network
from supernet.data.clips import recogniser_of
from supernet.data.loading import load_clips
from supernet.evaluation.sampling import Samples

# One of each kind, down the stages and up again.
BLOCKS = (
    "conv3d(kernel=3,width=1.0)", "self_attention1d(heads=4,width=1.0)",
    "cross_attention3d(heads=4,width=1.0)", "conv1d(kernel=3,width=1.0)",
    "conv3d(kernel=3,width=1.0)",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One way to ask."""

    name: str
    space: TemporalSpace
    data: str

    def trained(self, plan: TrainingPlan, folder: Path) -> VideoUNet:
        """The network, from its file where it was trained before."""
        backbone_file = folder / f"{self.name}.backbone.safetensors"
        progress, plan = Progress(), replace(plan, data=self.data)
        if not backbone_file.exists():
            with progress.stage(f"{self.name}: image U-Net", plan.image_steps) as advance:
                train_backbone(self.space, plan, backbone_file, lambda done, _: advance(done))
        architecture = self.space.arranged([self.space.parse_block(block) for block in BLOCKS])
        torch.manual_seed(plan.seed)
        network = VideoUNet(self.space, architecture, load_backbone(backbone_file, self.space))
        with progress.stage(f"{self.name}: network", plan.video_steps) as advance:
            return train_network(
                network, self.space, architecture, plan, plan.video_steps,
                folder / f"{self.name}.safetensors", lambda done, _: advance(done),
            )  # fmt: skip

    def found(self, network: VideoUNet | None, clips: int, seed: int) -> Tensor:
        """The share of the digits asked for that each clip shows (B,); None for the data's own."""
        source = load_clips(self.data, self.space.unet, "test")
        samples, recogniser = Samples(source, clips, seed), recogniser_of(source)
        assert recogniser is not None
        made = samples.real.x_BCTHW if network is None else samples.drawn(network)
        return recogniser.found(made, samples.real.context_BLC)


ONE_HOT = Side("one-hot", moving_digits.SPACE, "digits")
TEXT = Side("text", SPACE, "examples.captioned_digits.data:open_clips")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--image-steps", type=int, default=1800)
    parser.add_argument("--video-steps", type=int, default=2000)
    parser.add_argument("--clips", type=int, default=256, help="that are asked for")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    plan = TrainingPlan(
        image_steps=asked.image_steps, video_steps=asked.video_steps, seed=asked.seed
    )
    print(f"{plan.image_steps} + {plan.video_steps} steps, {asked.clips} clips, seed {plan.seed}")
    found = {}
    for side in (ONE_HOT, TEXT):
        found[side.name] = side.found(side.trained(plan, asked.out), asked.clips, plan.seed)
        print(f"{side.name}: digits found {_words(found[side.name])}", flush=True)
    print(f"real clips: {_words(TEXT.found(None, asked.clips, plan.seed))}")
    print(f"text less one-hot: {_words(found['text'] - found['one-hot'])}")


def _words(found_B: Tensor) -> str:
    return f"{float(found_B.mean()):.3f} +- {float(found_B.std()) / math.sqrt(len(found_B)):.3f}"


if __name__ == "__main__":
    main()
