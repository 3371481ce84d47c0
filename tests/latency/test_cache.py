"""The cache of traced workloads: the same content is found, any other is not."""

import copy
import functools
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import latency.tracing.cache
from latency import Workload
from latency.tracing.cache import default_folder, traced
from latency.tracing.fingerprint import fingerprint

X = torch.empty(2, 3, 8)


class Block(nn.Module):
    def __init__(self, width: int = 8, act: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.linear = nn.Linear(8, width)
        self.norm = nn.LayerNorm(width)
        self.act = act
        self.settings = {"repeats": [1, 2], "kind": ("a", None)}
        self.make = functools.partial(nn.Linear, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for _ in self.settings["repeats"]:
            x = x + 1
        return self.act(self.norm(self.linear(x)))


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was really traced."""
    names: list[str] = []
    trace = latency.tracing.cache.trace

    def counting(module: nn.Module, *inputs: Tensor, name: str) -> Workload:
        names.append(name)
        return trace(module, *inputs, name=name)

    monkeypatch.setattr(latency.tracing.cache, "trace", counting)
    return names


def test_is_traced_once_whatever_its_weights_and_name(tmp_path: Path, count: list[str]) -> None:
    first = traced(Block(), (X,), "first", tmp_path)
    with torch.device("meta"):
        again = traced(Block().train(), (X.to("meta"),), "again", tmp_path)
    assert count == ["first"]
    assert again.name == "again"
    assert (again.operations, again.peak_bytes) == (first.operations, first.peak_bytes)


def _other_forward(self: Block, x: Tensor) -> Tensor:
    return self.linear(x)


def _with_setting(block: Block) -> Block:
    block.settings["repeats"].append(3)  # type: ignore[attr-defined]
    return block


def _hooked(block: Block) -> Block:
    block.linear.register_forward_hook(lambda _m, _i, out: out * 2)
    return block


@pytest.mark.parametrize(
    "other",
    [
        lambda _: Block(width=16),
        lambda _: Block(act=F.silu),
        lambda _: Block(act=lambda x: x * 2),
        lambda b: b.half(),
        nn.Sequential,
        _with_setting,
        _hooked,
        lambda b: b.register_buffer("more", torch.ones(1)) or b,
        lambda b: setattr(b, "forward", functools.partial(_other_forward, b)) or b,
    ],
)
def test_other_content_is_another_key(other: Callable[[Block], nn.Module]) -> None:
    plain = fingerprint(Block(), (X,)).key
    assert fingerprint(copy.deepcopy(Block()), (X,)).key == plain
    assert fingerprint(other(Block()), (X,)).key != plain


def test_inputs_and_code_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fingerprint(Block(), (X,)).key
    assert fingerprint(Block(), (X.half(),)).key != plain
    assert fingerprint(Block(), (torch.empty(1, 3, 8),)).key != plain
    monkeypatch.setattr(Block, "forward", _other_forward)
    assert fingerprint(Block(), (X,)).key != plain


PARTS = "FACTOR = {factor}\n\n\ndef double(x):\n    return x {sign} FACTOR\n"
NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        from parts import double
        return double(x)

if __name__ == "__main__":
    from latency.tracing.fingerprint import fingerprint
    print(fingerprint(nn.Sequential(nn.Linear(3, 3)), (torch.empty(2, 3),)).key)
"""


def test_a_helper_in_another_file_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def key(factor: int, sign: str) -> str:
        (tmp_path / "parts.py").write_text(PARTS.format(factor=factor, sign=sign))
        for name in ("parts", "network"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.import_module("parts")
        return fingerprint(importlib.import_module("network").Net(), (X,)).key

    assert key(2, "*") == key(2, "*")
    assert len({key(2, "*"), key(3, "*"), key(2, "+")}) == 3


def test_every_process_has_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    root = str(Path(__file__).parents[2])
    keys = {
        subprocess.check_output(
            [sys.executable, str(tmp_path / "network.py")],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("elementwise", "Elementwise"),
        lambda _: "[",
    ],
)
def test_a_damaged_entry_is_traced_again(
    damage: Callable[[str], str], tmp_path: Path, count: list[str]
) -> None:
    first = traced(Block(), (X,), "first", tmp_path)
    [file] = tmp_path.glob("*.json")
    whole = file.read_text()
    file.write_text(damage(whole))
    assert traced(Block(), (X,), "first", tmp_path) == first
    assert count == ["first", "first"]
    assert file.read_text() == whole, "and written anew"


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert traced(Block(), (X,), folder=tmp_path / "file" / "cache").flops == 2 * 6 * 64


def test_what_cannot_be_described_is_traced_each_time(tmp_path: Path, count: list[str]) -> None:
    block = Block()
    block.generator = torch.Generator()  # type: ignore[assignment]
    for _ in range(2):
        traced(block, (X,), "odd", tmp_path)
    assert count == ["odd", "odd"]
    assert not list(tmp_path.iterdir())


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency.tracing.cache, "MOST_ENTRIES", 2)
    for width in (4, 8, 16):
        traced(nn.Linear(8, width), (X,), folder=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TEMPORAL_NAS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "temporal-nas" / "workloads"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_folder() == Path.home() / ".cache" / "temporal-nas" / "workloads"
    monkeypatch.setenv("TEMPORAL_NAS_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine" / "workloads"
