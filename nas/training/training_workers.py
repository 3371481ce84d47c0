"""A training on several processes, GPUs or machines: Ray Train starts the workers.

Every worker runs the same training on its share of each batch (`supernet.training.workers`). The
first one writes the files, so they must lie where all workers see them.
"""

import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.progress import Progress
from nas.ray_cluster import check_address, connected
from nas.training.training import trained_supernet
from search_spaces import InputError, TemporalSpace
from supernet import TrainingPlan
from supernet.training.execution import Execution
from supernet.training.recipes import load_recipe
from supernet.training.workers import Workers

KNOWN = (InputError, FloatingPointError, OSError)  # what a person can do something about


def train_on_workers(
    train: Callable[[], object],
    workers: int,
    address: str | None = None,
    accelerator: str = "cpu",
) -> None:
    """Run a training in `workers` processes of the Ray cluster at `address`, or of this machine.

    Each process calls `train` within torch.distributed, so that `supernet`'s trainings split their
    batches among them and end, but for rounding, as on one. What the first one writes to stdout or
    stderr appears here on stderr.

    Args:
        train: takes nothing, and is sent to the workers: a function, or a frozen dataclass with
            `__call__`. Paths that it writes must lie where all workers see them.
        workers: how many.
        address: of the cluster; None starts one on this machine.
        accelerator: cpu, or cuda for a GPU each.

    Raises:
        InputError: bad input, or no cluster of that size at the address.
        FloatingPointError: a loss is not finite.
    """
    if address is not None:
        check_address(address)
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")  # else what is printed comes twice
    with _cluster(address, workers, accelerator):
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
        from ray.train.v2.api.exceptions import WorkerGroupError

        scaling = ScalingConfig(num_workers=workers, use_gpu=accelerator == "cuda")
        with _spoken() as lines, tempfile.TemporaryDirectory() as folder:
            config = {"train": train, "lines": lines, "accelerator": accelerator}
            run = RunConfig(storage_path=folder)  # Ray's own notes; the results go where asked
            trainer = TorchTrainer(
                _work, train_loop_config=config, scaling_config=scaling, run_config=run
            )
            try:
                trainer.fit()
            except WorkerGroupError as error:
                for failure in error.worker_failures.values():
                    cause = getattr(failure, "cause", failure)
                    if isinstance(cause, KNOWN):
                        raise cause from None
                raise


def _work(config: dict[str, Any]) -> None:
    """What a worker runs; torch.distributed is up."""
    if config["accelerator"] == "cuda":
        import torch
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())  # this worker's of the machine's
    told = _Lines(config["lines"] if Workers.here().rank == 0 else None)
    with redirect_stdout(told), redirect_stderr(told):
        config["train"]()


@dataclass(frozen=True)
class Job:
    """The training of a supernet of temporal blocks, as each worker does it."""

    space: TemporalSpace
    plan: TrainingPlan
    recipe: str
    backbone_file: Path
    supernet_file: Path
    execution: Execution

    def run(self, workers: int, address: str | None = None) -> None:
        """Train on workers; raises as `train_on_workers`."""
        for clips in (self.plan.image_clips, self.plan.video_clips):
            Workers(0, workers).share(clips)
        train_on_workers(self, workers, address, self.execution.accelerator)

    def __call__(self) -> None:
        """Train in this worker."""
        trained_supernet(
            self.space,
            self.plan,
            load_recipe(self.recipe),
            self.backbone_file,
            self.supernet_file,
            Progress(stages=2),
            execution=self.execution,
        )


class _Lines(io.StringIO):
    """A worker's progress, sent to where the command was typed; None sends nothing."""

    def __init__(self, lines: Any) -> None:
        super().__init__()
        self._lines = lines

    def write(self, text: str) -> int:
        if self._lines is not None:
            self._lines.put(text)
        return len(text)


@contextmanager
def _cluster(address: str | None, workers: int, accelerator: str) -> Iterator[Any]:
    """A connection to Ray that has what so many workers need."""
    with connected(address, workers) as ray:
        kind = "GPU" if accelerator == "cuda" else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if there < workers:
            raise InputError(f"{workers} workers need a {kind} each; ray has {there}")
        yield ray


@contextmanager
def _spoken() -> Iterator[Any]:
    """A queue whose texts are written to stderr as they come."""
    from ray.util.queue import Queue

    lines = Queue(actor_options={"num_cpus": 0})

    def speak() -> None:
        while (text := lines.get()) is not None:
            sys.stderr.write(text)
            sys.stderr.flush()

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield lines
    finally:
        lines.put(None)
        speaker.join()
