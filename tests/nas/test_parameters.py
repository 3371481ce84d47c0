"""Optuna's parameters as choices of a space: numbers in steps, on a logarithmic scale, few."""

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nas.problem.parameters import GRID, Parameters
from nas.strategies import sampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


@st.composite
def distributions(draw: st.DrawFn) -> BaseDistribution:
    low = draw(st.integers(1, 50))
    high = low + draw(st.integers(0, 400))
    kinds: list[BaseDistribution] = [
        CategoricalDistribution(
            draw(st.lists(st.sampled_from([None, True, 1.5, "a", 7, "7"]), min_size=1, unique=True))
        ),
        IntDistribution(low, high, step=draw(st.integers(1, 9))),
        IntDistribution(low, high, log=True),
        FloatDistribution(low, high),
        FloatDistribution(low / 8, high / 8, step=draw(st.sampled_from([0.1, 0.125, 3.0]))),
        FloatDistribution(low / 1000, high, log=True),
    ]
    return draw(st.sampled_from(kinds))


@pytest.mark.filterwarnings("ignore:The distribution is specified")
@settings(max_examples=60)
@given(st.lists(distributions(), min_size=1, max_size=4), st.integers(0, 2**31))
def test_values_become_options_and_values_again(found: list[BaseDistribution], seed: int) -> None:
    search_space = {f"p{place}": each for place, each in enumerate(found)}
    parameters = Parameters.of_distributions(search_space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = study.ask(search_space).params
    architecture = parameters.space.architecture(parameters.options(drawn))
    for name, value in parameters.values(architecture).items():
        wanted = drawn[name]
        assert value == pytest.approx(wanted, rel=1e-9) if isinstance(wanted, float) else True
        near = 0.0 if isinstance(wanted, float) else _between(search_space[name])
        exact = isinstance(wanted, float) or value is wanted or value == wanted
        assert exact or value == pytest.approx(wanted, rel=near)
    rng = np.random.default_rng(seed)
    for name, value in parameters.values(parameters.space.sample(rng)).items():
        assert search_space[name]._contains(search_space[name].to_internal_repr(value))


def _between(found: BaseDistribution) -> float:
    """How far, as a share, what is tried of whole numbers on a logarithmic scale lies apart."""
    if not isinstance(found, IntDistribution) or not found.log or found.high - found.low < GRID:
        return 0.0
    return float((found.high / found.low) ** (1 / (GRID - 1)) - 1)


def test_whole_numbers_on_a_logarithmic_scale_come_once_and_are_of_every_size() -> None:
    space = {"width": IntDistribution(1, 1000, log=True), "depth": IntDistribution(2, 30, log=True)}
    for name, distribution in space.items():
        study = optuna.create_study(sampler=sampler("cost-aware", {name: distribution}))
        tried = []
        for _ in range(29):
            trial = study.ask({name: distribution})
            study.tell(trial, abs(trial.params[name] - 17))
            tried.append(trial.params[name])
        assert len(set(tried)) == len(tried)
        assert study.best_params == {name: 17}
    assert sorted(tried) == list(range(2, 31))
    parameters = Parameters.of_distributions(space)
    drawn = [parameters.space.sample(np.random.default_rng(seed)) for seed in range(300)]
    widths = [int(parameters.values(each)["width"]) for each in drawn]
    assert all(sum(low <= width < 10 * low for width in widths) > 40 for low in (1, 10, 100))


def test_numbers_in_steps_are_known_whatever_their_last_digits() -> None:
    """0.3 is 0.1 + 0.1 + 0.1 of few steps and of many; what is enqueued is not proposed, too."""
    high, given = 0.7, (0.3, 0.6, 0.7, float("inf"), 7.0)
    for step in (0.1, 0.01):
        found = sampler("cost-aware", {"x": FloatDistribution(0, high, step=step)})
        study = optuna.create_study(sampler=found)
        for value in given[:3]:
            study.enqueue_trial({"x": value})
        study.optimize(lambda trial: trial.suggest_float("x", 0, high, step=step), 8)  # noqa: B023
        assert len(found._reader.read(study, -1).codes) == 8  # type: ignore[attr-defined]
        assert len({round(trial.params["x"], 6) for trial in study.trials}) == 8
        assert max(trial.params["x"] for trial in study.trials) <= high
        for value in given[3:]:  # is no value of this parameter, and stops nothing
            study.add_trial(_done(value))
        assert len(found._reader.read(study, -1).codes) == 8  # type: ignore[attr-defined]


def _done(value: float) -> optuna.trial.FrozenTrial:
    wide = FloatDistribution(0, float("inf"))
    return optuna.trial.create_trial(params={"x": value}, distributions={"x": wide}, value=0.0)
