"""`--dry-run`: what a training takes, as it then does, with nothing written."""

import re
from pathlib import Path

import pytest
import torch
from conftest import Call

from adversarial_finetune.allocations import Allocations

DRY = ("--clips-per-step", "8", "--dry-run")


def test_allocations_are_counted_while_something_holds_them() -> None:
    held = torch.zeros(1000)
    with Allocations() as watched:
        held.view(10, 100)
        for _ in range(5):
            _ = held + 1
        assert watched.most <= 2 * 4000
        kept = [held + 1 for _ in range(5)]
    assert 5 * 4000 <= watched.most <= 7 * 4000
    assert len(kept) == 5


def figures(printed: str) -> dict[str, list[float]]:
    lines = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()[1:]]
    return {name: [float(value) for value in values] for name, *values in lines}


def test_a_dry_run_says_what_it_takes(bundle: Path, clips: Path, call: Call) -> None:
    before = sorted(bundle.parent.rglob("*"))
    code, printed, said = call("train", bundle, "--data", clips, "--out", "run", *DRY)
    assert code == 0, said
    assert sorted(bundle.parent.rglob("*")) == before
    found = figures(printed)
    weights = (bundle / "weights.safetensors").stat().st_size / 1e9
    assert found["parameters that learn"][0] == pytest.approx(weights, abs=1e-3)
    assert all(len(values) == 2 for values in found.values())
    assert [name for name in found if name.startswith("seconds of step")] == [
        f"seconds of step {number}" for number in (1, 2, 3)
    ]


def test_no_steps_are_refused(bundle: Path, clips: Path, call: Call) -> None:
    code, _, said = call(
        "train", bundle, "--data", clips, "--out", "run", *DRY, "--dry-run-steps", "0"
    )
    assert (code, said.count("\n")) == (2, 1)
    assert "--dry-run-steps" in said


def test_pieces_take_less(bundle: Path, clips: Path, call: Call) -> None:
    train = ("train", bundle, "--data", clips, "--out", "run", "--clips-per-step", "64")
    taken = []
    for pieces in ("1", "8"):
        code, printed, said = call(
            *train, "--dry-run", "--dry-run-steps", "1", "--accumulate", pieces
        )
        assert code == 0, said
        assert "stage two, trying it out: 2/2" in said
        taken.append(figures(printed)["activations and gradients"])
    assert all(few < 0.5 * whole for whole, few in zip(*taken, strict=True))
