"""The cache of traced workloads: the same key of the same code is found, nothing else is."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import latency
from latency.tracing import cache
from latency.tracing.cache import default_folder, traced

X = torch.empty(2, 3, 8)
PACKAGES = ("supernet",)


def block(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(8, width), nn.LayerNorm(width))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


@pytest.mark.slow
def test_is_found_again_whatever_its_weights_name_and_device(tmp_path: Path) -> None:
    first = traced(block(), (X,), "first", tmp_path, key="block", packages=PACKAGES)
    [file] = files(tmp_path)
    entry = json.loads(file.read_text())
    entry["workload"]["peak_bytes"] = 7  # so that an answer out of the file is known as such
    entry["sha256"] = cache._digest(entry["workload"])
    file.write_text(json.dumps(entry))
    with torch.device("meta"):
        again = traced(block(), (X.to("meta"),), "again", tmp_path, key="block", packages=PACKAGES)
    assert (again.name, again.peak_bytes, again.operations) == ("again", 7, first.operations)
    assert again.parameters == first.parameters == 8 * 8 + 3 * 8


@pytest.mark.parametrize(
    ("module", "x", "key"),
    [
        (block(16), X, "block"),
        (block().half(), X.half(), "block"),
        (block(), X.double().float()[:1], "block"),
        (block(), X, "another"),
    ],
)
def test_another_key_or_shape_is_another_entry(
    module: nn.Module, x: Tensor, key: str, tmp_path: Path
) -> None:
    traced(block(), (X,), folder=tmp_path, key="block", packages=PACKAGES)
    found = traced(module, (x,), folder=tmp_path, key=key, packages=PACKAGES)
    assert len(files(tmp_path)) == 2
    assert found == latency.trace(module, x)


class Mine(nn.Module):
    """Of a package of which nobody said that its code is in the key."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@pytest.mark.parametrize("module", [Mine(), nn.Sequential(nn.Linear(8, 8), Mine())])
def test_classes_of_other_packages_are_traced_each_time(
    module: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered() -> int:
        found = traced(module, (X,), folder=tmp_path, key="mine", packages=PACKAGES)
        return len(found.operations)

    before = answered()
    monkeypatch.setattr(Mine, "forward", lambda _, x: x + 1 + 1)
    assert answered() == before + 1
    assert not files(tmp_path)


def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    assert traced(block(), (X,), folder=tmp_path) == latency.trace(block(), X)
    assert not files(tmp_path)


NETWORK = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        return {}
"""
ASK = """
import sys
from pathlib import Path
import torch
from blocks.net import Net
from latency.tracing.cache import traced
kept, x = Path(sys.argv[1]), torch.empty(2, 3)
print(len(traced(Net(), (x,), folder=kept, key="net", packages=("blocks",)).operations))
"""


@pytest.mark.long
def test_edited_code_is_other_code(tmp_path: Path) -> None:
    package = tmp_path / "blocks"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "ask.py").write_text(ASK)
    for count, code in enumerate(("x + 1", "x + 1 + 1"), 1):
        (package / "net.py").write_text(NETWORK.format(code))
        ask = [sys.executable, tmp_path / "ask.py", tmp_path / "kept"]
        assert int(subprocess.check_output(ask, cwd=Path(__file__).parents[2])) == count
        assert len(files(tmp_path / "kept")) == count


def test_code_that_was_edited_since_is_not_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "STARTED", 0.0)
    cache._code.cache_clear()
    traced(block(), (X,), folder=tmp_path, key="block", packages=PACKAGES)
    cache._code.cache_clear()
    assert not files(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("matmul", "Matmul"),
        lambda _: "[",
    ],
)
def test_a_damaged_entry_is_traced_again(damage: Callable[[str], str], tmp_path: Path) -> None:
    first = traced(block(), (X,), folder=tmp_path, key="block", packages=PACKAGES)
    [file] = files(tmp_path)
    whole = file.read_text()
    file.write_text(damage(whole))
    assert traced(block(), (X,), folder=tmp_path, key="block", packages=PACKAGES) == first
    assert file.read_text() == whole, "and written anew"


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "cache"
    assert traced(block(), (X,), folder=folder, key="b", packages=PACKAGES).flops == 2 * 6 * 64


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_ENTRIES", 2)
    for width in (4, 8, 16):
        traced(block(width), (X,), folder=tmp_path, key="block", packages=PACKAGES)
    assert len(files(tmp_path)) == 2


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TEMPORAL_NAS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert default_folder() == tmp_path / "temporal-nas" / "workloads"
        monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
        assert default_folder() == Path.home() / ".cache" / "temporal-nas" / "workloads"
    monkeypatch.setenv("TEMPORAL_NAS_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine" / "workloads"
