"""Processes that share the clips of each step, as torchrun starts them; without it, one alone.

Each works on its places of a batch, and gradients are averaged once a step (data parallelism, as
DistributedDataParallel has it). That class itself does not fit here: heads are called twice before
one backward pass, and R1 takes a gradient of a gradient. So nothing is sent while gradients are
still computed; on fast links that costs little, as they are sent once a step.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from adversarial_finetune.errors import InputError
from temporal_bundle.manifest import one_line

BUCKET_BYTES = 64e6  # of gradients that are sent together
BACKENDS = "cpu:gloo,cuda:nccl"


class ProcessLostError(Exception):
    """Another process does not answer any more."""


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started; yields this one's device.

    Args:
        device: as the command line has it; of several GPUs a process takes its own.
    """
    if _started_together() == 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group(BACKENDS if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def check_alone() -> None:
    """Refuse to do the same work in several processes.

    Raises:
        InputError: torchrun started more than one.
    """
    if _started_together() > 1:
        raise InputError("torchrun is for `train`; start the other commands by themselves")


def _started_together() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes() -> int:
    """How many share a batch."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def first(action: Callable[[], None]) -> None:
    """Do something in the first process, while the others wait; all end if it fails."""
    failed: Exception | None = None
    if rank() == 0:
        try:
            action()
        except Exception as error:  # raised below, once the others know
            failed = error
    if int(summed(torch.tensor(int(failed is not None)))):
        raise failed or SystemExit(1)


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if processes() == 1:
        return tensor
    total = tensor.clone()
    _reduce(total)
    return total


def _reduce(tensor: Tensor) -> None:
    try:
        dist.all_reduce(tensor)
    except RuntimeError as error:
        raise ProcessLostError(f"another process is gone ({one_line(str(error))})") from None


def mean(value: float) -> float:
    """The mean over all processes; what is no number in one of them is none in any."""
    return float(summed(torch.tensor([value], dtype=torch.float64))) / processes()


def average(tensors: Sequence[Tensor]) -> None:
    """Make tensors their means over all processes, in place."""
    if processes() == 1:
        return
    bucket: list[Tensor] = []
    for at, tensor in enumerate(tensors):
        bucket.append(tensor)
        if sum(each.nbytes for each in bucket) >= BUCKET_BYTES or at == len(tensors) - 1:
            flat = torch.cat([each.flatten() for each in bucket])
            _reduce(flat)
            parts = torch.split(flat / processes(), [each.numel() for each in bucket])
            for each, part in zip(bucket, parts, strict=True):
                each.copy_(part.view(each.shape))
            bucket = []


@dataclass(frozen=True)
class Batch:
    """The clips of a step, and which of them this process works on.

    Args:
        clips: of all processes together.
        accumulate: pieces that a process works on one after the other, so that the activations of
            one of them are in memory at a time.
    """

    clips: int
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise InputError("accumulate: give a whole number from 1")
        parts = processes() * self.accumulate
        if self.clips % parts:
            raise InputError(
                f"clips_per_step: {self.clips} clips do not make {parts} pieces of as many (each "
                f"of {processes()} processes has {self.accumulate}); give a multiple of {parts}"
            )

    @property
    def pieces(self) -> list[range]:
        """The places in the batch of each piece; a piece's are far apart, so all are alike."""
        parts, first = processes() * self.accumulate, rank() * self.accumulate
        return [range(first + piece, self.clips, parts) for piece in range(self.accumulate)]
