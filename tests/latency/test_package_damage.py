"""Damaged packages: a workload or one clear line, never anything else, and nothing half-read."""

import bisect
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latency import Workload
from latency.coreml.convert import save
from latency.coreml.package import read_package
from search_spaces import InputError

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
MANIFEST = "Manifest.json"
QUICK = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Small(nn.Module):
    """A bit of everything that is checked: products, weights, views, concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.norm = nn.LayerNorm(8)
        self.heads = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(F.silu(self.conv(x))).flatten(2).transpose(1, 2)
        query, key, value = self.heads(self.norm(h)).chunk(3, -1)
        return torch.cat((F.scaled_dot_product_attention(query, key, value) @ h.mT, h), -1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    package = tmp_path_factory.mktemp("packages") / "whole.mlpackage"
    save(Small().eval(), [torch.randn(1, 4, 5, 5)], package)
    return package


@pytest.fixture
def package(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "damaged.mlpackage", dirs_exist_ok=True))


def read_or_refuse(package: Path) -> Workload | None:
    """The workload, checked to be one, or None after an error that is one clear line."""
    try:
        workload = read_package(package)
    except InputError as error:
        text = str(error)
        assert text.startswith(f"{package}: ")
        assert text.isprintable(), text
        assert len(text) < 600, text
        return None
    json.dumps(workload.to_json(), allow_nan=False)
    assert Workload.from_json(workload.to_json(), "here") == workload
    return workload


def test_the_whole_one_is_read(package: Path) -> None:
    workload = read_or_refuse(package)
    assert workload is not None
    assert workload.flops > 0


@QUICK
@given(share=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_short_is_refused(package: Path, whole: Path, share: float) -> None:
    for name in (MODEL, WEIGHTS, MANIFEST):
        content = (whole / name).read_bytes()
        end = int(share * len(content))
        spare = len(content[end:].strip(b"\0 \n")) == 0  # only padding was cut
        (package / name).write_bytes(content[:end])
        assert spare or read_or_refuse(package) is None, f"{name} of {end} bytes"
        (package / name).write_bytes(content)


@QUICK
@given(
    name=st.sampled_from([MODEL, MODEL, WEIGHTS, MANIFEST]),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), min_size=1),
    removed=st.integers(0, 4),
)
def test_other_bytes(
    package: Path, whole: Path, name: str, edits: list[tuple[float, bytes]], removed: int
) -> None:
    content = bytearray((whole / name).read_bytes())
    for share, put in edits:
        at = int(share * len(content))
        content[at : at + removed] = put
    (package / name).write_bytes(content)
    read_or_refuse(package)
    (package / name).write_bytes((whole / name).read_bytes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PATHS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["..", "../../Manifest.json", "/etc/passwd", ".", "", "a\0b", "\ud800", "x" * 999]
    ),
    st.just("com.apple.CoreML/weights"),
)


@QUICK
@given(
    manifest=JSON, path=st.none() | PATHS | JSON, where=st.sampled_from(["root", "items", "entry"])
)
def test_other_manifests(
    package: Path, whole: Path, manifest: object, path: object, where: str
) -> None:
    content = json.loads((whole / MANIFEST).read_text())
    root = content["rootModelIdentifier"]
    if path is not None:
        content["itemInfoEntries"][root]["path"] = path
    elif where == "root":
        content["rootModelIdentifier"] = manifest
    elif where == "items":
        content["itemInfoEntries"] = manifest
    else:
        content["itemInfoEntries"][root] = manifest
    (package / MANIFEST).write_text(json.dumps(content))
    assert read_or_refuse(package) is None
    (package / MANIFEST).write_text(json.dumps(manifest))
    assert read_or_refuse(package) is None


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, MANIFEST, "Data", "."])
@pytest.mark.parametrize("how", ["gone", "a folder", "a link outside"])
def test_missing_and_moved_files(package: Path, whole: Path, name: str, how: str) -> None:
    there = package / name
    shutil.rmtree(there) if there.is_dir() else there.unlink()
    if how == "a folder":
        there.mkdir()
    elif how == "a link outside":
        there.symlink_to(whole / name)
    found = read_or_refuse(package)
    assert found is None or (name, how) in {(".", "a link outside"), (MANIFEST, "a link outside")}


def test_errors_say_how_to_mend(package: Path, tmp_path: Path) -> None:
    for path, mend in (
        (tmp_path / "none.mlpackage", "no such package"),
        (package / MODEL, "an .mlpackage is a folder"),
        (tmp_path / "some.mlmodelc", "give the .mlpackage"),
    ):
        with pytest.raises(InputError, match=mend):
            read_package(path)


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, MANIFEST])
def test_what_git_lfs_left_out_is_told_of(package: Path, name: str) -> None:
    (package / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(InputError, match=f"{Path(name).name} is a Git LFS pointer .*git lfs pull"):
        read_package(package)


Field = tuple[int, int, Any]  # number, wire type, an int or bytes
NUMBERS = st.sampled_from([0, 1, 2, 3, 10, 21, 64, 2**31 - 1, 2**40, 2**63 - 1, 2**64 - 1])
TEXTS = st.binary(max_size=6) | st.sampled_from(
    [b"cond", b"const", b"conv", b"gru", b"input_0", b"constexpr_lut_to_dense", b"a\nb", b"../x"]
)


def varint(number: int) -> bytes:
    head, rest = number & 127, number >> 7
    return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def fields_of(message: bytes) -> list[Field] | None:
    """The fields of a protobuf message; None where the bytes are none."""

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            value |= (message[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 128:
                return value

    at, found = 0, list[Field]()
    try:
        while at < len(message):
            tag = number()
            if tag & 7 == 0:
                found.append((tag >> 3, 0, number()))
                continue
            size = {1: 8, 5: 4}[tag & 7] if tag & 7 != 2 else number()
            found.append((tag >> 3, tag & 7, message[at : at + size]))
            at += size
    except (IndexError, KeyError):
        return None
    return found if at == len(message) else None


def joined(fields: list[Field]) -> bytes:
    parts = []
    for number, wire, value in fields:
        length = varint(len(value)) if wire == 2 else b""
        parts.append(varint(number << 3 | wire) + length + (value if wire else varint(value)))
    return b"".join(parts)


def edited(message: bytes, draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """The message with one field changed, gone or there twice; large ones are gone into first."""
    fields = fields_of(message) or []
    sizes = [len(value) if wire == 2 else 1 for _, wire, value in fields]
    ends = list(itertools.accumulate(sizes))
    at = bisect.bisect(ends, draw(st.integers(0, max(ends[-1] - 1, 0))))
    number, wire, value = fields[at]
    if wire == 2 and fields_of(value) and draw(st.integers(0, 5)):
        fields[at] = number, wire, edited(value, draw)
        return joined(fields)
    change = draw(st.sampled_from(["value", "value", "gone", "twice", "number"]))
    if change == "value":
        new = {0: NUMBERS, 2: TEXTS}.get(wire)
        fields[at] = number, wire, draw(new) if new is not None else bytes(len(value))
    elif change == "number":
        fields[at] = draw(st.integers(1, 40)), wire, value
    else:
        fields[at : at + 1] = [fields[at]] * (0 if change == "gone" else 2)
    return joined(fields)


@QUICK
@given(data=st.data(), times=st.integers(1, 3))
def test_other_fields(package: Path, whole: Path, data: st.DataObject, times: int) -> None:
    content = (whole / MODEL).read_bytes()
    for _ in range(times):
        content = edited(content, data.draw)
    (package / MODEL).write_bytes(content)
    read_or_refuse(package)
