"""Films and captions encoded by several processes or machines: Ray tasks, a film or a piece each.

A task that was lost with its worker is done again by another; what a task wrote stays. Films,
autoencoder, text encoder and what is written must lie where all workers see them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from nas.ray_cluster import check_address, connected
from search_spaces import InputError
from supernet.data.caption_encoding import Spread

WAITING = 4  # tasks a worker that are given out before they can begin
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
    running: dict[Any, int] = {}
    while waiting or running:
        while waiting and len(running) < workers * WAITING:
            number, each = waiting.popleft()
            running[task.remote(shared, each)] = number
        ended, _ = ray.wait(list(running), num_returns=1)
        for answer in ended:
            number = running.pop(answer)
            try:
                found = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, (InputError, OSError)):
                    raise cause from None
                raise
            yield number, found


def _done(work: Callable[[Any], Any], task: Any) -> Any:
    """A task in a worker, which has one core."""
    import torch

    torch.set_num_threads(1)
    return work(task)
