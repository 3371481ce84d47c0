"""`--tensorboard`: event files in the run's folder."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Call

FEW = ("--stage-one-steps", "3", "--stage-two-steps", "2", "--clips-per-step", "2")


def test_losses_rates_and_pictures_become_events(bundle: Path, clips: Path, call: Call) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *FEW, "--tensorboard")
    assert code == 0, said
    found = EventAccumulator("run/tensorboard")
    found.Reload()
    scalars = set(found.Tags()["scalars"])
    for name in ("stage one/loss", "stage one/learning rate", "stage two/discriminator"):
        assert name in scalars
    assert "stage one/seconds a step" in scalars
    assert [event.step for event in found.Scalars("stage one/loss")] == [1, 2, 3]
    assert set(found.Tags()["images"]) == {"stage one/samples", "stage two/samples"}


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="it is installed")
def test_it_is_refused_where_nothing_can_write_it(bundle: Path, clips: Path, call: Call) -> None:
    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *FEW, "--tensorboard")
    assert (code, said.count("\n")) == (2, 1)
    assert "adversarial-finetune[tensorboard]" in said
    assert not Path("run").exists()
