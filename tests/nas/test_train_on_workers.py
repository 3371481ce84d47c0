"""A user's own supernet on Ray's workers, from a script of his own."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from temporal_bundle.closeness import flat

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.kernels]
SCRIPT = """
import functools
import sys
from pathlib import Path

import torch
from torch import nn

import nas
from search_spaces import Choice, SearchSpace
from supernet import Minibatches, Schedule, train_paths

SPACE = SearchSpace("own", (Choice("kind", ("linear", "gated")), Choice("width", (4, 8))))


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.gate, self.leave = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x, architecture):
        h = self.enter(x)
        h = h * self.gate(x).sigmoid() if architecture["kind"] == "gated" else h.relu()
        return self.leave(h * (torch.arange(8) < architecture["width"]))


def draw(randomness, wanted):
    generators = [torch.Generator().manual_seed(randomness.clip_seed(i)) for i in wanted]
    x = torch.stack([torch.randn(6, generator=each) for each in generators])
    return x, x[:, :2].abs()


def train(name, size=4):
    torch.manual_seed(0)
    shown = lambda done, loss: print(f"{name}: {done} {loss:.3f}", flush=True)
    train_paths(Own(), SPACE, Minibatches(draw, size), nn.functional.mse_loss,
                Path(name).resolve(), Schedule(40), recipe="sandwich", on_step=shown)


if __name__ == "__main__":
    if sys.argv[1] == "odd":
        nas.train_on_workers(functools.partial(train, "odd", 3), workers=2)
    Path("two").unlink(missing_ok=True)
    train("one")
    nas.train_on_workers(functools.partial(train, str(Path("two").resolve())), workers=2)
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "own.py", *arguments], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_two_workers_train_what_one_trains(tmp_path: Path) -> None:
    """`tests/supernet/test_path_training.py` compares exactly, without Ray."""
    (tmp_path / "own.py").write_text(SCRIPT)
    done = run(tmp_path, "both")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'two'}: 40 " in done.stderr  # of the first worker alone, once
    assert done.stderr.count(": 40 ") == 1
    one, two = (load_file(tmp_path / name) for name in ("one", "two"))
    assert one.keys() == two.keys()
    first, second = (flat(weights[name] for name in one) for weights in (one, two))
    assert (first - second).norm() < 1e-3 * first.norm()


def test_what_a_worker_refuses_is_said_here(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SCRIPT)
    done = run(tmp_path, "odd")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InputError: a batch of 3 examples does not split evenly among 2 workers" in last
