"""Slots, operators and blocks; spaces as files and from Python."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search_spaces import (
    CONV1D,
    NONE,
    InputError,
    Operator,
    Setting,
    TemporalSpace,
    UNetShape,
    load,
    temporal_space,
)

SHAPE = UNetShape(1, (8, 16), 4, 8, 8, 2, 10)
ELASTIC = Operator("elastic", "supernet.operators:Conv1D", (Setting("kernel", (3, 5)),))


def test_slots_follow_the_unet() -> None:
    space = load("moving_digits")
    assert isinstance(space, TemporalSpace)
    assert [slot.name for slot in space.slots] == ["down0", "down1", "mid", "up1", "up0"]
    assert [(s.channels, s.height) for s in space.slots] == [
        (16, 16), (32, 8), (48, 4), (32, 8), (16, 16),
    ]  # fmt: skip
    assert space.size == 25**5


def test_settings_matter_only_where_their_operator_stands() -> None:
    space = temporal_space("elastic", SHAPE, (NONE, CONV1D, ELASTIC))
    assert space.size == 4 ** len(space.slots)
    assert [str(block) for block in space.blocks()] == [
        "none", "conv1d", "elastic(kernel=3)", "elastic(kernel=5)",
    ]  # fmt: skip
    plain = space.uniform(space.parse_block("conv1d"))
    spelled = space.architecture({**plain, "down0.kernel": 5})
    assert spelled == plain
    rng = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(rng)
        for slot in space.slots:
            block = space.block(architecture, slot)
            assert space.parse_block(str(block)) == block


def test_a_space_is_a_file(tmp_path: Path) -> None:
    space = temporal_space("elastic", SHAPE, (NONE, ELASTIC))
    path = tmp_path / "space.json"
    path.write_text(json.dumps(space.to_json()))
    assert load(str(path)) == space


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2.0"}, "newer than the 1.x"),
        ({"format": "something"}, "expected format"),
        ({"unet": {"channels": [8]}}, "broken"),
        ({"operators": ["conv1d"]}, "broken"),
        ({"operators": [{"name": "mine", "module": "os:system"}]}, "code of your own"),
        ({"choices": []}, "'choices' are not those"),
    ],
)
def test_broken_space_files(tmp_path: Path, change: dict[str, object], message: str) -> None:
    space = temporal_space("elastic", SHAPE, (NONE, ELASTIC))
    path = tmp_path / "space.json"
    path.write_text(json.dumps({**space.to_json(), **change}))
    with pytest.raises(InputError, match=message):
        load(str(path))


def test_unknown_spaces_name_the_known() -> None:
    with pytest.raises(InputError, match="shipped: moving_digits"):
        load("moving_digit")
    with pytest.raises(InputError, match="cannot import"):
        load("no.such.module:SPACE")
    with pytest.raises(InputError, match="not a SearchSpace"):
        load("json:dumps")


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="divide by 2"):
        replace(SHAPE, height=9)


def test_contradicting_settings_are_refused() -> None:
    other = Operator("other", "supernet.operators:Conv1D", (Setting("kernel", (3, 7)),))
    with pytest.raises(InputError, match="give one of them another name"):
        temporal_space("broken", SHAPE, (ELASTIC, other))


@pytest.mark.parametrize("options", [(0, 1), (1, 10**9), (1.5,), ("a",), (True,)])
def test_repeats_are_few_whole_numbers(options: tuple[object, ...]) -> None:
    with pytest.raises(InputError, match="repeats must be whole numbers from 1 to 16"):
        CONV1D.elastic(Setting("repeats", options))  # type: ignore[arg-type]
