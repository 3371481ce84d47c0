"""Costs of several chips at once: recovered from what was simulated, with doubts that are true."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analytical import network

import latency
from latency import Measurement, Workload
from latency.cost_model import analytical
from latency.cost_model.analytical import AnalyticalModel
from latency.cost_model.laplace import QUANTILE
from latency.cost_model.multilevel import ChipRow, Chips, MultilevelFit, fit_chips
from latency.cost_model.work_amounts import GROUPS, WORK_KINDS, amounts
from latency.predictor.chips import chips
from latency.predictor.published import workloads
from search_spaces import InputError
from search_spaces.files.document import Json

KINDS = len(WORK_KINDS)
OLDER = Path(__file__).parent / "older_device.json"
FASTER = {"one": 1.0, "two": 2.0, "three": 1.5, "unmeasured": 3.0}
SHEETS = Chips(
    chips()["A14"].data_sheet,
    {chip: dict.fromkeys(WORK_KINDS, by) for chip, by in FASTER.items()},
)
DEVIATIONS = (0.2, 0.5, 0.06)  # of a family in either group, and of a measurement
FAMILIES = 16


class World:
    """Three chips and families whose costs and errors are known."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shared = np.array(SHEETS.prior.log_medians) + 0.25 * self.rng.normal(size=KINDS)
        self.of_family = self.rng.normal(size=(FAMILIES, len(GROUPS))) * DEVIATIONS[:2]

    def log_ms(self, work: np.ndarray, chip: str, family: int | None = None) -> float:
        """The logarithm of the latency, of a family that errs or of none, without noise."""
        each = work[:KINDS] * np.exp(self.shared) / FASTER[chip]
        effect = (
            0.0 if family is None else float(GROUPS @ (each / each.sum()) @ self.effect(family))
        )
        return math.log(each.sum()) + effect

    def effect(self, family: int) -> np.ndarray:
        found: np.ndarray = self.of_family[family]
        return found

    def rows(
        self, measured: Sequence[str] = ("one", "two", "three"), each: int = 2
    ) -> list[ChipRow]:
        """Networks of every family on every chip; every third has attention."""
        found = []
        for family in range(FAMILIES):
            for number in range(each):
                work = amounts(network(100 * family + number, attention=family % 3 == 0))
                for chip in measured:
                    noise = DEVIATIONS[-1] * self.rng.normal()
                    latency_ms = math.exp(self.log_ms(work, chip, family) + noise)
                    found.append(ChipRow(work, latency_ms, chip, str(family)))
        return found


def model_of(found: MultilevelFit, chip: str) -> AnalyticalModel:
    """What the fit makes of a chip, as a shipped device has it."""
    return replace(analytical.fit([], found.costs(chip)), family=found.family)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def rows(world: World) -> list[ChipRow]:
    return world.rows()


@pytest.fixture(scope="module")
def fitted(rows: list[ChipRow]) -> MultilevelFit:
    return fit_chips(rows, SHEETS)


@pytest.mark.slow
def test_costs_and_deviations_are_recovered(world: World, fitted: MultilevelFit) -> None:
    """Of all three chips, and of one that was never measured: of it, the data sheet is true."""
    of_plain, of_attention, noise = fitted.deviations
    assert 0.1 <= of_plain <= 0.2
    assert 0.25 <= of_attention <= 0.5
    assert 0.04 <= noise <= 0.09
    for chip in FASTER:
        model = model_of(fitted, chip)
        for attention in (False, True):
            work = [amounts(network(5000 + n, attention)) for n in range(10)]
            found_ms = model.predict_amounts(np.array(work))[0]
            true_ms = np.exp([world.log_ms(each, chip) for each in work])
            assert np.median(np.abs(np.log(found_ms / true_ms))) < 0.15, (chip, attention)


@pytest.mark.slow
def test_bounds_hold_of_families_left_out() -> None:
    inside, plain = [], []
    for seed in range(3):
        rows = World(seed).rows()
        for family in map(str, range(FAMILIES)):
            found = fit_chips([row for row in rows if row.family != family], SHEETS, DEVIATIONS)
            for row in (row for row in rows if row.family == family):
                model = model_of(found, row.chip)
                inside.append(holds(model, row))
                plain.append(holds(replace(model, family=(0.0, 0.0)), row))
    assert 0.85 <= np.mean(inside) <= 0.97
    assert np.mean(plain) < 0.75, "which is what the part for families is for"


def holds(model: AnalyticalModel, row: ChipRow) -> bool:
    _, low_ms, high_ms = model.predict_amounts(row.amounts[None])[:, 0]
    return bool(low_ms <= row.latency_ms <= high_ms)


@pytest.mark.slow
def test_a_chip_that_was_measured_has_narrower_bounds(world: World) -> None:
    found = fit_chips(world.rows(("one", "two")), SHEETS, DEVIATIONS)
    work = np.array([amounts(network(9000 + n, n % 2 == 0)) for n in range(8)])

    def width(chip: str) -> np.ndarray:
        _, low_ms, high_ms = model_of(found, chip).predict_amounts(work)
        return np.log(high_ms / low_ms)

    assert np.all(width("unmeasured") > 1.1 * width("two"))
    assert np.all(width("three") > 1.1 * width("one"))


@pytest.mark.slow
def test_what_was_lowered_in_another_way_moves_no_cost(rows: list[ChipRow]) -> None:
    """Programs that take three times as long as the converter's own say nothing of its costs."""
    slow = [
        replace(row, latency_ms=3 * row.latency_ms, lowering="-ane")
        for row in rows
        if int(row.family) % 3 == 0
    ]
    before, after = (fit_chips(each, SHEETS, DEVIATIONS) for each in (rows, [*rows, *slow]))
    naive = fit_chips([*rows, *(replace(row, lowering="") for row in slow)], SHEETS, DEVIATIONS)
    work = np.array([amounts(network(7000 + n, attention=True)) for n in range(6)])
    first, second, third = (
        model_of(found, "two").predict_amounts(work)[0] for found in (before, after, naive)
    )
    assert np.allclose(second, first, rtol=0.1)
    assert np.all(third > 1.2 * first)


@pytest.mark.slow
@settings(max_examples=8)
@given(factor=st.floats(0.1, 10), order=st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_a_family_s_name_matters(
    factor: float, order: object
) -> None:
    rows = World(3).rows(("one", "two"), each=1)
    shuffled = [replace(row, family=f"family {row.family}") for row in rows]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (fit_chips(each, SHEETS, DEVIATIONS) for each in (rows, shuffled))
    assert np.allclose(one.costs("two").medians, other.costs("two").medians, rtol=1e-3)
    assert one.evidence == pytest.approx(other.evidence, abs=0.01)
    slower = fit_chips(
        [replace(r, latency_ms=r.latency_ms * factor) for r in rows], SHEETS, DEVIATIONS
    )
    covariance = slower.costs("three").log_covariance
    assert np.all(np.isfinite(covariance))
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_nothing_to_fit_is_refused(rows: list[ChipRow]) -> None:
    with pytest.raises(InputError, match="no measurements to fit"):
        fit_chips([], SHEETS)
    with pytest.raises(InputError, match="'A99': has no data sheet; add it to chips.csv"):
        fit_chips([replace(rows[0], chip="A99")], SHEETS)


@pytest.mark.parametrize("name", ["iphone-12", "iphone-17-pro", "mac-m1-max", "mac-m5"])
@pytest.mark.parametrize("model", ["ResNet50", "FastViT-SA24", "SD 2.1-base UNet"])
def test_the_parts_of_bounds_add_up_to_them(name: str, model: str) -> None:
    """In squares of logarithms."""
    device, workload = latency.load_device(name), workloads()[model]
    found, spread = device.predict(workload), device.spread(workload)
    assert spread is not None
    together = math.hypot(spread.costs, spread.family, spread.residual)
    half = math.log(found.high_ms / found.low_ms) / 2
    assert half == pytest.approx(QUANTILE * together, rel=1e-3)
    squares = sum(math.log(factor) ** 2 for factor in spread.factors.values())
    assert math.sqrt(squares) == pytest.approx(QUANTILE * together)


def older() -> Json:
    content: Json = json.loads(OLDER.read_text())
    return content


def test_devices_of_the_former_format_predict_as_they_did() -> None:
    """What the version that wrote it said: an iPhone 15 Pro's, of twelve kinds of work."""
    device = latency.read_device(OLDER)
    found = device.predict(workloads()["ResNet50"])
    assert found.latency_ms == pytest.approx(1.400872097553396, rel=1e-6)
    assert found.low_ms == pytest.approx(1.2430339789053, rel=1e-6)
    assert found.high_ms == pytest.approx(1.8250651184019, rel=1e-6)
    spread = device.spread(workloads()["ResNet50"])
    assert spread is not None
    assert spread.family == 0, "which it did not know"


def test_devices_of_the_former_format_are_written_in_this_one(tmp_path: Path) -> None:
    device = latency.read_device(OLDER)
    device.save(tmp_path / "again.json")
    again = latency.read_device(tmp_path / "again.json")
    parts = [Workload(f"part{n}", network(n).operations, number_bytes=2) for n in range(3)]
    for asked in (network(7), network(8, attention=True), latency.concatenate("net", parts)):
        one, other = device.predict(asked), again.predict(asked)
        assert other.latency_ms == pytest.approx(one.latency_ms, rel=1e-6)
        assert other.high_ms == pytest.approx(one.high_ms, rel=1e-4)
    seen = [Measurement(network(n), 3.0 + n) for n in range(4)]
    assert latency.calibrate(seen, "like it", like=device).predict(network(2)).latency_ms > 0


DAMAGE = st.sampled_from([None, [], {}, "x", 0, -1.0, 1e300, [[1]], [None], {"a": 1}])


@given(
    st.sampled_from(["prior", "ms_per_unit", "measured", "columns", "model", "amplitude"]), DAMAGE
)
def test_damaged_files_of_the_former_format_are_refused_in_one_line(
    name: str, junk: object
) -> None:
    content = older()
    inside = content if name == "model" else content["physical"]
    inside[name] = junk
    try:
        device = latency.Device.from_json(content, "device.json")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert device.predict(network(1)).latency_ms > 0
