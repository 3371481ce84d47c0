"""What a .pt2 can do to whoever trusts it, and that none of it is done here."""

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_bundle import BundleError, HostileProgramError, open_bundle
from temporal_bundle.program_archive import checked
from temporal_bundle.testing import write_manifest


# Each of these writes a file when it is run.
class Runs:
    """Unpickling this runs code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.marker, "ran")


Members = dict[str, bytes]


def repacked(file: Path, change: Callable[[Members], Any], *, compressed: bool = False) -> None:
    with zipfile.ZipFile(file) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    members = {f"archive/{name.partition('/')[2]}": data for name, data in found.items()}
    change(members)
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    write_manifest(file.parent)


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
    inputs = (torch.zeros(1, 1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 2, 3))
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
    evil = json.dumps(f"time={python(marker)}")
    members["archive/models/model.json"] = text.replace('"time"', evil).encode()


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
    folder, marker = bundle, tmp_path / "marker"
    repacked(folder / "denoiser.pt2", lambda members: change(members, marker))
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("was loaded"))
    with pytest.raises(BundleError, match=says):
        open_bundle(folder)
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
    folder, marker = bundle, tmp_path / "marker"
    repacked(folder / "denoiser.pt2", lambda members: REAL[attack](members, marker))
    try:
        module = torch.export.load(folder / "denoiser.pt2").module()
        module(torch.zeros(1, 1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 2, 3))
    except Exception:  # after the deed, whatever it says
        assert marker.exists()
    assert marker.read_text() == "ran"


def test_guards_are_left_out(bundle: Path, tmp_path: Path) -> None:
    folder, marker = bundle, tmp_path / "marker"
    text = f"{python(marker)} == 3"
    repacked(
        folder / "denoiser.pt2",
        lambda members: in_model(members, lambda model: model["guards_code"].append(text)),
    )
    module = open_bundle(folder).denoiser(open_bundle(folder).weights())
    module(torch.zeros(1, 1, 4, 8, 8), torch.zeros(1), torch.zeros(1, 2, 3))
    assert not marker.exists()


def test_a_compressed_program_is_refused(bundle: Path) -> None:
    repacked(bundle / "features.pt2", lambda _: None, compressed=True)
    with pytest.raises(BundleError, match="is compressed"):
        open_bundle(bundle)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.floats(0, 1), length=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_damaged_programs_are_refused_or_are_plain(
    at: float, length: int, seed: int, made: Path, tmp_path: Path
) -> None:
    data = bytearray((made / "features.pt2").read_bytes())
    first = int(at * (len(data) - 1))
    noise = random.Random(seed).randbytes(length)
    data[first : first + length] = noise
    file = tmp_path / "damaged.pt2"
    file.write_bytes(data)
    try:
        checked(file)
    except HostileProgramError as error:
        assert "\n" not in str(error)
