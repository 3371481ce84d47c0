"""What is wrong with a bundle is said in one line, before anything of it is loaded."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Call
from safetensors.torch import load_file, save_file
from toy import Network, write_manifest

from adversarial_finetune.bundle import open_bundle
from adversarial_finetune.errors import InputError


def test_the_programs_are_the_network(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.clip_shape == (1, 4, 8, 8)
    network = Network()
    network.load_state_dict(load_file(bundle / "weights.safetensors"))
    denoiser, features = opened.denoiser(opened.weights()), opened.features(opened.weights())
    for clips, frames in ((1, 1), (3, 4), (2, 7)):
        case = torch.randn(clips, 1, frames, 8, 8), torch.rand(clips), torch.rand(clips, 2, 3)
        torch.testing.assert_close(denoiser(*case), network(*case))
        for ours, theirs in zip(features(*case), network.stages(*case), strict=True):
            torch.testing.assert_close(ours, theirs)
    denoiser(*case).sum().backward()
    assert all(p.grad is not None for p in denoiser.parameters())
    assert not any(p.requires_grad for p in features.parameters())


def flip(folder: Path) -> None:
    data = bytearray((folder / "denoiser.pt2").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "denoiser.pt2").write_bytes(data)


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def pickled(folder: Path) -> None:
    file = folder / "denoiser.pt2"
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    torch.save(Runs(folder.parent / "marker"), buffer := io.BytesIO())
    members[next(name for name in members if name.endswith("model.pt"))] = buffer.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    write_manifest(folder)


def climbing(folder: Path) -> None:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    write_manifest(folder, files=files | {"../clips/train.safetensors": "0" * 64})


def network_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "bundle.json").read_text())["network"]
    return found


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no bundle": (lambda f: (f / "bundle.json").unlink(), "no such file"),
    "newer": (
        lambda f: write_manifest(f, version="2.0"),
        "version 2.0, and this package reads 1.x",
    ),
    "missing": (lambda f: (f / "features.pt2").unlink(), "features.pt2: no such file"),
    "changed byte": (flip, "denoiser.pt2: was changed since"),
    "pickled objects": (pickled, "which are pickled objects"),
    "climbs out": (climbing, "is no file name"),
    "no network": (lambda f: write_manifest(f, network={}), "network is not as version 1 has it"),
    "other features": (
        lambda f: write_manifest(f, network=network_of(f) | {"features": [8, 24]}),
        "features.pt2: answers with channels (8, 16), not (8, 24)",
    ),
    "no JSON": (lambda f: (f / "bundle.json").write_text("{"), "not valid JSON"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_that_is_wrong_is_refused_in_one_line(
    case: str, bundle: Path, clips: Path, call: Call
) -> None:
    change, says = CASES[case]
    change(bundle)
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run")
    assert (code, printed) == (2, "")
    assert says in said
    assert said.count("\n") == 1
    assert not Path("run").exists()
    assert not (bundle.parent / "marker").exists()


def test_the_programs_stand_on_other_devices(bundle: Path) -> None:
    """None of their constants stays behind; "meta" is the other device that is everywhere."""
    opened = open_bundle(bundle)
    case = (torch.zeros(3, 1, 4, 8, 8), torch.zeros(3), torch.zeros(3, 2, 3))
    there = [tensor.to("meta") for tensor in case]
    assert opened.denoiser(opened.weights(), "meta")(*there).device.type == "meta"
    stages = opened.features(opened.weights(), "meta")(*there)
    assert [tuple(each.shape) for each in stages] == [(3, 8, 4, 8, 8), (3, 16, 4, 4, 4)]


def test_weights_of_another_network_are_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    weights = opened.weights()
    with pytest.raises(InputError, match="they are another network's"):
        opened.denoiser({**weights, "enter.weight": torch.zeros(3)})
    with pytest.raises(InputError, match="1 tensors too many"):
        opened.denoiser({**weights, "stranger": torch.zeros(3)})
    save_file({"enter.weight": torch.full((8,), float("nan"))}, bundle / "weights.safetensors")
    with pytest.raises(InputError, match="holds NaN"):
        opened.weights()
