"""Tables: units at the door, what is wrong and where, and real public ones."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    CONV1D,
    NONE,
    Choice,
    InputError,
    NumericChoice,
    SearchSpace,
    read_table,
    temporal_space,
)
from search_spaces.shipped.moving_digits import UNET


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_times_become_ms_and_choices_a_space(tmp_path: Path) -> None:
    table = read_table(
        write(
            tmp_path / "t.csv",
            "op,depth,latency_us,loss_s,source\nnone,2,1500,1,x\nconv,4,20,2,y\n",
        )
    )
    assert list(table.metric("latency_us")) == list(table.metric("latency_ms")) == [1.5, 0.02]
    assert list(table.metric("loss_ms")) == [1000.0, 2000.0]
    assert [c.name for c in table.space.choices] == ["op", "depth"]
    assert table.space.size == 4
    assert table.architectures[1]["depth"] == 4


def test_many_numbers_make_a_numeric_choice(tmp_path: Path) -> None:
    rows = "\n".join(f"{n + 0.5},{n + 1}" for n in range(30))
    table = read_table(write(tmp_path / "t.csv", f"width,latency_ms\n{rows}\n"))
    assert table.space.choices == (NumericChoice("width", 0.5, 29.5),)
    assert len(table.architectures) == 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op,latency\na,1\n", "column 'latency' does not end in a unit.*latency_ms"),
        ("op,latency_ns\na,1\n", "'latency_ns' does not end in a unit"),
        ("op,speed\na,1\n", "no column ends in a unit"),
        ("op,latency_ms\na,-1\n", "row 2, column 'latency_ms': '-1'"),
        ("op,latency_ms\na,1\nb,nan\n", "row 3, column 'latency_ms': 'nan'"),
        ("op,latency_ms\na,\n", "row 2, column 'latency_ms': ''"),
        ("op,latency_ms\na,inf\n", "row 2"),
        ("op,latency_ms\na,1 ms\n", "'1 ms' is not a number"),
        ("op,latency_ms,latency_us\na,1,2\n", "two columns hold 'latency_ms'"),
        ("op,op,latency_ms\na,b,1\n", "named twice"),
        ("op,latency_ms\n", "no rows"),
        ("", "must name every column"),
        ("op,latency_ms\na,1,2,3\nb,1\n", "cells|cannot be read"),
        ("slot,option,kernel,latency_ms\nmid,conv1d,3,1\n", "and also .'kernel'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path).metric("latency_ms")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_given_space_decides(tmp_path: Path) -> None:
    space = temporal_space("plain", UNET, (NONE, CONV1D))
    names = [choice.name for choice in space.choices]
    good = ",".join(["conv1d"] * len(names))
    head = ",".join(names)
    table = read_table(write(tmp_path / "a.csv", f"{head},latency_ms\n{good},3\n"), space)
    assert dict(table.architectures[0]) == dict.fromkeys(names, "conv1d")
    missing = write(tmp_path / "b.csv", "down0,latency_ms\nconv1d,3\n")
    with pytest.raises(InputError, match="no column: .'down1', 'mid', 'up1', 'up0'"):
        read_table(missing, space)
    unknown = write(tmp_path / "c.csv", f"{head},color,latency_ms\n{good},red,3\n")
    with pytest.raises(InputError, match="'color'.*no choice"):
        read_table(unknown, space)
    wrong = write(
        tmp_path / "d.csv", f"{head},latency_ms\n{good.replace('conv1d', 'conv7', 1)},3\n"
    )
    with pytest.raises(InputError, match=r"d\.csv, row 2: .*'conv7'"):
        _ = read_table(wrong, space).architectures


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        path = folder / name
        path.write_bytes(data)
        try:
            read_table(path)
        except InputError as error:
            assert str(path) in str(error)


@given(st.text(alphabet="ab,_ms1.\n\"'-", max_size=120))
def test_no_text_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.mktemp("fuzz") / "t.csv", text)
    try:
        table = read_table(path)
        if not table.of_blocks and not table.choices.empty:
            assert len(table.architectures) == len(table.metrics)
    except InputError as error:
        assert str(path) in str(error)


def test_every_format_reads_alike(tmp_path: Path) -> None:
    text = "op,depth,latency_ms\nnone,1,2.5\nconv,2,3.5\n"
    plain = read_table(write(tmp_path / "t.csv", text))
    zipped = tmp_path / "t.csv.gz"
    zipped.write_bytes(gzip.compress(text.encode()))
    parquet = tmp_path / "t.parquet"
    pd.read_csv(tmp_path / "t.csv").to_parquet(parquet)
    for other in (read_table(zipped), read_table(parquet)):
        assert other.architectures == plain.architectures
        assert list(other.metric("latency_ms")) == list(plain.metric("latency_ms"))


def test_public_tables(shared_data: Path) -> None:
    cells = read_table(shared_data / "nb201.csv.gz")
    assert cells.space.size == len(set(cells.architectures)) == 15_625
    assert cells.metric("cifar100_error_pct").min() > 20
    fbnet = read_table(shared_data / "fbnet.csv.gz")
    assert fbnet.space.size == 9**22
    encoders = read_table(shared_data / "hat_xeon.csv.gz")
    assert any(isinstance(choice, NumericChoice) for choice in encoders.space.choices)
    assert len(encoders.architectures) == 2000


CHOICES = {  # by names that a table takes for something else
    "layer_count": (4, 8, 12),
    "conv_count": (1, 2),
    "width_s": (0.5, 1),
    "kernel_mb": (1.5, 3),
    "stride_us": (1, 2),
    "samples": (8, 16),
    "device": ("left", "right"),
    "precision": ("int8", "float16"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_may_bear_any_name(name: str, tmp_path: Path) -> None:
    options = CHOICES[name]
    rows = "".join(f"{op},{option},3\n" for op in "ab" for option in options)
    path = write(tmp_path / "t.csv", f"op,{name},latency_ms\n{rows}")
    taken = read_table(path)
    assert [choice.name for choice in taken.space.choices] == ["op"]
    (column,) = [each for each in taken.columns if each.name == name]
    assert (column.role, column.why) in {
        ("metric", f"ends in _{name.rpartition('_')[2]}"),
        ("reserved", "a reserved name"),
    }
    named = read_table(path, choice_columns=[name])
    space = SearchSpace("own", (Choice("op", ("a", "b")), Choice(name, options)))
    for table in (named, read_table(path, space)):
        assert table.columns_by_role["choice"] == ("op", name)
        assert table.columns_by_role["metric"] == ("latency_ms",)
        assert [a[name] for a in table.architectures] == [*options, *options]
        assert len(set(table.architectures)) == 2 * len(options)


def test_choices_alone_are_enough_where_nothing_need_be_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "op,latency_ms\na,3\nb,\nc,later\n")
    with pytest.raises(InputError, match="row 3, column 'latency_ms': .* measure or remove"):
        read_table(path).metric("latency_ms")
    table = read_table(path, measured=False)
    assert [architecture["op"] for architecture in table.architectures] == ["a", "b", "c"]
    assert list(table.metric("latency_ms").notna()) == [True, False, False]


def test_a_gap_in_a_column_that_nobody_asks_for_is_no_fault(tmp_path: Path) -> None:
    rows = "".join(f"{op},{n},{n if op == 'a' else ''}\n" for n in (1, 2) for op in "ab")
    table = read_table(write(tmp_path / "t.csv", f"op,latency_ms,energy_mj\n{rows}"))
    assert list(table.metric("latency_ms")) == [1, 1, 2, 2]
    with pytest.raises(InputError, match="row 3, column 'energy_mj': '' is not a number of at"):
        table.metric("energy_mj")


def test_few_numbers_are_an_ordered_choice(tmp_path: Path) -> None:
    rows = "".join(f"{w},{d},{w}\n" for w in (1.0, 0.25, 0.75, 0.5) for d in (3, 1))
    table = read_table(write(tmp_path / "t.csv", f"width,depth,latency_ms\n{rows}"))
    assert table.space.choices == (
        Choice("width", (0.25, 0.5, 0.75, 1.0)), Choice("depth", (1, 3)),
    )  # fmt: skip
    drawn = [table.space.sample(np.random.default_rng(n))["width"] for n in range(2000)]
    assert all(abs(drawn.count(width) / 2000 - 0.25) < 0.05 for width in (0.25, 0.5, 0.75, 1.0))


@pytest.mark.parametrize(("name", "first"), [("", 0), ("index", 1), ("row", 0)])
def test_a_column_that_counts_the_rows_is_left_out(tmp_path: Path, name: str, first: int) -> None:
    rows = "".join(f"{n + first},{'ab'[n % 2]},{n + 1}\n" for n in range(20))
    table = read_table(write(tmp_path / "t.csv", f"{name},op,latency_ms\n{rows}"))
    assert [choice.name for choice in table.space.choices] == ["op"]
    assert table.columns[0].why == "counts the rows, so it is left out"
    said = read_table(tmp_path / "t.csv", choice_columns=[table.columns[0].name])
    assert said.columns[0].role == "choice"


def test_a_nameless_column_of_anything_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ",op,latency_ms\n3,a,1\n3,b,2\n")
    with pytest.raises(InputError, match="the first line must name every column"):
        read_table(path)
