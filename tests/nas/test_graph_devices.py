"""Devices of a cell's networks: rows are measured as they are spelled, searches build none dead."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import latency
from nas.costs.workloads import workload_of
from nas.tables import write_rows
from search_spaces import encode, load

Call = Callable[..., tuple[int, str, str]]
CELL = str(Path("examples/nas_bench_201/cell.json").resolve())
COST_MS = {"none": 0, "skip_connect": 0.1, "avg_pool_3x3": 1, "nor_conv_1x1": 2, "nor_conv_3x3": 7}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A device that leaves out what nothing reads; 60 cells, spelled at random."""
    space, rng = load(CELL), np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for _ in range(60):
        row = {c.name: list(COST_MS)[int(rng.integers(5))] for c in space.choices}
        run = [name for name in row if space.dead(row).get(name, "unfed") == "unfed"]
        latency_ms = 2 + sum(COST_MS[row[name]] for name in run)
        other_ms = 5 + 2 * sum(COST_MS[option] for option in row.values())  # runs everything
        rows.append({**row, "latency_ms": latency_ms, "other_latency_ms": other_ms})
    write_rows(tmp_path / "cells.csv", rows)
    return tmp_path / "cells.csv"


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_with_and_without_the_space_networks_are_predicted_alike(call: Call) -> None:
    words = ["calibrate", "cells.csv", "--space", CELL, "--out", "d.json", "--json"]
    code, out, err = call(*words)
    assert code == 0, err
    assert json.loads(out)["validation"]["spearman"] > 0.97
    asked = ["predict", "--device", "d.json", "--architectures", "cells.csv", "--json"]
    named, alone = (json.loads(call(*asked, *more)[1]) for more in (["--space", CELL], []))
    assert named["predictions"] == alone["predictions"]
    measured = np.loadtxt("cells.csv", delimiter=",", skiprows=1, usecols=6)
    predicted = [each["latency_ms"] for each in alone["predictions"]]
    assert predicted == pytest.approx(measured.tolist(), rel=0.1, abs=0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("table")
def test_borrowing_and_the_graph_help_together(call: Call) -> None:
    ranks = []
    for more in (["--space", CELL], ["--borrow", "other_latency_ms"]):
        words = ["calibrate", "cells.csv", "--column", "latency_ms", "--samples", "8", *more]
        ranks.append([*words, "--out", "d.json", "--json"])
    ranks.append([*ranks[0], "--borrow", "other_latency_ms"])
    found = []
    for words in ranks:
        code, out, err = call(*words)
        assert code == 0, err
        found.append(json.loads(out)["validation"]["spearman"])
    assert found[2] > max(found[:2])
    assert found[2] > 0.95


@pytest.mark.usefixtures("table")
def test_what_a_search_builds_has_no_dead_edges(call: Call) -> None:
    space = load(CELL)
    assert call("calibrate", "cells.csv", "--space", CELL, "--out", "d.json")[0] == 0
    device = latency.read_device("d.json")
    assert device.graphs == space.graphs
    decided = {"edge0": "nor_conv_3x3", "edge3": "nor_conv_1x1", "edge5": "avg_pool_3x3"}
    spelled = {choice.name: "none" for choice in space.choices} | decided
    architecture = space.architecture(spelled)
    assert "edge5" not in architecture
    Path("a.json").write_text(json.dumps(architecture.to_json()))
    write_rows(Path("built.csv"), [{**spelled, "edge0": "none", "edge5": "none"}])
    found = [
        json.loads(call("predict", "--device", "d.json", *words, "--json")[1])["predictions"][0]
        for words in (
            ["--architecture", "a.json"],
            ["--architecture", "a.json", "--space", CELL],
            ["--architectures", "built.csv"],
        )
    ]
    for other in found[1:]:  # sums in another order end in other last digits on some processors
        assert other == pytest.approx(found[0], rel=1e-9)
    encoded = latency.EncodedPredictor.of_choices(device, space)
    bulk_ms = encoded.predict(encode(space, [architecture]))[0]
    assert bulk_ms == pytest.approx(found[0]["latency_ms"], rel=1e-4)
    assert device.predict(workload_of(space, architecture, None)).latency_ms == pytest.approx(
        found[0]["latency_ms"]
    )


def test_a_broken_graph_of_a_device_is_said(table: Path, call: Call) -> None:
    call("calibrate", "cells.csv", "--space", CELL, "--out", "d.json")
    found = json.loads((table.parent / "d.json").read_text())
    found["graphs"] = [{"edges": [{"from": "0", "to": "0", "choice": "edge0"}]}]
    (table.parent / "d.json").write_text(json.dumps(found))
    code, _, err = call("predict", "--device", "d.json", "--architectures", "cells.csv")
    assert code == 2
    assert err.startswith("nas: d.json: ")
    assert len(err.splitlines()) == 1
