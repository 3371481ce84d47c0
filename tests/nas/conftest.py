"""A device and a supernet that are made once, so that tests of the search need not."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import NAS, SMALL

import latency
from latency import Device, Measurement
from nas.cli import main
from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Budget, Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from search_spaces import (
    CONV1D,
    CONV3D,
    NONE,
    SELF_ATTENTION_1D,
    SELF_ATTENTION_3D,
    TemporalSpace,
    load,
    temporal_space,
)
from search_spaces.shipped.moving_digits import UNET
from supernet import TrainingPlan, train_backbone, train_supernet

Call = Callable[..., tuple[int, str, str]]
Made = Callable[[str, Callable[[Path], object]], Path]
FILE = "made-up.json"
pytest.register_assert_rewrite("phones")  # which tests take fixtures of


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Runs `nas ARGUMENTS` in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["nas", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def space() -> TemporalSpace:
    found = load("moving_digits")
    assert isinstance(found, TemporalSpace)
    return found


@pytest.fixture(scope="session")
def space_costs(space: TemporalSpace) -> SpaceCosts:
    return SpaceCosts(space)


@pytest.fixture(scope="session")
def plain_costs() -> SpaceCosts:
    """Moving digits without elastic sizes: few enough networks to look at each of them."""
    operators = (NONE, CONV1D, CONV3D, SELF_ATTENTION_1D, SELF_ATTENTION_3D)
    return SpaceCosts(temporal_space("plain_digits", UNET, operators))


@pytest.fixture(scope="session")
def device_file(space: TemporalSpace, space_costs: SpaceCosts, made_once: Made) -> Path:
    """A device on which each operation takes its FLOPs and bytes at fixed rates."""
    return made_once("device", lambda to: made_up(space, space_costs).save(to / FILE)) / FILE


@pytest.fixture(scope="session")
def device(device_file: Path) -> Device:
    return latency.read_device(device_file)


def made_up(space: TemporalSpace, space_costs: SpaceCosts) -> Device:
    parts = [space_costs.backbone.workload]
    for slot in space.slots:
        for block in space.blocks():
            part = space_costs.block(slot, block)
            parts += [part.workload] if part else []
    measured = [Measurement(p, p.flops / 1e8 + p.bytes_moved / 1e7 + 0.1) for p in parts]
    return latency.calibrate(measured, "made-up")


@pytest.fixture(scope="session")
def supernet_file(space: TemporalSpace, made_once: Made) -> Path:
    """A supernet that was trained for a moment."""
    plan = TrainingPlan(image_steps=3, image_clips=1, video_steps=6, video_clips=1)

    def train(folder: Path) -> None:
        backbone = train_backbone(space, plan, folder / "backbone.safetensors")
        train_supernet(space, backbone, plan, folder / "supernet.safetensors")

    return made_once("supernet", train) / "supernet.safetensors"


@pytest.fixture(scope="session")
def limits(device: Device, space_costs: SpaceCosts) -> Limits:
    return resolve(Budget("70%"), BlockCosts(space_costs, device))


@pytest.fixture(scope="session")
def finished_run(made_once: Made, device_file: Path, supernet_file: Path) -> Path:
    """A run folder as `nas search` leaves it; only to be read."""

    def search(folder: Path) -> None:
        done = subprocess.run(
            [
                *NAS, "search", "--out", "run", "--device", str(device_file),
                "--supernet", str(supernet_file), *SMALL, "--json",
            ],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["trials"] == 6
        assert "[7/7]" in done.stderr

    return made_once("search", search) / "run"
