"""Finalists are trained on by themselves, and what a kill leaves is gone on with."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nas
from nas.temporal.halving import rounds, trained_by_halving
from search_spaces import TemporalSpace
from supernet import TrainingPlan, Validation, load_supernet
from supernet.data.loading import load_clips


@given(st.integers(2, 40), st.integers(400, 10_000))
def test_rounds_halve_the_networks_and_keep_the_steps(networks: int, steps: int) -> None:
    found = rounds(networks, steps)
    counts = [count for count, _ in found]
    assert counts[0] == networks
    assert counts[-1] == 2
    assert all(2 * after >= before > after for before, after in itertools.pairwise(counts))
    assert sum(count * each for count, each in found) <= steps
    assert [each for _, each in found] == sorted(each for _, each in found)


@pytest.mark.slow
def test_a_kill_between_or_within_trainings_changes_nothing(
    tmp_path: Path, space: TemporalSpace, supernet_file: Path
) -> None:
    supernet = load_supernet(supernet_file, space)
    rng = np.random.default_rng(0)
    three = [space.sample(rng) for _ in range(3)]
    validation = Validation(load_clips("digits", space.unet, "validation"), 8)

    def trained(folder: Path, dies_at: int | None = None) -> dict[str, torch.Tensor]:
        folder.mkdir(exist_ok=True)

        def advance(done: int) -> None:
            if dies_at is not None and done >= dies_at:
                raise KeyboardInterrupt

        plan = TrainingPlan(video_clips=2)
        networks = trained_by_halving(
            three, 12, supernet, space, plan, validation, folder.joinpath, advance
        )
        return {
            f"{place}:{name}": tensor
            for place, each in enumerate(three)
            for name, tensor in networks[each].state_dict().items()
        }

    whole = trained(tmp_path / "whole")
    for dies_at in (2, 7):  # in the first round, in the second
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", dies_at)
    resumed = trained(tmp_path / "killed")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    for place, each in enumerate(three):
        inherited = supernet.extract(each).state_dict()
        assert any(not torch.equal(t, whole[f"{place}:{n}"]) for n, t in inherited.items())


@pytest.mark.slow
def test_a_search_delivers_a_finalist_that_was_trained_on(
    tmp_path: Path, space: TemporalSpace, device_file: Path, supernet_file: Path
) -> None:
    settings = nas.Settings(
        supernet=str(supernet_file), device=str(device_file), trials=4, validation_clips=8,
        test_clips=8, finalists=3, finalist_clips=32, finalist_steps=12, winner_steps=0,
    )  # fmt: skip
    result = nas.search(tmp_path / "run", settings)
    told = json.loads((tmp_path / "run" / "run.json").read_text())["results"]
    assert "as a finalist" in told["weights"]
    inherited = load_supernet(supernet_file, space).extract(result.winner.architecture).state_dict()
    delivered = nas.Bundle.load(tmp_path / "run" / "bundle").network().state_dict()
    assert any(not torch.equal(tensor, delivered[name]) for name, tensor in inherited.items())
