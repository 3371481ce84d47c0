"""Films and captions encoded by several processes or machines: Ray tasks of a second or more.

Handing one out takes milliseconds, which small films would feel; those are done a few together. A
task that was lost with its worker is done again by another; what it wrote stays. Films,
autoencoder, text encoder and what is written must lie where all workers see them.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from nas.ray_cluster import check_address, connected
from search_spaces import InputError
from supernet.data.caption_encoding import Spread

WAITING = 2  # groups of tasks a worker that are given out, with the one that it is at
GROUP_S = 1.0  # that a group takes, and
MOST = 64  # tasks of one, as those that were done before an interruption take no time
TRIES = 3  # of a task whose worker was lost


@contextmanager
def spread_over(workers: int, address: str | None = None, *, gpu: bool = False) -> Iterator[Spread]:
    """Workers of the Ray cluster at `address`, or of this machine, that share tasks.

    Args:
        workers: how many tasks are done at a time.
        address: of the cluster; None starts one on this machine.
        gpu: whether each has a GPU.

    Raises:
        InputError: no cluster at the address; what a task raised.
    """
    if address is not None:
        check_address(address)
    with connected(address, workers) as ray:
        task = ray.remote(num_cpus=1, num_gpus=int(gpu), max_retries=TRIES)(_done)
        yield partial(_spread, ray, task, workers)


def _spread(
    ray: Any, task: Any, workers: int, work: Callable[[Any], Any], tasks: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """What tasks return, as they end."""
    shared = ray.put(work)
    waiting = deque(enumerate(tasks))
    running: dict[Any, tuple[int, ...]] = {}
    done, spent_s = 0, 0.0
    while waiting or running:
        while waiting and len(running) < workers * WAITING:
            fit = int(GROUP_S * done / spent_s) if spent_s else 1
            fair = len(waiting) // (workers * WAITING)  # the last ones are for all workers
            group = [waiting.popleft() for _ in range(max(1, min(fit, fair, MOST)))]
            numbers, parts = zip(*group, strict=True)
            running[task.remote(shared, parts)] = numbers
        ended, _ = ray.wait(list(running), num_returns=1)
        for answer in ended:
            numbers = running.pop(answer)
            try:
                found, group_s = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, (InputError, OSError)):
                    raise cause from None
                raise
            done, spent_s = done + len(numbers), spent_s + group_s
            yield from zip(numbers, found, strict=True)


def _done(work: Callable[[Any], Any], tasks: Sequence[Any]) -> tuple[list[Any], float]:
    """What comes of a few tasks in a worker, which has one core; and the seconds that they took."""
    import torch

    torch.set_num_threads(1)
    begun = time.perf_counter()
    return [work(task) for task in tasks], time.perf_counter() - begun
