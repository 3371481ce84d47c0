"""Bundles: what is read back equals what was written, and what is hostile is never loaded."""

import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import nas
from nas.bundle import export_programs, write_bundle
from nas.bundle.manifest import FORMAT, schema
from nas.bundle.program_archive import HostileProgramError, checked
from nas.costs.costs import clip_inputs
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

SHAPE = UNetShape(
    in_channels=2, channels=(8, 16), frames=3, height=8, width=8, context_tokens=2,
    context_channels=6,
)  # fmt: skip
OPERATORS = (CONV1D, SELF_ATTENTION_3D, CROSS_ATTENTION_1D)
ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    "name", ["small", "moving_digits", "snapgen_v(frames=5,height=16,width=16,channels=32)"]
)
@pytest.mark.parametrize("seed", [1, 2])
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
            torch.testing.assert_close(denoiser(*case), network(*case), rtol=1e-4, atol=1e-5)
            stages = features(*case)
            for ours, theirs in zip(down.eval()(*case), stages, strict=True):
                torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
            assert [s.shape[1] for s in stages] == opened.manifest["network"]["features"]
    again = opened.network(found)
    with torch.inference_mode():
        torch.testing.assert_close(again(*case), network(*case), rtol=0, atol=0)


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


def link(folder: Path) -> None:
    (folder / "latency.json").unlink()
    (folder / "latency.json").symlink_to("/etc/hostname")


def climb(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    files = manifest["files"] | {"../secret": hashlib.sha256(b"x").hexdigest()}
    (folder.parent / "secret").write_text("x")
    (folder / "bundle.json").write_text(json.dumps(manifest | {"files": files}))


def long_name(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["a" * 300] = "0" * 64
    (folder / "bundle.json").write_text(json.dumps(manifest))


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


CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "newer": (lambda f: rehash(f, version="2.0"), "version 2.0 is newer"),
    "no version": (lambda f: rehash(f, version="one"), "is not MAJOR.MINOR"),
    "another format": (lambda f: rehash(f, format="zip"), "expected format"),
    "missing": (lambda f: (f / "features.pt2").unlink(), "lacks features.pt2"),
    "not listed": (lambda f: rehash(f, files={}), "files: .*is a required property"),
    "changed": (flip, "was changed since"),
    "climbs": (climb, "is no file name"),
    "link": (link, "is a link"),
    "no network": (lambda f: rehash(f, network={"frames": 0}), "network: .*required"),
    "numbers": (lambda f: rehash(f, versions={"torch": 3}), "versions.torch: 3 is not of type"),
    "large": (lambda f: (f / "bundle.json").write_bytes(b" " * (2**22 + 1)), "no bundle needs"),
    "no JSON": (lambda f: (f / "bundle.json").write_text('{"a": NaN}'), "not valid JSON"),
    "two lines": (lambda f: rehash(f, versions={"a\nb": 3}), "versions.a b: 3 is not of type"),
    "long name": (long_name, "is no file name"),
    "deep": (lambda f: (f / "bundle.json").write_text("[" * 200_000), "not valid JSON"),
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
        (of_another, "lacks [0-9]+ tensors"),
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


# What a .pt2 can do to whoever gives it to torch.export.load. Each writes a file when it is run.
class Runs:
    """Unpickling this runs code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.marker, "ran")


Members = dict[str, bytes]


def repacked(file: Path, change: Callable[[Members], Any], *, compressed: bool = False) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    rehash(file.parent)


def in_model(members: Members, change: Callable[[Any], Any]) -> None:
    model = json.loads(members["archive/models/model.json"])
    change(model)
    members["archive/models/model.json"] = json.dumps(model).encode()


def python(marker: Path) -> str:
    return f"__import__('pathlib').Path('{marker}').write_text('ran')"


def pickled_samples(members: Members, marker: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Runs(marker), buffer)
    members["archive/data/sample_inputs/model.pt"] = buffer.getvalue()


def pickled_weight(members: Members, marker: Path) -> None:
    name = "archive/data/weights/model_weights_config.json"
    config = json.loads(members[name])
    next(iter(config["config"].values())).update(use_pickle=True, path_name="weight_1")
    members[name] = json.dumps(config).encode()
    buffer = io.BytesIO()
    torch.save(Runs(marker), buffer)
    members["archive/data/weights/weight_1"] = buffer.getvalue()


def pickled_constant(members: Members, marker: Path) -> None:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
    config = {"config": {"thing": entry | {"tensor_meta": None}}}
    members["archive/data/constants/model_constants_config.json"] = json.dumps(config).encode()
    members["archive/data/constants/opaque_obj_0"] = pickle.dumps(Runs(marker))


def guard(members: Members, marker: Path) -> None:
    """Guards are made of sample inputs; plain ones are enough."""
    inputs = (torch.zeros(1, 2, 3, 8, 8), torch.zeros(1), torch.zeros(1, 2, 6))
    torch.save((inputs, {}), buffer := io.BytesIO())
    members["archive/data/sample_inputs/model.pt"] = buffer.getvalue()
    in_model(members, lambda model: model["guards_code"].append(f"{python(marker)} == 3"))


def expression(members: Members, marker: Path) -> None:
    text = json.dumps(json.loads(members["archive/models/model.json"]))
    at = text.index('"expr_str": "') + len('"expr_str": "')
    changed = text[:at] + python(marker) + text[text.index('"', at) :]
    members["archive/models/model.json"] = changed.encode()


def maps_a_file(members: Members, marker: Path) -> None:
    name = {"name": "filename", "arg": {"as_string": str(marker)}, "kind": 1}
    shared = {"name": "shared", "arg": {"as_bool": True}, "kind": 1}
    size = {"name": "size", "arg": {"as_int": 8}, "kind": 1}

    def change(model: Any) -> None:
        node = model["graph_module"]["graph"]["nodes"][0]
        node["target"], node["inputs"] = "torch.ops.aten.from_file.default", [name, shared, size]

    in_model(members, change)


def calls_python(members: Members, _: Path) -> None:
    def change(model: Any) -> None:
        model["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"

    in_model(members, change)


def library(members: Members, _: Path) -> None:
    members["archive/data/aotinductor/model/model.so"] = b"\x7fELF"


def enormous(members: Members, _: Path) -> None:
    """A power that takes forever to work out."""
    text = members["archive/models/model.json"].decode()
    at = text.index('"expr_str": "') + len('"expr_str": "')
    power = "Pow(Integer(9), Pow(Integer(9), Integer(99)))"
    members["archive/models/model.json"] = (
        text[:at] + power + text[text.index('"', at) :]
    ).encode()


def argument_name(members: Members, marker: Path) -> None:
    """A default value, worked out where torch defines the function."""
    name = f"d={python(marker)}"

    def change(model: Any) -> None:
        call = model["graph_module"]["module_call_graph"][0]["signature"]
        call["forward_arg_names"].append(name)

    in_model(members, change)


def parameter_name(members: Members, marker: Path) -> None:
    """Ends the text that torch writes the name in."""
    text = members["archive/models/model.json"].decode()
    name = json.loads(members["archive/data/weights/model_weights_config.json"])["config"]
    first = next(iter(name))
    evil = f'" + str(eval(bytes({list(python(marker).encode())}))) + "'
    for file in ("models/model.json", "data/weights/model_weights_config.json"):
        text = members[f"archive/{file}"].decode()
        members[f"archive/{file}"] = text.replace(json.dumps(first), json.dumps(evil)).encode()


def input_name(members: Members, marker: Path) -> None:
    text = members["archive/models/model.json"].decode()
    evil = json.dumps(f"time_b={python(marker)}")
    members["archive/models/model.json"] = text.replace('"time_b"', evil).encode()


def backtracking(members: Members, _: Path) -> None:
    text = members["archive/models/model.json"].decode()
    at = text.index('"expr_str": "') + len('"expr_str": "')
    digits = "Integer(1)" * 30 + "x"
    members["archive/models/model.json"] = (
        text[:at] + digits + text[text.index('"', at) :]
    ).encode()


def endless_range(members: Members, _: Path) -> None:
    limits = {"u99999999999": {"min_val": 0, "max_val": 4}}
    in_model(members, lambda model: model["range_constraints"].update(limits))


def memory(members: Members, _: Path) -> None:
    """Zeros of any size, without data."""
    name = "archive/data/weights/model_weights_config.json"
    config = json.loads(members[name])
    meta = next(iter(config["config"].values()))["tensor_meta"]
    meta["device"] = {"type": "cpu", "index": None}
    meta["sizes"] = [{"as_int": 10**12}]
    members[name] = json.dumps(config).encode()


def no_tree(members: Members, _: Path) -> None:
    def change(model: Any) -> None:
        model["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = "{"

    in_model(members, change)


def many(members: Members, _: Path) -> None:
    def change(model: Any) -> None:
        nodes = model["graph_module"]["graph"]["nodes"]
        nodes.extend([{"target": "torch.ops.aten.add.Tensor"}] * 20_001)

    in_model(members, change)


HOSTILE = {
    "pickled samples": (pickled_samples, "sample inputs, which are pickled objects"),
    "pickled weight": (pickled_weight, "is a pickled object"),
    "pickled constant": (pickled_constant, "which no plain program has"),
    "expression": (expression, "is no arithmetic of sizes"),
    "maps a file": (maps_a_file, "is no plain function|takes the text 'filename'"),
    "calls Python": (calls_python, "is none of aten's"),
    "library": (library, "which no plain program has"),
    "enormous": (enormous, "is no arithmetic of sizes"),
    "argument name": (argument_name, "is no name"),
    "parameter name": (parameter_name, "is no name"),
    "input name": (input_name, "is no name"),
    "backtracking": (backtracking, "is no arithmetic of sizes"),
    "endless range": (endless_range, "is no name of a size"),
    "memory": (memory, "a program holds none"),
    "no tree": (no_tree, "not as torch.export writes it"),
    "many": (many, "more operations than a network has"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_program_is_refused_before_it_is_loaded(
    attack: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, says = HOSTILE[attack]
    folder, marker = copied(bundle, tmp_path / "b"), tmp_path / "marker"
    repacked(folder / "denoiser.pt2", lambda members: change(members, marker))
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("was loaded"))
    with pytest.raises(InputError, match=says):
        nas.Bundle.load(folder)
    assert not marker.exists()


REAL = {
    "pickled samples": pickled_samples,
    "pickled weight": pickled_weight,
    "guard": guard,
    "expression": expression,
    "argument name": argument_name,
}


@pytest.mark.parametrize("attack", REAL)
def test_these_attacks_are_real(attack: str, bundle: Path, tmp_path: Path) -> None:
    """Torch alone runs them: if it ever stops to, the check may be made simpler."""
    folder, marker = copied(bundle, tmp_path / "b"), tmp_path / "marker"
    repacked(folder / "denoiser.pt2", lambda members: REAL[attack](members, marker))
    try:
        module = torch.export.load(folder / "denoiser.pt2").module()
        module(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1), torch.zeros(1, 2, 6))
    except Exception:  # after the deed, whatever it says
        assert marker.exists()
    assert marker.read_text() == "ran"


def test_guards_are_left_out(bundle: Path, tmp_path: Path) -> None:
    folder, marker = copied(bundle, tmp_path / "b"), tmp_path / "marker"
    text = f"{python(marker)} == 3"
    repacked(
        folder / "denoiser.pt2",
        lambda members: in_model(members, lambda model: model["guards_code"].append(text)),
    )
    module = nas.Bundle.load(folder).denoiser()
    module(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1), torch.zeros(1, 2, 6))
    assert not marker.exists()


def test_a_compressed_program_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = copied(bundle, tmp_path / "b")
    repacked(folder / "features.pt2", lambda _: None, compressed=True)
    with pytest.raises(InputError, match="is compressed"):
        nas.Bundle.load(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), length=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_damaged_programs_are_refused_or_are_plain(
    at: float, length: int, seed: int, bundle: Path, tmp_path: Path
) -> None:
    data = bytearray((bundle / "features.pt2").read_bytes())
    first = int(at * (len(data) - 1))
    noise = np.random.default_rng(seed).bytes(length)
    data[first : first + length] = noise
    file = tmp_path / "damaged.pt2"
    file.write_bytes(data)
    try:
        checked(file)
    except HostileProgramError as error:
        assert "\n" not in str(error)


def tuned(folder: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """What a training package leaves."""
    weights = {n: t + 0.5 for n, t in load_file(folder / "weights.safetensors").items()}
    save_file(weights, folder / "finetuned.safetensors")
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("finetuned.safetensors", "bundle.json")
    }
    document = {
        "format": "temporal-nas/finetuned",
        "version": "1.0",
        "bundle": digests["bundle.json"],
        "files": {"finetuned.safetensors": digests["finetuned.safetensors"]},
        "sampler": {"kind": "leap", "times": [1, 0.5], "guidance": 1.0},
        "settings": {"seed": 0},
        "versions": {"torch": "2.13"},
    }
    (folder / "finetuned.json").write_text(json.dumps(document | changes))
    return weights


def test_tuned_weights_come_back(bundle: Path, tmp_path: Path) -> None:
    folder = copied(bundle, tmp_path / "b")
    weights = tuned(folder)
    opened = nas.Bundle.load(folder).save(tmp_path / "copy")
    name = next(iter(weights))
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
        ({"files": {"finetuned.safetensors": "0" * 64}}, "was changed since"),
        (
            {"sampler": {"kind": "leap", "times": [2], "guidance": 1}},
            "sampler.times.0: 2 is greater",
        ),
    ],
)
def test_tuned_weights_that_are_wrong_are_refused(
    changes: dict[str, Any], says: str, bundle: Path, tmp_path: Path
) -> None:
    folder = copied(bundle, tmp_path / "b")
    tuned(folder, **changes)
    with pytest.raises(InputError, match=says):
        nas.Bundle.load(folder)


def test_the_schema_is_one_and_the_programs_check_is_the_same_for_both() -> None:
    from jsonschema import Draft202012Validator

    for name in (FORMAT, "temporal-nas/finetuned"):
        Draft202012Validator.check_schema(schema(name))
    package = ROOT / "examples/adversarial_finetune/src/adversarial_finetune"
    ours = (ROOT / "nas/bundle/program_archive.py").read_text()
    assert (package / "program_archive.py").read_text() == ours
