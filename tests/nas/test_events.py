"""`nas train --tensorboard`: event files with the losses of both stages."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Call

TRAIN = ("train", "--image-steps", "2", "--video-steps", "3", "--out", "supernet.safetensors")


@pytest.mark.slow
def test_losses_become_events(call: Call) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, said = call(*TRAIN, "--tensorboard", "events")
    assert code == 0, said
    found = EventAccumulator("events")
    found.Reload()
    tags = found.Tags()["scalars"]
    assert sum(tag.endswith("/loss") for tag in tags) == 2
    assert sum(tag.endswith("/seconds a step") for tag in tags) == 2
    (image,) = (tag for tag in tags if tag.endswith("/loss") and "image" in tag)
    assert [event.step for event in found.Scalars(image)] == [1, 2]


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="it is installed")
def test_it_is_refused_where_nothing_can_write_it(call: Call) -> None:
    code, _, said = call(*TRAIN, "--tensorboard", "events")
    assert (code, said.count("\n")) == (2, 1)
    assert "temporal-nas[tensorboard]" in said
    assert not list(Path().iterdir())
