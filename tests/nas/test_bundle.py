"""Bundles: what is read back equals what was written, and what is wrong gets one line.

The reader's own tests (examples/temporal_bundle) have all that can be wrong with one.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Call
from safetensors.torch import load_file, save_file

import nas
from nas.bundle import export_programs, write_bundle
from nas.costs.modules import clip_inputs
from nas.testing.operators import randomised
from search_spaces import (
    CONV1D,
    CROSS_ATTENTION_1D,
    SELF_ATTENTION_3D,
    InputError,
    TemporalSpace,
    UNetShape,
    load,
    temporal_space,
)
from supernet import DownFeatures, VideoUNet
from temporal_bundle.closeness import check_close
from temporal_bundle.testing import write_tuning

SHAPE = UNetShape(
    in_channels=2, channels=(8, 16), frames=3, height=8, width=8, context_tokens=2,
    context_channels=6,
)  # fmt: skip
OPERATORS = (CONV1D, SELF_ATTENTION_3D, CROSS_ATTENTION_1D)


@pytest.fixture(scope="module")
def space() -> TemporalSpace:
    return temporal_space("small", SHAPE, tuple(o.elastic() for o in OPERATORS))


def write(path: Path, space: TemporalSpace, seed: int) -> VideoUNet:
    architecture = space.sample(np.random.default_rng(seed))
    network = randomised(VideoUNet(space, architecture)).eval()
    programs = export_programs(network, space, architecture)
    study = {"space": space.to_json(), "settings": {"seed": seed}}
    latency = {"network": {"latency_ms": 1.0}}
    write_bundle(path, network, space, architecture, programs, latency, study, b"GIF", "<p>")
    return network


@pytest.fixture(scope="module")
def bundle(space: TemporalSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "bundle"
    write(path, space, 0)
    return path


def rehash(folder: Path, **changes: Any) -> None:
    """Hashes as they are now, so that only what a file holds can be refused."""
    manifest = json.loads((folder / "bundle.json").read_text()) | changes
    for name in manifest["files"]:
        file = folder / name
        if file.is_file():
            manifest["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))


def copied(bundle: Path, to: Path) -> Path:
    shutil.copytree(bundle, to)
    return to


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("small", 1),
        ("small", 2),
        pytest.param("moving_digits", 1, marks=pytest.mark.long),
        pytest.param(
            "snapgen_v(frames=5,height=16,width=16,channels=32)", 2, marks=pytest.mark.long
        ),
    ],
)
def test_what_a_bundle_answers_is_what_the_network_answers(
    name: str, seed: int, space: TemporalSpace, tmp_path: Path
) -> None:
    """examples/benchmarks/bundle_equality.py does so for thirty of each space."""
    found = space if name == "small" else load(name)
    assert isinstance(found, TemporalSpace)
    network = write(tmp_path / "bundle", found, seed)
    opened = nas.Bundle.load(tmp_path / "bundle")
    denoiser, features = opened.denoiser(), opened.features()
    down = DownFeatures(found, opened.architecture(found))
    down.load_state_dict({n: t for n, t in network.state_dict().items() if n in down.state_dict()})
    x, _, context = clip_inputs(found)
    for clips, frames in ((1, 1), (2, x.shape[2]), (3, 2)):
        case = (
            torch.randn(clips, x.shape[1], frames, *x.shape[3:]),
            torch.rand(clips),
            torch.randn(clips, *context.shape[1:]),
        )
        with torch.inference_mode():
            check_close(denoiser(*case), network(*case))
            stages = features(*case)
            for ours, theirs in zip(down.eval()(*case), stages, strict=True):
                check_close(theirs, ours)
            assert [s.shape[1] for s in stages] == opened.manifest["network"]["features"]
    again = opened.network(found)
    assert all(torch.equal(again.state_dict()[n], t) for n, t in network.state_dict().items())
    with torch.inference_mode():
        check_close(again(*case), network(*case))


@pytest.mark.slow
def test_a_copy_keeps_what_this_version_does_not_know(bundle: Path, tmp_path: Path) -> None:
    later = copied(bundle, tmp_path / "later")
    (later / "notes.txt").write_text("of a later version")
    manifest = json.loads((later / "bundle.json").read_text())
    manifest["files"]["notes.txt"] = ""
    rehash(later, version="1.7", mood="good", files=manifest["files"])
    opened = nas.Bundle.load(later)
    assert opened.manifest["mood"] == "good"
    again = opened.save(tmp_path / "copy")
    assert again.manifest == opened.manifest
    assert (tmp_path / "copy" / "notes.txt").read_text() == "of a later version"
    assert not list(tmp_path.glob(".copy*"))


def flip(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


def huge_header(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    rehash(folder)


def of_another(folder: Path) -> None:
    save_file({"stranger": torch.zeros(3)}, folder / "weights.safetensors")
    rehash(folder)


def nan(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    next(iter(weights.values())).fill_(float("nan"))
    save_file(weights, folder / "weights.safetensors")
    rehash(folder)


def double(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    save_file({n: t.double() for n, t in weights.items()}, folder / "weights.safetensors")
    rehash(folder)


def hostile(folder: Path) -> None:
    with zipfile.ZipFile(folder / "denoiser.pt2", "a") as archive:
        archive.writestr("archive/data/aotinductor/model/model.so", b"\x7fELF")
    rehash(folder)


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "newer": (lambda f: rehash(f, version="2.0"), "version 2.0 is newer"),
    "missing": (lambda f: (f / "features.pt2").unlink(), "lacks features.pt2"),
    "not listed": (lambda f: rehash(f, files={}), "files must list the sha256"),
    "changed": (flip, "was changed since"),
    "no network": (lambda f: rehash(f, network={"frames": 0}), "network: is not as version 1"),
    "numbers": (lambda f: rehash(f, versions={"torch": 3}), "versions.torch: 3 is not of type"),
    "no study": (lambda f: rehash(f, study={}), "study: 'space' is a required property"),
    "hostile": (hostile, "which no plain program has"),
    "two lines": (lambda f: rehash(f, versions={"a\nb": 3}), "versions.a b: 3 is not of type"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bundle_that_is_wrong_is_refused_in_one_line(
    case: str, bundle: Path, tmp_path: Path, call: Call
) -> None:
    change, says = CASES[case]
    change(folder := copied(bundle, tmp_path / "b"))
    with pytest.raises(InputError, match=says) as caught:
        nas.Bundle.load(folder)
    assert "\n" not in str(caught.value)
    code, printed, said = call("show", "b")
    assert (code, printed, said.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (huge_header, "not a whole safetensors file"),
        (of_another, "lacks [0-9]+ tensors|they are another network's"),
        (nan, "holds NaN"),
        (double, r"weights\.safetensors: '[\w.]+' is of F64, not"),
    ],
)
def test_weights_that_are_wrong_are_refused(
    change: Callable[[Path], None], says: str, bundle: Path, tmp_path: Path
) -> None:
    change(folder := copied(bundle, tmp_path / "b"))
    for opened in (nas.Bundle.load(folder).network, nas.Bundle.load(folder).denoiser):
        with pytest.raises(InputError, match=says):
            opened()


def test_tuned_weights_come_back(bundle: Path, tmp_path: Path) -> None:
    folder = copied(bundle, tmp_path / "b")
    write_tuning(folder)
    opened = nas.Bundle.load(folder).save(tmp_path / "copy")
    name = next(iter(opened.weights()))
    for took, wanted in ((None, 0.5), (True, 0.5), (False, 0.0)):
        found = opened.network(finetuned=took).state_dict()[name]
        before = load_file(folder / "weights.safetensors")[name]
        torch.testing.assert_close(found - before, torch.full_like(before, wanted))
    with pytest.raises(InputError, match="holds no tuned weights"):
        nas.Bundle.load(bundle).weights(finetuned=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bundle": "0" * 64}, "tuned from another bundle"),
        ({"version": "2.0"}, "is newer"),
        ({"files": {"finetuned.safetensors": "0" * 64}}, "was changed since.*or remove"),
        (
            {"sampler": {"kind": "leap", "times": [2], "guidance": 1}},
            "sampler.times.0: 2 is greater",
        ),
        (
            {"sampler": {"kind": "leap", "times": [1.0], "guidance": -1e30}},
            r"sampler\.guidance: -1e\+30 is less than the minimum of -100; tune again",
        ),
        (
            {"sampler": {"kind": "leap", "times": [1.0], "guidance": 10**400}},
            r"sampler\.guidance: 10{59}\.\.\. is greater than the maximum of 100",
        ),
        (
            {"sampler": {"kind": "leap", "times": [1] * 1001, "guidance": 1}},
            r"sampler\.times: \[1, 1, [1, ]*\.\.\. is too long",
        ),
    ],
)
def test_tuned_weights_that_are_wrong_are_refused(
    changes: dict[str, Any], says: str, bundle: Path, tmp_path: Path
) -> None:
    folder = copied(bundle, tmp_path / "b")
    write_tuning(folder, **changes)
    with pytest.raises(InputError, match=says):
        nas.Bundle.load(folder)
