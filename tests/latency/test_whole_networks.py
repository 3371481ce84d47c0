"""The benchmark of whole networks reads anybody's table, and judges what is foretold of it."""

import csv
import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from latency import Measurement, Operation, Workload
from search_spaces import InputError


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "benchmarks")


def read(path: Path, text: str) -> Any:
    from timm_networks import read as read_file

    path.write_text(text, encoding="utf-8")
    return read_file(path)


def test_tables_of_ours_and_of_timm_read_alike(tmp_path: Path) -> None:
    ours = read(tmp_path / "a.csv", "model,latency_ms,image_size\nresnet18,4.0,160\n")
    theirs = read(
        tmp_path / "b.csv",
        "model,infer_img_size,infer_samples_per_sec,infer_batch_size\nresnet18,160,250.0,1024\n",
    )
    assert ours == theirs
    (usual,) = read(tmp_path / "c.csv", "model,latency_ms\nresnet18,4.0\n")
    assert (usual.image_size, usual.latency_ms) == (224, 4.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("model,ms\nresnet18,4\n", "expected a column latency_ms"),
        ("model,latency_ms\nresnet18,-1\n", "out of range"),
        ("model,latency_ms\nresnet18,nan\n", "out of range"),
        ("model,latency_ms\nresnet18,quick\n", "is no number"),
        ("model,infer_samples_per_sec\nresnet18,0\n", "is no number"),
        ("model,latency_ms,image_size\nresnet18,1,1e9\n", "is no number"),
        ("model,latency_ms\n,1\n", "expected a column model"),
        ("model,latency_ms\nresnet18,1\nresnet18,2\n", "twice"),
    ],
)
def test_a_broken_table_gets_one_line(
    tmp_path: Path,
    text: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import whole_networks

    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["whole_networks.py", "--table", str(tmp_path / "table.csv")])
    with pytest.raises(SystemExit) as stopped:
        whole_networks.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert why in said
    assert said.count("\n") == 1


CELLS = st.one_of(
    st.sampled_from(["model", "latency_ms", "infer_samples_per_sec", "image_size", "resnet18"]),
    st.floats().map(str),
    st.text(max_size=5),
)


@pytest.mark.slow
@given(rows=st.lists(st.lists(CELLS, max_size=4), max_size=4), raw=st.text(max_size=30))
@example(rows=[], raw="\x00")
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_a_table_or_an_input_error(
    tmp_path: Path, rows: list[list[str]], raw: str
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["model", "latency_ms"], *rows])
    for each in (text.getvalue(), raw):
        try:
            found = read(tmp_path / "table.csv", each.encode(errors="replace").decode())
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert all(math.isfinite(row.latency_ms) and row.latency_ms > 0 for row in found)


def test_what_follows_from_the_counts_is_foretold() -> None:
    """By ridge regression at least, where latency is a power of the multiply-adds."""
    import whole_networks

    among = []
    for side in range(8, 40):
        shape, flops = (1, 64, side, side), 2 * side * side * 64 * 576
        work = (Operation("convolution", shape, flops, 512 * side * side, 147456),)
        among.append(Measurement(Workload(f"side{side}", work), 1e-7 * flops))
    error, rank, coverage, *_ = whole_networks.judged("ridge on counts", among, 10, 0)
    assert error < 0.05
    assert rank > 0.99
    assert math.isnan(coverage)
    error, rank, coverage, width, score = whole_networks.judged("calibrate", among, 10, 0)
    assert error < 0.1
    assert rank > 0.99
    assert coverage > 0.8
    assert np.isfinite([width, score]).all()
