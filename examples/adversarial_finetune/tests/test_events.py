"""`--tensorboard`: event files in the run's folder."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Call

from adversarial_finetune.events import Events
from adversarial_finetune.settings import Settings

FEW = ("--stage-one-steps", "3", "--stage-two-steps", "2", "--clips-per-step", "2")


def test_losses_rates_and_pictures_become_events(bundle: Path, clips: Path, call: Call) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *FEW, "--tensorboard")
    assert code == 0, said
    names = {"one": ("loss", "learning rate", "seconds a step"), "two": ("discriminator",)}
    for stage, scalars in names.items():
        found = EventAccumulator(f"run/tensorboard/stage-{stage}")
        found.Reload()
        assert {f"stage {stage}/{name}" for name in scalars} <= set(found.Tags()["scalars"])
        assert found.Tags()["images"] == [f"stage {stage}/samples"]
        steps = [event.step for event in found.Scalars(f"stage {stage}/{scalars[0]}")]
        assert steps == list(range(1, len(steps) + 1))


def test_steps_that_are_made_anew_are_told_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (range(1, 8), range(4, 10)):  # killed after the seventh, resumed from the third
        events = Events(tmp_path, Settings())
        for step in steps:
            events.step("one", step, 9, {"loss": float(step)})
        events.close()
    found = EventAccumulator(str(tmp_path / "tensorboard" / "stage-one"))
    found.Reload()
    assert [event.step for event in found.Scalars("stage one/loss")] == list(range(1, 10))


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="it is installed")
def test_it_is_refused_where_nothing_can_write_it(bundle: Path, clips: Path, call: Call) -> None:
    code, _, said = call("train", bundle, "--data", clips, "--out", "run", *FEW, "--tensorboard")
    assert (code, said.count("\n")) == (2, 1)
    assert "adversarial-finetune[tensorboard]" in said
    assert not Path("run").exists()
