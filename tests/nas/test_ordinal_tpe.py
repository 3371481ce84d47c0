"""TPE knows that 256 lies between 128 and 512."""

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from nas.problem.distributions import distributions
from nas.problem.problem import Objective, Problem
from nas.strategies import tpe
from search_spaces import Choice, SearchSpace

WIDTHS = tuple(2**power for power in range(16))
BEST = 8


def proposed_places(widths: tuple[object, ...]) -> list[int]:
    """Where 20 samplers look next that saw every place but the best one."""
    space = SearchSpace("widths", (Choice("width", widths), Choice("kind", ("a", "b"))))
    objective = Objective("validation_loss")
    found = []
    for seed in range(20):
        study = optuna.create_study(
            sampler=tpe(Problem(space, (objective,), lambda _: np.zeros((1, 0)), seed=seed))
        )
        for place, width in enumerate(widths):
            if place != BEST:
                study.add_trial(
                    create_trial(
                        params={"width": width, "kind": "a"},
                        distributions=distributions(space),
                        value=abs(place - BEST),
                    )
                )
        found.append(widths.index(space.suggest(study.ask())["width"]))
    return found


def test_what_lies_between_good_numbers_is_proposed() -> None:
    numbers = proposed_places(WIDTHS)
    assert numbers.count(BEST) >= 5, "never seen, but between the two best"
    assert np.mean([abs(place - BEST) <= 2 for place in numbers]) > 0.8


def test_words_have_no_order() -> None:
    assert proposed_places(tuple(map(str, WIDTHS))).count(BEST) < 5


@pytest.mark.parametrize("widths", [(True, False), (1, 2), ("x", 1, 2)])
def test_other_options_stay_what_they_are(widths: tuple[object, ...]) -> None:
    space = SearchSpace("widths", (Choice("width", widths),))
    objective = Objective("validation_loss")
    study = optuna.create_study(
        sampler=tpe(Problem(space, (objective,), lambda _: np.zeros((1, 0))))
    )
    study.optimize(lambda trial: float(len(str(space.suggest(trial)["width"]))), 15)
    assert {trial.params["width"] for trial in study.trials} <= set(widths)
