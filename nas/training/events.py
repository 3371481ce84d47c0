"""TensorBoard event files of a supernet's training, where the extra `tensorboard` is installed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.training.training import OnLoss
from search_spaces import InputError


@contextmanager
def written_to(folder: Path | None) -> Iterator[OnLoss]:
    """Who is told of losses while the body runs, and writes them with seconds a step to a folder.

    Args:
        folder: of event files; None: nothing is written.

    Raises:
        InputError: tensorboard is not installed.
    """
    if folder is None:
        yield lambda *_: None
        return
    if find_spec("tensorboard") is None:
        raise InputError("event files need tensorboard: pip install 'temporal-nas[tensorboard]'")
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder))
    before: dict[str, tuple[int, float]] = {}

    def tell(stage: str, done: int, loss: float) -> None:
        now = time.monotonic()
        writer.add_scalar(f"{stage}/loss", loss, done)
        if stage in before:
            steps, then = before[stage]
            writer.add_scalar(f"{stage}/seconds a step", (now - then) / (done - steps), done)
        before[stage] = done, now

    try:
        yield tell
    finally:
        writer.close()
