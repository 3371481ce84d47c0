"""No table of measurements crashes a calibration, none is half-read."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency import Device
from nas.calibration import report as calibration_report
from nas.calibration.calibrating import calibrated, read
from search_spaces import InputError

CELLS = ["a", "b", "", "1", "2", "2.5", "1e3", "nan", "-1", "x=y", " a", "1e300", "$a$", '"', "é"]
TIMES = st.one_of(st.floats(1e-7, 1e7).map(str), st.sampled_from(["1", "2", "3"]))


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Tables as people write them, and then something happens to some of them."""
    odd = st.sampled_from(["id", "notes", "repeats", "latency_us", "err_pct", "slot", "o=p", ""])
    choices = draw(st.lists(st.sampled_from(["op", "kernel", "width"]), max_size=3, unique=True))
    names = [*choices, "latency_ms", *draw(st.lists(odd, max_size=1))]
    cells = st.sampled_from(draw(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4)))
    row = st.tuples(*(TIMES if name.endswith("_ms") else cells for name in names))
    rows = draw(st.lists(row, max_size=12))
    text = "\n".join(",".join(cells) for cells in [tuple(names), *rows])
    data = bytearray(text.encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=300)
@given(tables())
def test_every_table_calibrates_or_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "t.csv"
    path.write_bytes(data)
    try:
        measured_ = read([path], None, "latency_ms")
        device, judged = calibrated(measured_, "d", None, 0)
    except InputError as error:
        assert "\n" not in str(error)
        assert "t.csv" in str(error)
        return
    json.dumps(calibration_report.summary(judged), allow_nan=False)
    again = Device.from_json(json.loads(json.dumps(device.to_json(), allow_nan=False)), "d.json")
    workloads = [m.workload for m in measured_.networks]
    scale_ms = device.model.noise.mean_ms
    for one, two in zip(device.predict_all(workloads), again.predict_all(workloads), strict=True):
        assert 0 <= one.low_ms <= one.latency_ms <= one.high_ms < np.inf
        assert one.latency_ms > 0
        assert one.latency_ms == pytest.approx(two.latency_ms, rel=1e-5, abs=1e-6 * scale_ms)
