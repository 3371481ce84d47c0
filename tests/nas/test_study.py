"""The study: nothing twice, nothing over the budget, nothing lost."""

from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from latency import Device
from nas.budget import Budget, Limits, resolve
from nas.costs import Costs, SpaceCosts
from nas.strategies import STRATEGIES, Problem, cost_aware, load_strategy
from nas.study import Study, front, sqlite, winner
from search_spaces import (
    CONV1D,
    CONV3D,
    NONE,
    SELF_ATTENTION_1D,
    Architecture,
    InputError,
    temporal_space,
)
from search_spaces.moving_digits import UNET


class Quality:
    """A loss that more convolutions lower, and the record of what was asked."""

    def __init__(self, die_at: int = 10**9) -> None:
        self.asked: list[Architecture] = []
        self._die_at = die_at

    def __call__(self, architecture: Architecture) -> float:
        if len(self.asked) == self._die_at:
            raise KeyboardInterrupt
        self.asked.append(architecture)
        weights = {"none": 0.0, "conv1d": 3.0, "conv3d": 4.0, "self_attention1d": 1.0}
        operators = [option for name, option in architecture.items() if "." not in name]
        return 100.0 - sum(weights.get(str(operator), 2.0) for operator in operators)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_evaluates_each_network_once_and_inside_the_budget(
    name: str, tmp_path: Path, limits: Limits
) -> None:
    quality = Quality()
    study = Study("s", sqlite(tmp_path / "s.db"), limits, load_strategy(name), seed=0)
    evaluated = study.run(16, quality)
    assert len(evaluated) == len(quality.asked) == len(set(quality.asked)) == 16
    assert all(limits.keeps(found.architecture) for found in evaluated)
    assert winner(evaluated).loss == min(found.loss for found in evaluated)
    stored = optuna.load_study(study_name="s", storage=sqlite(tmp_path / "s.db"))
    assert [d.name for d in stored.directions] == ["MINIMIZE", "MINIMIZE"]
    for trial in stored.get_trials(states=(TrialState.COMPLETE,)):
        assert trial.constraints["latency_ms"] <= 0


def test_cost_aware_beats_random_picks(limits: Limits) -> None:
    best = {}
    for name in ("random", "cost-aware"):
        losses = []
        for seed in range(2):
            study = Study(name, "sqlite://", limits, load_strategy(name), seed)
            losses.append(winner(study.run(36, Quality())).loss)
        best[name] = sum(losses) / len(losses)
    assert best["cost-aware"] < best["random"]


@pytest.mark.parametrize("name", ["cost-aware", "tpe"])
def test_an_interrupted_study_goes_on(name: str, tmp_path: Path, limits: Limits) -> None:
    storage = sqlite(tmp_path / "s.db")
    strategy = load_strategy(name)
    with pytest.raises(KeyboardInterrupt):
        Study("s", storage, limits, strategy, seed=0).run(14, Quality(die_at=9))
    before = Study("s", storage, limits, strategy, seed=0).finished()
    assert len(before) == 9
    quality = Quality()
    after = Study("s", storage, limits, strategy, seed=0).run(14, quality)
    assert after[:9] == before
    assert len(after) == len({found.architecture for found in after}) == 14
    assert not {found.architecture for found in before} & set(quality.asked)
    lost = [t for t in optuna.load_study(study_name="s", storage=storage).trials if not t.values]
    interrupted = [t for t in lost if "turned_down" not in t.user_attrs]
    assert len(interrupted) == 1
    assert quality.asked[0] == limits.costs.space.architecture(interrupted[0].params)


def test_an_exhausted_space_ends_the_search(tmp_path: Path, device: Device) -> None:
    operators = (NONE, CONV1D, CONV3D, SELF_ATTENTION_1D)
    costs = Costs(SpaceCosts(temporal_space("listable", UNET, operators)), device)
    only_mid = [
        costs.space.architecture({s.name: "none" for s in costs.space.slots} | {"mid": each.name})
        for each in operators[1:]
    ]
    one_block_ms = min(costs.per_slot_ms(a)["mid"] for a in only_mid)
    tight = resolve(Budget(str(4 * (costs.image_ms + 1.5 * one_block_ms))), costs)
    feasible = {a for a in costs.space.enumerate() if tight.keeps(a)}
    assert 1 < len(feasible) < 60
    study = Study("s", sqlite(tmp_path / "s.db"), tight, load_strategy("random"), seed=0)
    assert {found.architecture for found in study.run(500, Quality())} == feasible


def test_a_loss_that_is_no_number_fails_the_trial(tmp_path: Path, limits: Limits) -> None:
    study = Study("s", sqlite(tmp_path / "s.db"), limits, cost_aware, seed=0)
    with pytest.raises(FloatingPointError, match="trial 0: loss of .* is nan"):
        study.run(3, lambda _: float("nan"))
    assert study.finished() == []


def test_the_front_is_what_nothing_beats(tmp_path: Path, limits: Limits) -> None:
    evaluated = Study("s", sqlite(tmp_path / "s.db"), limits, cost_aware, seed=0).run(30, Quality())
    best = front(evaluated)
    for found in evaluated:
        beaten = any(
            o.loss <= found.loss
            and o.latency_ms <= found.latency_ms
            and (o.loss, o.latency_ms) != (found.loss, found.latency_ms)
            for o in evaluated
        )
        assert beaten or any((o.loss, o.latency_ms) == (found.loss, found.latency_ms) for o in best)
    assert [f.latency_ms for f in best] == sorted(f.latency_ms for f in best)


def test_a_strategy_of_ones_own(
    tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from optuna.samplers import RandomSampler\n"
        "def reversed_random(problem):\n"
        "    return RandomSampler(seed=problem.seed + 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    strategy = load_strategy("mine:reversed_random")
    sampler = strategy(Problem(limits.costs.space, limits.pipeline_ms, limits.keeps, 0))
    assert isinstance(sampler, BaseSampler)
    assert len(Study("s", sqlite(tmp_path / "s.db"), limits, strategy, 0).run(4, Quality())) == 4
    with pytest.raises(InputError, match="unknown strategy 'genetic'"):
        load_strategy("genetic")


def test_storages_that_cannot_be_opened(limits: Limits) -> None:
    with pytest.raises(InputError, match="storage .*cannot be opened"):
        Study("s", "sqlite:////no/such/folder/s.db", limits, cost_aware, 0)
    with pytest.raises(InputError) as caught:
        Study("s", "nosuchdb://me:secret@host/db", limits, cost_aware, 0)
    assert "secret" not in str(caught.value)
