"""Options that multiply: which link measurements ask for, and what a device predicts by it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import latency
from latency import Device, EncodedPredictor, Measurement, Workload, from_choices
from latency.regression import interactions, links
from latency.regression.links import interval_ms, linked
from search_spaces import (
    Architecture,
    Choice,
    Condition,
    InputError,
    NumericChoice,
    SearchSpace,
    encode,
)

Formula = Callable[[Architecture], float]
NOISE = 0.02
PRODUCTS = SearchSpace(
    "products",
    (
        Choice("width", (16, 24, 32, 48)),
        Choice("depth", (2, 3, 4, 6)),
        Choice("expand", (2, 3, 4, 6)),
        Choice("kernel", (3, 5, 7)),
    ),
)
STAGES = SearchSpace(
    "stages",
    (
        Choice("width", (16, 24, 32)),
        *(Choice(f"stage{i}", ("skip", "mb", "fused")) for i in range(3)),
        Choice("expand", (2, 4, 6)),
        Choice("se", (False, True)),
        Choice("ratio", (4, 8), when=Condition("se", (True,))),
    ),
)
SUMS = SearchSpace("sums", tuple(Choice(f"s{i}", ("skip", "conv", "pool")) for i in range(8)))


def number(architecture: Architecture, name: str) -> float:
    return float(str(architecture[name]))


def product_ms(each: Architecture) -> float:
    width, depth, expand, kernel = (number(each, choice.name) for choice in PRODUCTS.choices)
    return 0.01 * width * depth * expand * (1 + 0.1 * kernel)


def stages_ms(each: Architecture) -> float:
    """Stages add, and what each takes is a product: neither link is right."""
    total = 0.6
    for stage in range(3):
        cost = {"skip": 0.0, "mb": 0.2, "fused": 0.3}[str(each[f"stage{stage}"])]
        total += cost * number(each, "width") / 16 * number(each, "expand") * 0.8**stage
        if each["se"] and cost:
            total += 0.25 + 0.4 / number(each, "ratio")
    return total


def sum_ms(each: Architecture) -> float:
    costs = {"skip": 0.0, "conv": 1.5, "pool": 0.4}
    return 2 + sum(costs[str(option)] * (1 + 0.1 * i) for i, option in enumerate(each.values()))


TABLES: dict[str, tuple[SearchSpace, Formula]] = {
    "products": (PRODUCTS, product_ms),
    "stages": (STAGES, stages_ms),
    "sums": (SUMS, sum_ms),
}


def workload(each: Architecture) -> Workload:
    return from_choices(str(each), list(each.items()))


def drawn(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different random networks."""
    rng, found = np.random.default_rng(seed), dict[Architecture, None]()
    while len(found) < count:
        found.setdefault(space.sample(rng))
    return list(found)


def table(name: str, count: int, seed: int = 0) -> list[Measurement]:
    space, formula = TABLES[name]
    noise = np.random.default_rng(seed).normal(1, NOISE, count)
    return [
        Measurement(workload(each), formula(each) * float(share))
        for each, share in zip(drawn(space, count, seed), noise, strict=True)
    ]


def predicted(device: Device, name: str) -> tuple[np.ndarray, ...]:
    """True latency of some networks, then predictions with bounds."""
    space, formula = TABLES[name]
    unseen = drawn(space, 150, 1000)
    truth_ms = np.array([formula(each) for each in unseen])
    return truth_ms, *EncodedPredictor.of_choices(device, space).predict(encode(space, unseen))


@pytest.mark.parametrize(
    ("name", "count", "link", "error_pct"),
    [
        ("products", 60, "log", 2.0),  # sums: 16%
        ("products", 20, "log", 4.0),
        ("stages", 60, "log", 11.0),  # sums: 24%
        ("sums", 60, "identity", 2.5),
        ("sums", 20, "identity", 6.0),
        ("products", 9, "identity", 60.0),  # too few to tell
    ],
)
def test_the_measurements_say_whether_options_add(
    name: str, count: int, link: str, error_pct: float
) -> None:
    device = latency.calibrate(table(name, count), "phone")
    assert device.model.link == link
    truth_ms, latency_ms, low_ms, high_ms = predicted(device, name)
    assert 100 * np.abs(latency_ms / truth_ms - 1).mean() < error_pct
    assert link == "identity" or latency_ms.min() > 0.5 * truth_ms.min()
    assert ((low_ms <= latency_ms) & (latency_ms <= high_ms)).all()


def test_bounds_hold_nine_tenths_of_what_is_left_out() -> None:
    for name in ("products", "stages"):
        inside = []
        for seed in range(6):
            device = latency.calibrate(table(name, 60, seed), "phone")
            assert device.model.link == "log"
            assert device.validation is not None
            assert 0.85 <= device.validation.within_bounds_share <= 0.97
            truth_ms, _, low_ms, high_ms = predicted(device, name)
            inside.append(((low_ms <= truth_ms) & (truth_ms <= high_ms)).mean())
        assert np.mean(inside) > 0.85


@pytest.mark.parametrize("name", ["products", "stages"])
def test_one_network_and_a_thousand_and_a_file_agree(name: str) -> None:
    space, _ = TABLES[name]
    device = latency.calibrate(table(name, 60), "phone")
    assert bool(device.model.pairs) == (name == "stages"), "where options interact"
    unseen = drawn(space, 100, 7)
    bulk = EncodedPredictor.of_choices(device, space).predict(encode(space, unseen))
    written = json.loads(json.dumps(device.to_json()))
    assert written["model"]["link"] == "log"
    again = Device.from_json(written, "here")
    for row, each in enumerate(unseen):
        one = device.predict(workload(each))
        for index, field in enumerate(("latency_ms", "low_ms", "high_ms")):
            assert bulk[index][row] == pytest.approx(getattr(one, field), rel=1e-5)
            assert getattr(again.predict(workload(each)), field) == pytest.approx(
                getattr(one, field), rel=1e-6
            )
        factor = one.high_ms / one.latency_ms
        assert one.latency_ms / one.low_ms == pytest.approx(factor, rel=1e-6)


def test_a_file_that_says_nothing_of_links_is_of_sums() -> None:
    written = latency.calibrate(table("sums", 30), "phone").to_json()
    assert "link" not in written["model"]
    assert Device.from_json(written, "here").model.link == "identity"
    written["model"]["link"] = "probit"
    with pytest.raises(InputError, match=r"here, model, link: 'probit' is none of identity, log"):
        Device.from_json(written, "here")


def test_an_option_that_nothing_held_widens_the_bounds() -> None:
    device = latency.calibrate(table("products", 60), "phone")
    known = dict(drawn(PRODUCTS, 1, 3)[0])
    met = device.predict(from_choices("met", list(known.items())))
    new = device.predict(from_choices("new", list({**known, "width": 96}.items())))
    assert new.high_ms / new.low_ms > 2 * met.high_ms / met.low_ms


def test_numbers_that_vary_freely_and_lent_devices_stay_sums() -> None:
    space = SearchSpace("n", (NumericChoice("width", 8.0, 64.0), *PRODUCTS.choices[1:]))
    seen = [
        Measurement(from_choices(str(a), list(a.items()), {"width"}), product_ms(a))
        for a in drawn(space, 40, 0)
    ]
    assert latency.calibrate(seen, "phone").model.link == "identity"
    measured = table("products", 40)
    others = table("products", 100, 3)
    lent = latency.Source("other", [m.workload for m in others], [m.latency_ms for m in others])
    borrowing = latency.calibrate(measured, "phone", borrow=latency.learn_sources([lent]))
    assert borrowing.model.link == "identity"


def test_many_pairs_are_left_out() -> None:
    """Of 24 choices of six options, each network still multiplies."""
    space = SearchSpace("many", tuple(Choice(f"c{i}", tuple("abcdef")) for i in range(24)))
    factors = {option: 1 + 0.4 * place for place, option in enumerate("abcdef")}
    networks = drawn(space, 60, 0)
    truth_ms = [
        float(np.prod([factors[str(o)] for o in each.values()]) ** 0.5) for each in networks
    ]
    seen = [Measurement(workload(n), ms) for n, ms in zip(networks, truth_ms, strict=True)]
    device = latency.calibrate(seen, "phone")
    assert device.model.link == "log"
    assert not device.model.pairs
    guess = [device.predict(workload(each)).latency_ms for each in networks]
    assert np.abs(np.array(guess) / truth_ms - 1).mean() < 0.05


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(1e-5, 1e8), min_size=1, max_size=5),
    st.sampled_from(links.LINKS),
    st.floats(0, 3),
)
def test_links_go_there_and_back(latency_ms: list[float], link: links.Link, spread: float) -> None:
    sums = linked(latency_ms, link)
    found, low_ms, high_ms = interval_ms(sums, np.full(len(sums), spread), 1.6, link)
    assert found == pytest.approx(latency_ms, rel=1e-9)
    assert ((low_ms >= 0) & (low_ms <= found) & (found <= high_ms)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_main_effects_and_what_is_left_make_the_same_sum(seed: int) -> None:
    """Weights of pairs told as main effects predict the same where options are independent."""
    rng = np.random.default_rng(seed)
    names = ["a=0", "a=1", "b=0", "b=1"]
    features = tuple(("name", name) for name in names)
    pairs = tuple((one, other) for one in names[:2] for other in names[2:])
    a, b = rng.integers(2, size=(2, 50))
    values = np.stack([a == 0, a == 1, b == 0, b == 1], axis=1).astype(float)
    both = np.stack([values[:, names.index(x)] * values[:, names.index(y)] for x, y in pairs], 1)
    center = values.mean(axis=0)
    columns = np.concatenate([np.ones((50, 1)), values - center, both], axis=1)
    weights = rng.normal(size=columns.shape[1])
    main = interactions.main_effects(pairs, features, center) @ weights
    left = [
        (values[:, names.index(x)] - center[names.index(x)])
        * (values[:, names.index(y)] - center[names.index(y)])
        for x, y in pairs
    ]
    told = columns[:, :5] @ main + np.stack(left, axis=1) @ weights[5:]
    assert told == pytest.approx(columns @ weights, abs=1e-9)
