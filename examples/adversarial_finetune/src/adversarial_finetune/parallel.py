"""Processes that share the clips of each step, as torchrun starts them; without it, one alone.

Each works on its places of a batch, and gradients are averaged once a step (data parallelism, as
DistributedDataParallel has it). That class itself does not fit here: heads are called twice before
one backward pass, and R1 takes a gradient of a gradient. So nothing is sent while gradients are
still computed; on fast links that costs little, as they are sent once a step.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from adversarial_finetune.errors import InputError
from temporal_bundle.manifest import one_line

BUCKET_BYTES = 64e6  # of gradients that are sent together
BACKENDS = "cpu:gloo,cuda:nccl"
STARTED_BY = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
# The first process may read terabytes, or write to a slow disk. Others wait in a group that is
# connected beforehand, so that one that dies is noticed at once all the same.
PATIENCE = timedelta(days=2)
T = TypeVar("T")
_patient: list[dist.ProcessGroup] = []


class ProcessLostError(Exception):
    """Another process does not answer any more."""


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun started; yields this one's device.

    Args:
        device: as the command line has it; of several GPUs a process takes its own.

    Raises:
        InputError: what started them left no numbers, or there is no GPU for this process.
    """
    if _started_together() == 1:
        yield device
        return
    if device.startswith("cuda"):
        device = f"cuda:{_own_gpu(device)}"
        torch.cuda.set_device(device)
    dist.init_process_group(BACKENDS if device.startswith("cuda") else "gloo")
    try:
        _patient.append(_asked(_connected))
        yield device
    finally:
        _patient.clear()
        dist.destroy_process_group()


def check_alone() -> None:
    """Refuse to do the same work in several processes.

    Raises:
        InputError: torchrun started more than one.
    """
    if dist.is_torchelastic_launched() and _started_together() > 1:
        raise InputError("torchrun is for `train`; start the other commands by themselves")


def _started_together() -> int:
    """How many processes were; clusters set some of these variables for ends of their own."""
    if not all(name in os.environ for name in STARTED_BY):
        return 1
    return _number("WORLD_SIZE")


def _own_gpu(device: str) -> int:
    if device != "cuda":
        raise InputError(f"--device {device}: is one GPU for all processes; give --device cuda")
    own, there = _number("LOCAL_RANK"), torch.cuda.device_count()
    if own >= there:
        raise InputError(
            f"--device cuda: process {own} of this machine has no GPU, as it has {there}; start "
            "as many processes as GPUs (--nproc-per-node)"
        )
    return own


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise InputError(f"{name}={value[:20]}: is no number of processes; start them by torchrun")
    return int(value)


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
    if _any(failed is not None):
        raise failed or SystemExit(1)


def check_agree(found: Mapping[str, object]) -> None:
    """Refuse to train on what processes see differently: folders of their own, old copies.

    Args:
        found: by what it is; as in all processes.

    Raises:
        InputError: in the first process; the others end.
    """
    if processes() == 1:
        return
    everyone: list[Mapping[str, object]] = [{}] * processes()
    _asked(lambda: dist.all_gather_object(everyone, dict(found)))
    for name, value in everyone[0].items():
        for number, other in enumerate(everyone):
            if other[name] != value:
                if rank() > 0:
                    raise SystemExit(1)
                raise InputError(
                    f"process {number} finds {name} {other[name]}, the first one {value}; all "
                    "machines must see the same bundle, --data and --out"
                )


def _any(mine: bool) -> bool:
    """Whether it is so in any process, however long the first one takes to say so."""
    if processes() == 1:
        return mine
    said = torch.tensor(int(mine))
    _asked(lambda: dist.all_reduce(said, group=_patient[-1]))
    return bool(said)


def _connected() -> dist.ProcessGroup:
    """A group that waits for long, once all have met in it."""
    group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)
    dist.all_reduce(torch.zeros(1), group=group)
    return group


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if processes() == 1:
        return tensor
    total = tensor.clone()
    _reduce(total)
    return total


def _reduce(tensor: Tensor) -> None:
    _asked(lambda: dist.all_reduce(tensor))


def _asked(ask: Callable[[], T]) -> T:
    """Ask the others for something."""
    try:
        return ask()
    except (torch.OutOfMemoryError, torch.AcceleratorError):  # of this one
        raise
    except RuntimeError as error:
        words = one_line(str(error))
        late = "timed out" in words.lower() or "timeout" in words.lower()
        what = "did not answer in time" if late else "is gone"
        raise ProcessLostError(f"another process {what} ({words})") from None


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
