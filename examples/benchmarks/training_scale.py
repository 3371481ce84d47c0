"""What streaming costs a step of `adversarial-finetune`, and what a second process brings.

    python examples/benchmarks/training_scale.py BUNDLE CLIPS

Steps of stage one, each with clips from their files and with the same clips out of memory, in
turn; then as many clips a second with one process and with two, a thread each, by gloo. It wants a
machine of two cores that does nothing else.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from adversarial_finetune.data import ClipFiles, open_clips
from adversarial_finetune.execution import Execution
from adversarial_finetune.parallel import first, joined, processes
from adversarial_finetune.settings import Settings
from adversarial_finetune.stages import Stages, StageTraining
from temporal_bundle import Bundle, open_bundle

WARM = 3


class InMemory(ClipFiles):
    """The same clips, read beforehand."""

    def __init__(self, files: ClipFiles) -> None:
        super().__init__(files.layout)
        self.__dict__["read"] = files.at(torch.arange(len(files)))

    def at(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        x, context = self.__dict__["read"]
        return x[index_B], context[index_B]


def main() -> None:
    asked = arguments()
    bundle = open_bundle(asked.bundle)
    settings = Settings(clips_per_step=asked.clips_per_step, image_share=0.0)
    if asked.worker:
        with joined("cpu"):
            tell_speed(bundle, asked.clips, settings, asked.steps)
        return
    data = open_clips(asked.clips, "train", bundle)
    stages = [begun(bundle, each, settings) for each in (data, InMemory(data))]
    streamed, held = seconds_each(stages, asked.steps)
    share = median(one / other for one, other in zip(streamed, held, strict=True))
    read = streaming_seconds(data, settings, asked.steps) / median(held)
    print(f"a step with clips from files takes {share:.3f} of one with clips out of memory")
    print(f"(median of pairs; {median(held) * 1e3:.1f} ms; reading them alone takes {read:.2%})")
    speeds = [measured(count) for count in (1, 2)]
    print(f"clips a second: {speeds[0]:.2f} by one process, {speeds[1]:.2f} by two: "
          f"{speeds[1] / speeds[0]:.2f}")  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--clips-per-step", type=int, default=8)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def begun(bundle: Bundle, data: ClipFiles, settings: Settings) -> StageTraining:
    return Stages(bundle, data, settings, Execution()).begin("one", bundle.weights("searched"))


def seconds_each(stages: list[StageTraining], steps: int) -> list[list[float]]:
    """Of steps of each, in turn."""
    taken: list[list[float]] = [[] for _ in stages]
    for number in range(WARM + steps):
        for stage, found in zip(stages, taken, strict=True):
            start = time.perf_counter()
            stage.step(number, 1.0, number)
            found.append(time.perf_counter() - start)
    return [found[WARM:] for found in taken]


def streaming_seconds(data: ClipFiles, settings: Settings, steps: int) -> float:
    """The mean of reading a batch, and nothing else."""
    from adversarial_finetune.stream import Stream

    stream = Stream(data, 0, settings.buffer_mb)
    start = time.perf_counter()
    for _ in range(steps):
        data.at(stream.take(settings.clips_per_step))
    return (time.perf_counter() - start) / steps


def measured(count: int) -> float:
    """Clips a second of some processes."""
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count))
    ours = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *sys.argv, "--worker")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*start, *ours]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603
    return float(done.stdout)


def tell_speed(bundle: Bundle, clips: Path, settings: Settings, steps: int) -> None:
    """Twice the clips by two processes, so that each has as many."""
    each = settings.clips_per_step
    settings = Settings(clips_per_step=each * processes(), image_share=0.0)
    stage = begun(bundle, open_clips(clips, "train", bundle), settings)
    (taken,) = seconds_each([stage], steps)
    first(lambda: print(each * processes() / median(taken)))


if __name__ == "__main__":
    main()
