"""Films and captions encoded by several processes or machines: Ray tasks of about a second.

Handing one out takes milliseconds, which small films would feel. So a worker gets several at once,
and gives back what it has not begun after a second. What was lost with a worker is done again by
another; what it wrote stays. Films, autoencoder, text encoder and what is written must lie where
all workers see them.
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

WAITING = 2  # groups a worker that are given out, with the one that it is at
MOST = 64  # of a group
GROUP_S = 1.0  # after which a worker begins no more of it
TRIES = 3  # of a group whose worker was lost


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
    running: dict[Any, list[tuple[int, Any]]] = {}
    while waiting or running:
        while waiting and len(running) < workers * WAITING:
            fair = len(waiting) // (workers * WAITING)  # the last ones are for all workers
            group = [waiting.popleft() for _ in range(max(1, min(fair, MOST)))]
            running[task.remote(shared, [each for _, each in group], GROUP_S)] = group
        ended, _ = ray.wait(list(running), num_returns=1)
        for answer in ended:
            group = running.pop(answer)
            try:
                found = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, (InputError, OSError)):
                    raise cause from None
                raise
            waiting.extendleft(reversed(group[len(found) :]))
            for (number, _), each in zip(group, found, strict=False):
                yield number, each


def _done(work: Callable[[Any], Any], tasks: Sequence[Any], most_s: float) -> list[Any]:
    """What comes of the first tasks in a worker, which has one core: as many as it begins in time.

    One at least, however long it takes.
    """
    import torch

    torch.set_num_threads(1)
    begun, found = time.perf_counter(), list[Any]()
    for task in tasks:
        found.append(work(task))
        if time.perf_counter() - begun >= most_s:
            break
    return found
