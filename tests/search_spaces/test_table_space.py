"""The space that a table's rows make, empty cells and several tables included."""

from pathlib import Path

import pandas as pd
import pytest

from search_spaces import Choice, InputError, NumericChoice, read_table
from search_spaces.tables.table import joined


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_cell_is_a_choice_that_does_not_matter(tmp_path: Path) -> None:
    rows = "kernel,op,dilation,a_ms\n3,conv,1,1\n3,conv,2,2\n5,conv,,3\n,skip,,4\n"
    table = read_table(write(tmp_path / "t.csv", rows))
    by_name = {choice.name: choice for choice in table.space.choices}
    kernel, dilation = by_name["kernel"], by_name["dilation"]
    assert isinstance(kernel, Choice)
    assert isinstance(dilation, Choice)
    assert kernel.when is not None
    assert dilation.when is not None
    assert (kernel.when.choice, kernel.when.options) == ("op", ("conv",))
    assert (dilation.when.choice, dilation.when.options) == ("kernel", (3,))
    assert table.space.size == 4
    assert [len(architecture) for architecture in table.architectures] == [3, 3, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op,k,a_ms\nx,3,1\nx,,2\n", "t.csv, row 3, column 'k': is empty, and no other"),
        ("op,k,a_ms\nx,,1\ny,,2\n", "column 'k' is empty; fill or remove it"),
        (
            "op,k,a_ms\n" + "".join(f"x,{n}.5,1\n" for n in range(17)) + "y,,2\n",
            "row 19, column 'k': is empty where numbers vary freely",
        ),
        ("op,k,a_ms\nx,2.5,1\ny,1e99,2\n", "column 'k' holds 1e.99, which is out of range"),
        ("n,op,a_ms\n" + "".join(f"net{n},x,1\n" for n in range(20)), "it is a name and no choice"),
    ],
)
def test_columns_that_make_no_choice_are_refused(tmp_path: Path, text: str, message: str) -> None:
    table = read_table(write(tmp_path / "t.csv", text))
    with pytest.raises(InputError, match=message) as caught:
        _ = table.architectures
    assert str(caught.value).count(str(tmp_path)) == 1


def test_tables_make_one_space_together(tmp_path: Path) -> None:
    """A column that looks like numbers in one of them, and a row that is wrong in the other."""
    one = write(tmp_path / "one.csv", "op,k,a_ms\nx,3,1\ny,5,2\n")
    two = write(tmp_path / "two.csv", "k,op,a_us\nwide,x,1000\n3,y,2000\n")
    tables = joined([read_table(one), read_table(two)])
    assert tables[0].space == tables[1].space
    assert [a["k"] for table in tables for a in table.architectures] == ["3", "5", "wide", "3"]
    write(two, "k,op,a_us\n3,x,1000\n,y,2000\n")
    with pytest.raises(InputError, match="two.csv, row 3, column 'k'"):
        joined([read_table(one), read_table(two)])


def test_what_spreadsheets_and_parquet_leave_behind(tmp_path: Path) -> None:
    marked = write(tmp_path / "t.csv", "\ufeffop , k,a_ms\n x,3,1\nx ,5,2\n\n\n")
    assert list(read_table(marked).choices.columns) == ["op", "k"]
    assert list(read_table(marked).choices["op"]) == ["x", "x"]
    frame = pd.DataFrame({"op": ["x", None], "w": [1.5, 2.5], "a_ms": [1.0, 2.0]}).set_index("w")
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.decisions == [{"w": 1.5, "op": "x"}, {"w": 2.5}]
    with pytest.raises(InputError, match="row 3, column 'op': is empty"):
        _ = table.space
    numbers = read_table(write(tmp_path / "n.csv", "w,a_ms\n1.5,1\n2.5,2\n"))
    assert numbers.space.choices == (NumericChoice("w", 1.5, 2.5),)


def test_sizes_of_an_operator_are_options_where_only_it_has_them(tmp_path: Path) -> None:
    path = tmp_path / "elastic.csv"
    path.write_text("op,width,latency_ms\nconv,0.5,1\nconv,1.0,2\nnone,,0.1\nconv,0.5,1.1\n")
    space = read_table(path).space
    assert space.size == 3
    assert space.architecture({"op": "conv", "width": 0.5})["width"] == 0.5
