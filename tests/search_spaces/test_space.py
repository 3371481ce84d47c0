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
    AllOf,
    AnyOf,
    Choice,
    Condition,
    InputError,
    Not,
    NumericChoice,
    SearchSpace,
    counts,
    encode,
    feature_names,
)
from search_spaces.space.conditions import AnyCondition
from search_spaces.space.integer_encoding import IntegerEncoder
from search_spaces.space.space import space_from_json

SMALL = {"depth": 2, "width": 32}


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
        when = draw(conditions(choices)) if choices and draw(st.booleans()) else None
        choices.append(Choice(f"c{index}", tuple(draw(options)), when))
    return SearchSpace("random", tuple(draw(st.permutations(choices))))


def conditions(choices: list[Choice]) -> st.SearchStrategy[AnyCondition]:
    """On any of these, and on several."""
    asked = st.sampled_from(choices).flatmap(
        lambda choice: st.builds(
            Condition,
            st.just(choice.name),
            st.lists(st.sampled_from(choice.options), min_size=1, max_size=2, unique=True).map(
                tuple
            ),
        )
    )
    return st.recursive(
        asked,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            *(
                st.builds(kind, st.lists(inner, min_size=1, max_size=2).map(tuple))
                for kind in (AllOf, AnyOf)
            ),
        ),
        max_leaves=3,
    )


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
def test_codes_are_architectures(space: SearchSpace, seed: int) -> None:
    check_codes(space, seed)


def check_codes(space: SearchSpace, seed: int) -> None:
    """Rows of codes say what architectures say, and what is made of them stays in the space."""
    coder, rng = IntegerEncoder(space), np.random.default_rng(seed)
    listed = list(space.enumerate())
    codes = coder.codes(listed)
    assert coder.architectures(codes) == listed
    assert np.array_equal(coder.canonical(codes.copy()), codes)
    full = np.stack([rng.integers(n, size=50) for n in coder.option_counts], axis=1).astype(float)
    spelled = [
        space.architecture(
            {c.name: c.options[int(at)] for c, at in zip(space.choices, row, strict=True)}  # type: ignore[union-attr]
        )
        for row in full
    ]
    assert coder.architectures(coder.canonical(full.copy())) == spelled
    some = codes[rng.integers(len(codes), size=20)]
    assert np.array_equal(coder.canonical(coder.completed(some, rng)), some)
    for made in (
        coder.sample(20, rng),
        coder.balanced_sample(20, rng),
        coder.mutate(some, rng.integers(0, 4, size=20), rng),
        coder.crossover(some, some[::-1], rng),
    ):
        assert set(coder.architectures(made)) <= set(listed)


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


def test_a_condition_may_ask_about_a_later_choice() -> None:
    kernel = Choice("kernel", (3, 5), Condition("op", ("conv",)))
    space = SearchSpace("late", (kernel, Choice("op", ("none", "conv"))))
    assert [str(a) for a in space.enumerate()] == [
        "op=none", "kernel=3 op=conv", "kernel=5 op=conv",
    ]  # fmt: skip
    assert space.size == 3


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            [Choice("a", (1, 2), Condition("b", (1,))), Choice("b", (1, 2), Condition("a", (1,)))],
            "space 'x': conditions refer to each other in a circle, among 'a', 'b'$",
        ),
        ([Choice("a", (1, 2), Condition("a", (1,)))], "in a circle, among 'a'$"),
        ([Choice("a", (1, 2), Condition("c", (1,)))], "'a' depends on 'c', which is no choice"),
        (
            [Choice("a", (1, 2)), Choice("b", (1,), Not(Condition("a", (3,))))],
            "choice 'b' has a condition: choice 'a' has no option 3",
        ),
    ],
)
def test_conditions_that_cannot_be_are_said(choices: list[Choice], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchSpace("x", tuple(choices))


def test_conditions_combine() -> None:
    deep, wide = Condition("depth", (4,)), Condition("width", (64,))
    space = SearchSpace(
        "both",
        (
            Choice("depth", (2, 4)),
            Choice("width", (32, 64)),
            Choice("skip", ("yes", "no"), AllOf((deep, wide))),
            Choice("warm", ("yes", "no"), AnyOf((deep, wide))),
            Choice("plain", ("yes", "no"), Not(AnyOf((deep, wide)))),
        ),
    )
    assert space.size == 2 + 2 + 2 + 4
    assert str(space.architecture(dict.fromkeys(("skip", "warm", "plain"), "no") | SMALL)) == (
        "depth=2 width=32 plain=no"
    )
    broken = space.to_json()
    broken["choices"][2]["when"] = {"every": []}
    with pytest.raises(InputError, match="here: choice 'skip', when: a condition has a 'choice'"):
        space_from_json(broken, "here")
