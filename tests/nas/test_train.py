"""`nas train` as a person runs it: killed, resumed, on several workers."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import kill_when
from safetensors.torch import load_file

from search_spaces import TemporalSpace, load
from supernet import Supernet, build_backbone
from temporal_bundle.closeness import flat

pytestmark = pytest.mark.slow
Call = Callable[..., tuple[int, str, str]]
NAS = [sys.executable, "-c", "from nas.cli import main; main()"]
SPACE = """
from search_spaces import (
    CONV1D,
    HEADS,
    NONE,
    SELF_ATTENTION_1D,
    UNetShape,
    temporal_space,
)

OPERATORS = (NONE, CONV1D, SELF_ATTENTION_1D.elastic(HEADS))
SPACE = temporal_space("tiny", UNetShape(1, (8, 16), 4, 16, 16, 2, 10), OPERATORS)
"""
TRAIN = ["train", "--space", "tiny_space:SPACE", "--image-steps", "2", "--clips", "2"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a space of a user's own."""
    (tmp_path / "tiny_space.py").write_text(SPACE)
    return tmp_path


@pytest.mark.long
@pytest.mark.kernels
def test_a_training_that_was_killed_ends_as_if_it_had_not_been(tiny: Path, call: Call) -> None:
    """Of one recipe; tests/supernet/test_recipes.py stops each of them."""
    arguments = [*TRAIN, "--recipe", "sandwich", "--video-steps", "100", "--images", "0.1"]
    process = subprocess.Popen(
        [*NAS, *arguments, "--out", "killed.safetensors"], cwd=tiny, stderr=subprocess.DEVNULL
    )
    kill_when(process, (tiny / "killed.training.safetensors").exists)
    assert not (tiny / "killed.safetensors").exists()
    for name, more in (("killed", ["--resume"]), ("whole", [])):
        code, _, words = call(*arguments, "--out", f"{name}.safetensors", *more)
        assert code == 0, words
    killed, whole = (load_file(tiny / f"{name}.safetensors") for name in ("killed", "whole"))
    assert killed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, killed[name]), name


@pytest.mark.long
@pytest.mark.kernels
def test_two_workers_train_what_one_trains(tiny: Path, call: Call) -> None:
    """Through Ray Train; `tests/supernet/test_workers.py` compares exactly, without it."""
    arguments = [*TRAIN, "--recipe", "fair", "--video-steps", "12", "--images", "0.3", "--json"]
    found = {}
    for workers in ("1", "2"):
        out = f"{workers}.safetensors"
        code, printed, words = call(*arguments, "--workers", workers, "--out", out)
        assert code == 0, words
        assert "train the supernet: done" in words
        files = json.loads(printed)
        found[workers] = [load_file(tiny / files[name]) for name in ("backbone", "supernet")]
    # Adam and Muon make a whole step of a gradient that is nothing but rounding: weights are
    # compared together, by how far the training moved them.
    space = load("tiny_space:SPACE")
    assert isinstance(space, TemporalSpace)
    torch.manual_seed(0)
    backbone = build_backbone(space.unet)
    begun = [copy.deepcopy(backbone.state_dict())]
    backbone.load_state_dict(found["1"][0])
    torch.manual_seed(1)
    begun.append(Supernet(space, backbone).state_dict())
    for start, alone, together in zip(begun, *found.values(), strict=True):
        assert start.keys() == alone.keys() == together.keys()
        first, one, two = (flat(weights[n] for n in start) for weights in (start, alone, together))
        assert (two - one).norm() < 0.3 * (one - first).norm()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--workers 3", "batch of 2 clips does not split evenly among 3 workers"),
        ("--images 1", "share of images must be from 0 to under 1"),
        ("--data nowhere", "unknown data 'nowhere'"),
        ("--recipe mine:late", "must yield its losses"),
        ("--backbone none", "none: no such file or folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: str, message: str, tiny: Path, call: Call
) -> None:
    (tiny / "mine.py").write_text("def late(supernet, batch, randomness):\n    return 1\n")
    code, _, words = call(*TRAIN, "--video-steps", "2", "--out", "a", *arguments.split())
    assert code == 2
    assert message in words.splitlines()[-1]
