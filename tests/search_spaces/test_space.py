"""Invariants of spaces, over random spaces with conditions on conditions."""

import itertools
import json
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    Choice,
    Condition,
    InputError,
    NumericChoice,
    SearchSpace,
    counts,
    encode,
    feature_names,
)
from search_spaces.space.space import space_from_json


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    options = st.lists(
        st.one_of(st.integers(-3, 9), st.sampled_from(["none", "conv1d", "attention"])),
        min_size=1,
        max_size=3,
        unique=True,
    )
    choices: list[Choice] = []
    for index in range(draw(st.integers(1, 5))):
        when = None
        if choices and draw(st.booleans()):
            parent = draw(st.sampled_from(choices))
            wanted = draw(
                st.lists(st.sampled_from(parent.options), min_size=1, max_size=2, unique=True)
            )
            when = Condition(parent.name, tuple(wanted))
        choices.append(Choice(f"c{index}", tuple(draw(options)), when))
    return SearchSpace("random", tuple(choices))


@given(spaces())
def test_every_spelling_of_a_network_is_one_architecture(space: SearchSpace) -> None:
    spelled = [
        space.architecture(dict(zip((c.name for c in space.choices), values, strict=True)))
        for values in itertools.product(*(c.options for c in space.choices))  # type: ignore[union-attr]
    ]
    listed = list(space.enumerate())
    assert len(listed) == len(set(listed)) == space.size
    assert set(spelled) == set(listed)
    assert len({a.digest for a in listed}) == len(listed)


@given(spaces(), st.integers(0, 2**32))
def test_walks_stay_in_the_space(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    everything = set(space.enumerate())
    first = space.sample(rng)
    near = list(space.neighbours(first))
    assert {first, *near} <= everything
    assert first not in near
    assert len(set(near)) == len(near)


@given(spaces(), st.integers(0, 2**32))
def test_neighbours_are_symmetric(space: SearchSpace, seed: int) -> None:
    architecture = space.sample(np.random.default_rng(seed))
    for near in space.neighbours(architecture):
        assert architecture in set(space.neighbours(near))


@given(spaces(), st.integers(0, 2**32))
def test_json_gives_back_what_it_took(space: SearchSpace, seed: int) -> None:
    again = space_from_json(json.loads(json.dumps(space.to_json())), "here")
    assert again == space
    architecture = space.sample(np.random.default_rng(seed))
    text = json.dumps(architecture.to_json())
    assert space.architecture_from_json(json.loads(text), "here") == architecture


@given(spaces())
def test_encoding_tells_all_architectures_apart(space: SearchSpace) -> None:
    listed = list(space.enumerate())
    matrix = encode(space, listed)
    assert matrix.shape == (len(listed), len(feature_names(space)))
    assert len({row.tobytes() for row in matrix}) == len(listed)
    assert (matrix.sum(axis=1) == [len(architecture) for architecture in listed]).all()
    assert (counts(space, listed).sum(axis=1) == matrix.sum(axis=1)).all()


@given(spaces(), st.integers(0, 2**32))
def test_optuna_suggests_only_what_matters(space: SearchSpace, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**31))
    trial = study.ask()
    architecture = space.suggest(trial)
    assert trial.params == dict(architecture)
    assert space.architecture(trial.params) == architecture


def test_a_space_far_too_large_to_list_is_counted_and_listed_lazily() -> None:
    slots = []
    for index in range(40):
        slots.append(Choice(f"s{index}", ("none", "conv", "attention")))
        slots.append(Choice(f"s{index}.heads", (1, 2, 4), Condition(f"s{index}", ("attention",))))
    space = SearchSpace("large", tuple(slots))
    assert space.size == 5**40
    assert len(list(itertools.islice(space.enumerate(), 1000))) == 1000


def test_numbers_that_vary_freely() -> None:
    space = SearchSpace("free", (NumericChoice("width", 0.0, 10.0), Choice("op", ("a", "b"))))
    assert space.size == math.inf
    architecture = space.architecture({"width": "2.5", "op": "a"})
    assert architecture["width"] == 2.5
    assert {a["width"] for a in space.neighbours(architecture)} == {1.5, 3.5, 2.5}
    with pytest.raises(InputError, match="cannot be listed: 'width'"):
        list(space.enumerate())
    with pytest.raises(InputError, match="outside"):
        space.architecture({"width": 11, "op": "a"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"op": "conv9"}, "no option 'conv9'; its options: none, conv"),
        ({"opp": "conv"}, "no choice 'opp'"),
        ({}, "'op' is not decided"),
        ({"op": "conv"}, "'kernel' is not decided"),
    ],
)
def test_what_is_no_architecture_is_said(values: dict[str, object], message: str) -> None:
    kernel = Choice("kernel", (3, 5), Condition("op", ("conv",)))
    space = SearchSpace("small", (Choice("op", ("none", "conv")), kernel))
    with pytest.raises(InputError, match=message):
        space.architecture(values)


def test_conditions_are_spelled_as_their_parent_is() -> None:
    layers = Choice("layers", (1, 2))
    space = SearchSpace(
        "spelled", (layers, Choice("skip", ("yes", "no"), Condition("layers", ("2",))))
    )
    assert space.size == 3
    assert space.architecture({"layers": 2, "skip": "no"})["skip"] == "no"


def test_an_architecture_of_another_space_is_refused() -> None:
    space = SearchSpace("one", (Choice("op", ("a", "b")),))
    other = SearchSpace("other", space.choices)
    document = other.architecture({"op": "a"}).to_json()
    with pytest.raises(InputError, match="here: is of space 'other', not 'one'"):
        space.architecture_from_json(document, "here")


@pytest.mark.parametrize(
    "choice", [{"name": "a", "options": [[1], 2]}, {"name": "a", "options": "xy"}, 3, {"low": 1}]
)
def test_broken_choices_are_said(choice: object) -> None:
    document = {"format": "temporal-nas/search-space", "version": "1.0", "name": "x"}
    with pytest.raises(InputError, match="^here: "):
        space_from_json({**document, "choices": [choice]}, "here")


def test_a_condition_on_a_later_choice_is_refused() -> None:
    early = Choice("kernel", (3, 5), Condition("op", ("conv",)))
    with pytest.raises(InputError, match="no earlier choice"):
        SearchSpace("broken", (early, Choice("op", ("none", "conv"))))
