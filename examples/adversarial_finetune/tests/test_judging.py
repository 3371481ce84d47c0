"""Clips are judged by their own classifier, and by nothing else of another shape or data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import FEW_STEPS, Call
from safetensors.torch import save_file
from toy import write_clips


@pytest.fixture
def tuned(bundle: Path, clips: Path, call: Call) -> Path:
    """A bundle with tuned weights, and their run in `run`."""
    assert call("train", bundle, "--data", clips, "--out", "run", *FEW_STEPS)[0] == 0
    return bundle


def test_the_judge_is_of_the_same_clips(tuned: Path, clips: Path, call: Call) -> None:
    judged = ("--clips", "8", "--classifier-steps", "2", "--classifier")
    evaluate = ("evaluate", "run", tuned, "--data", clips, *judged)
    code, _, said = call(*evaluate, "nowhere/judge.safetensors")
    assert (code, said.count("\n")) == (2, 1)
    assert "there is no folder nowhere" in said
    assert call(*evaluate, "judge.safetensors")[0] == 0
    code, _, said = call(*evaluate, "judge.safetensors", "--classifier-steps", "3")
    assert (code, said.count("\n")) == (2, 1)
    assert "was trained for 2 steps, not 3" in said
    write_clips(Path("others"), 8)
    code, _, said = call("evaluate", "run", tuned, "--data", "others", *judged, "judge.safetensors")
    assert (code, said.count("\n")) == (2, 1)
    assert "run: was begun with other clips" in said
    other_run = ("ablate", tuned, "--data", "others", "--out", "ablation", *FEW_STEPS)
    code, _, said = call(*other_run, *judged, "judge.safetensors")
    assert (code, said.count("\n")) == (2, 1)
    assert "judge.safetensors: was trained on other clips" in said
    for content in (b"", Path("run/stage-one.safetensors").read_bytes()):
        Path("judge.safetensors").write_bytes(content)
        code, _, said = call(*evaluate, "judge.safetensors")
        assert (code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize("count", ["-60", "0", "1"])
def test_one_clip_is_no_distribution(count: str, tuned: Path, clips: Path, call: Call) -> None:
    code, printed, said = call("evaluate", "run", tuned, "--data", clips, "--clips", count)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert "--clips: give 2 or more" in said


def test_clips_of_another_shape_are_not_judged(tuned: Path, clips: Path, call: Call) -> None:
    shutil.copytree(clips, "wide")
    wide = {"clips": torch.zeros(4, 3, 4, 8, 8), "context": torch.zeros(4, 2, 3)}
    save_file(wide, Path("wide/test.safetensors"))
    for command in (("evaluate", "run", tuned), ("sample", tuned, "--out", "a.gif")):
        code, printed, said = call(*command, "--data", "wide")
        assert (code, printed, said.count("\n")) == (2, "", 1)
        assert "test has channels, height and width (3, 8, 8)" in said


def test_one_step_is_judged_once(bundle: Path, clips: Path, call: Call) -> None:
    assert (
        call("train", bundle, "--data", clips, "--out", "run", *FEW_STEPS, "--steps", "1")[0] == 0
    )
    judged = ("--clips", "8", "--classifier-steps", "2", "--json")
    code, printed, said = call("evaluate", "run", bundle, "--data", clips, *judged)
    assert code == 0, said
    names = [each["sampler"] for each in json.loads(printed)["samplers"][1:]]
    assert names == ["25 steps, guided", "1 step, guided", "1 step, untuned", "1 step, tuned"]
