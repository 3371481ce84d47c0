"""`nas clips`: what a training package reads is what the toolkit would have drawn."""

from pathlib import Path

import torch
from conftest import Call
from safetensors.torch import load_file


def test_clips_in_plain_files(call: Call) -> None:
    few = ("--train", "70", "--validation", "3", "--test", "2")
    code, printed, said = call("clips", *few, "--out", "clips")
    assert code == 0, said
    assert "70 + 3 + 2" in printed
    found = {
        name: load_file(f"clips/{name}.safetensors") for name in ("train", "validation", "test")
    }
    assert {n: tuple(t["clips"].shape) for n, t in found.items()} == {
        "train": (70, 1, 8, 16, 16), "validation": (3, 1, 8, 16, 16), "test": (2, 1, 8, 16, 16)
    }  # fmt: skip
    drawn = torch.cat([t["clips"] for t in found.values()]).flatten(1)
    assert len(drawn.unique(dim=0)) == 75, "no clip is drawn twice"
    assert found["train"]["context"].shape == (70, 2, 10)
    assert call("clips", *few, "--out", "again")[0] == 0
    for name, tensors in found.items():
        again = load_file(f"again/{name}.safetensors")
        assert all(torch.equal(again[key], tensor) for key, tensor in tensors.items())
    code, printed, said = call("clips", *few, "--out", "clips")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    code, _, said = call("clips", *few, "--data", "nowhere", "--out", "other")
    assert code == 2
    assert "no such folder of videos" in said
    assert not list(Path().glob("*other*"))
