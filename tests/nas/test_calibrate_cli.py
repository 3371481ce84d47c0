"""What people type to get from measured tables to predictions, and what they get wrong."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from latency.coreml.convert import save
from nas.calibration.picture import labels
from nas.costs.workloads import SpaceCosts
from search_spaces import Choice, SearchSpace, TemporalSpace, read_table

Call = Callable[..., tuple[int, str, str]]
COST_MS = {"skip": 0.2, "conv3": 2.0, "conv5": 5.0}
WHOLE = "mine_latency_ms"


def measured(count: int, seed: int, columns: Sequence[str]) -> pd.DataFrame:
    """Networks of five slots, on three devices that are alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        options = [str(option) for option in rng.choice(list(COST_MS), 5)]
        ms = 3.0 + sum(COST_MS[o] * (1 + 0.2 * slot) for slot, o in enumerate(options))
        times = {WHOLE: ms, "one_latency_ms": 2 * ms + 1, "two_latency_us": 300 * ms}
        rows.append([*options, *(times[column] for column in columns)])
    return pd.DataFrame(rows, columns=[*(f"slot{n}" for n in range(5)), *columns])


def predicted(call: Call, *words: str) -> list[dict[str, float]]:
    code, out, err = call("predict", *words, "--json")
    assert code == 0, err
    found: list[dict[str, float]] = json.loads(out)["predictions"]
    assert all(0 <= p["low_ms"] <= p["latency_ms"] <= p["high_ms"] for p in found)
    assert all(p["latency_ms"] > 0 for p in found)
    return found


def test_ten_samples_and_two_devices_rank_the_rest(call: Call) -> None:
    columns = (WHOLE, "one_latency_ms", "two_latency_us")
    measured(120, 0, columns).to_csv("all.csv", index=False)
    code, out, err = call(
        "calibrate", "all.csv", "--column", WHOLE, "--samples", "8",
        "--borrow", "one_latency_ms,two_latency_us", "--out", "mine.json", "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["choices"] == [f"slot{n}" for n in range(5)]
    assert found["validation"]["networks"] == 112
    assert found["validation"]["spearman"] > 0.99
    assert found["validation"]["within_10pct_share"] > 0.95
    assert found["validation"]["median_error_pct"] < 3
    assert len(found["worst"]) == 10
    report = Path(found["report"]).read_text()
    assert report.count("data:image/png;base64,") == 1
    assert "112 networks, held out" in report
    assert "The worst 10 of 112" in report
    assert not re.search(r"https?://|src=\"(?!data:)", report), "the report needs nothing else"


def test_other_devices_in_a_table_of_their_own(call: Call) -> None:
    measured(7, 1, [WHOLE]).to_csv("mine.csv", index=False)
    measured(60, 2, ["one_latency_ms"]).to_parquet("one.parquet")
    measured(50, 3, ["two_latency_us"]).to_csv("two.csv", index=False)
    words = ["calibrate", "mine.csv", "one.parquet", "two.csv", "--column", WHOLE]
    borrow = ["--borrow", "one_latency_ms, two_latency_us"]
    code, _, err = call(*words, *borrow, "--out", "mine.json")
    assert code == 0, err
    truth = measured(60, 2, [WHOLE])[WHOLE]
    found = [
        p["latency_ms"]
        for p in predicted(call, "--device", "mine.json", "--architectures", "one.parquet")
    ]
    assert spearmanr(found, truth).statistic > 0.99
    assert np.median(np.abs(np.array(found) / truth - 1)) < 0.05
    code, _, err = call(*words, "--borrow", "one_latency_ms", "--out", "less.json")
    assert code == 2
    assert "two.csv: has neither mine_latency_ms nor a column to borrow" in err


def test_predictions_are_in_row_order_and_of_the_saved_device(call: Call) -> None:
    frame = measured(40, 0, [WHOLE])
    frame.to_csv("t.csv", index=False)
    assert call("calibrate", "t.csv", "--column", WHOLE, "--out", "d.json")[0] == 0
    found = predicted(call, "--device", "d.json", "--architectures", "t.csv")
    assert spearmanr([p["latency_ms"] for p in found], frame[WHOLE]).statistic > 0.99
    frame.iloc[::-1].drop(columns=WHOLE).to_csv("back.csv", index=False)
    assert predicted(call, "--device", "d.json", "--architectures", "back.csv") == found[::-1]
    choices = frame.drop(columns=WHOLE).iloc[3].to_dict()
    document = {"format": "temporal-nas/architecture", "version": "1.0", "choices": choices}
    Path("a.json").write_text(json.dumps(document))
    assert predicted(call, "--device", "d.json", "--architecture", "a.json") == [found[3]]


def test_choices_that_do_not_matter_are_left_empty(call: Call) -> None:
    rows = [("conv", k, 2 + k) for k in (3, 5, 7)] * 4 + [("skip", "", 1.0)] * 4
    Path("t.csv").write_text("kernel,op,time_ms\n" + "".join(f"{k},{o},{t}\n" for o, k, t in rows))
    assert call("calibrate", "t.csv", "--column", "time_ms", "--out", "d.json")[0] == 0
    Path("few.csv").write_text("op,kernel\nskip,\nconv,7\n")
    skip, conv = predicted(call, "--device", "d.json", "--architectures", "few.csv")
    assert skip["latency_ms"] == pytest.approx(1.0, rel=0.15)
    assert conv["latency_ms"] == pytest.approx(9.0, rel=0.1)


def test_a_misspelt_option_is_said(call: Call) -> None:
    measured(20, 0, [WHOLE]).to_csv("t.csv", index=False)
    assert call("calibrate", "t.csv", "--column", WHOLE, "--out", "d.json")[0] == 0
    header = ",".join(f"slot{n}" for n in range(5))
    Path("odd.csv").write_text(f"{header}\nconv3,conv33,skip,skip,skip\n")
    code, out, err = call("predict", "--device", "d.json", "--architectures", "odd.csv")
    assert code == 0
    unmeasured, columns = err.strip().splitlines()
    assert unmeasured == "nas: d never measured slot1=conv33: check the spelling, or expect errors"
    assert columns == "nas: odd.csv: choices slot0, slot1, slot2, slot3, slot4"
    assert "conv33" not in out


@pytest.fixture(scope="module")
def of_digits(
    space: TemporalSpace, space_costs: SpaceCosts, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with blocks and ten networks of moving digits, in ms, s and us."""
    folder, costs = tmp_path_factory.mktemp("digits"), space_costs
    rng = np.random.default_rng(0)
    found = [space.uniform(block) for block in space.blocks()[::6]]
    found += [space.sample(rng) for _ in range(10 - len(found))]
    names = [choice.name for choice in space.choices]
    nets = pd.DataFrame([[a.get(name, "") for name in names] for a in found], columns=names)
    workloads = [costs.workload(a) for a in found]
    times_ms = [w.flops / 1e8 + w.bytes_moved / 1e7 + 2 for w in workloads]
    nets.assign(latency_ms=times_ms).to_csv(folder / "nets.csv", index=False)
    nets.assign(latency_us=np.array(times_ms) * 1e3).to_csv(folder / "same.csv", index=False)
    nets.assign(latency_s=times_ms).to_csv(folder / "wrong.csv", index=False)
    blocks = [("backbone", "image")]
    blocks += [(slot.name, str(block)) for slot in space.slots for block in space.blocks()[1::4]]
    ms = [(w.flops / 1e8 + w.bytes_moved / 1e7) for w in (costs.block_workload(*b) for b in blocks)]
    frame = pd.DataFrame(blocks, columns=["slot", "option"]).assign(latency_ms=ms)
    frame.to_csv(folder / "blocks.csv", index=False)
    return folder


@pytest.mark.slow
def test_a_new_phone(call: Call, of_digits: Path) -> None:
    space = ["--space", "moving_digits"]
    words = ["calibrate", str(of_digits / "blocks.csv"), str(of_digits / "same.csv"), *space]
    code, out, err = call(*words, "--out", "phone.json")
    assert code == 0, err
    assert "10 networks, leave one out: MAPE" in out
    assert "within 10%" in out
    table = str(of_digits / "nets.csv")
    found = predicted(call, "--device", "phone.json", "--architectures", table, *space)
    truth = read_table(table).metric("latency_ms")
    assert [p["latency_ms"] for p in found] == pytest.approx(list(truth), rel=0.05)
    known = predicted(call, "--device", "iphone-13", "--architectures", table, *space)
    assert all(p["high_ms"] > 1.2 * p["low_ms"] for p in known), "nothing was measured there"
    code, _, err = call("predict", "--device", "phone.json", "--architectures", table)
    assert code == 2
    assert "give the --space" in err


def test_networks_and_blocks_in_different_units(call: Call, of_digits: Path) -> None:
    paths = [str(of_digits / "blocks.csv"), str(of_digits / "wrong.csv")]
    code, out, err = call("calibrate", *paths, "--space", "moving_digits", "--out", "d.json")
    assert (code, out) == (2, "")
    assert re.search(r"networks take 1,\d00 times the sum of their blocks: is a unit wrong", err)
    assert list(Path().iterdir()) == []


BASE = "op,kernel,latency_ms\nconv,3,5\nconv,5,7\npool,3,2\npool,5,2.5\n"


@pytest.mark.parametrize(
    ("words", "files", "message"),
    [
        ("t.csv", {"t.csv": "op,latency_ms\na,5\n"}, "t.csv, .*1 measurement.*needs two or more"),
        ("t.csv", {"t.csv": "op,latency_ms\na,5\nb,5\n"}, "t.csv, column 'latency_ms': all 2 .* 5"),
        ("t.csv", {"t.csv": "op,latency_ms\na,5\nb,0\n"}, "row 3, column 'latency_ms': 0 ms is no"),
        ("t.csv", {"t.csv": "op,latency_s\na,5\nb,1e99\n"}, "row 3, column 'latency_ms': 1e.102 "),
        ("t.csv", {"t.csv": "op,latency_ms,latency_us\na,5,5\n"}, "'latency_ms' in different unit"),
        ("t.csv", {"t.csv": "op;latency_ms\na;5\n"}, "separated by ';'; separate them by commas"),
        ("t.csv", {"t.csv": BASE + "\nconv,3,5\n"}, "t.csv, row 6: is blank"),
        ("t.csv", {"t.csv": BASE + "conv,,5\n"}, "row 6, column 'kernel': is empty, and no other"),
        ("t.csv", {"t.csv": BASE.replace("op", "o=p")}, "column 'o=p' holds a '='"),
        ("t.csv a.csv", {"t.csv": BASE, "a.csv": BASE.replace("op", "ops")}, "a.csv: its choices"),
        ("t.csv ./t.csv", {"t.csv": BASE}, "t.csv: given twice"),
        ("t.csv a.csv", {"t.csv": BASE, "a.csv": BASE.replace(",5\n", ",5000\n")}, "as 5 ms and"),
        ("t.csv --column err_pct", {"t.csv": "op,err_pct\na,5\nb,6\n"}, "'err_pct' holds no times"),
        ("t.csv --borrow a_ms", {"t.csv": BASE}, "--borrow a_ms: found no such metric column"),
        ("t.csv --borrow latency_us", {"t.csv": BASE}, "that is the column to calibrate"),
        ("t.csv --borrow ,", {"t.csv": BASE}, "--borrow names no column"),
        ("t.csv --borrow a_ms", {"t.csv": "op,latency_ms,a_ms\na,5,1\nb,6,2\n"}, "to borrow takes"),
        ("t.csv --samples 5", {"t.csv": BASE}, "5 samples asked for, 4 networks measured"),
        ("t.csv --out t.csv", {"t.csv": BASE}, "call it t.json"),
        ("t.csv --out t.html", {"t.csv": BASE}, "call it t.json"),
        ("t.csv --out .", {"t.csv": BASE}, "is a folder"),
        ("t.xlsx", {"t.xlsx": "PK"}, "t.xlsx: is a spreadsheet; save it as CSV"),
    ],
)
def test_what_cannot_be_calibrated_leaves_nothing(
    words: str, files: dict[str, str], message: str, call: Call
) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    out = [] if "--out" in words else ["--out", "d.json"]
    code, printed, err = call("calibrate", *words.split(), *out)
    assert (code, printed) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err
    assert {path.name: path.read_text() for path in Path().iterdir()} == files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op,kernel,mode\nconv,3,x\n", "knows nothing of 'mode'; it knows op, kernel"),
        ("op\nconv\n", "has no column 'kernel', a choice that device 'd' was calibrated on"),
        ("op,kernel\nconv,wide\n", "row 2, column 'kernel': 'wide' is not a number"),
        ("id,op,kernel\n1,conv,3\n2,,\n", "row 3: decides nothing"),
        ("op,kernel\nconv,1e200\n", "predicts no finite latency"),
    ],
)
def test_tables_of_another_space_are_refused(text: str, message: str, call: Call) -> None:
    rows = "".join(f"{'ab'[n % 2]},{n},{n + 5 * (n % 2)}\n" for n in range(1, 30))
    Path("t.csv").write_text("op,kernel,latency_ms\n" + rows)
    assert call("calibrate", "t.csv", "--out", "d.json")[0] == 0
    Path("q.csv").write_text(text)
    code, out, err = call("predict", "--device", "d.json", "--architectures", "q.csv")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err


def test_a_package_on_a_shipped_phone_and_on_a_data_sheet(call: Call, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
    save(network, [torch.zeros(1, 3, 64, 64)], tmp_path / "net.mlpackage")
    sheet = {"format": "temporal-nas/device", "version": "1.0", "name": "sheet"}
    sheet |= {"rates": {"gflop_per_s": 900, "gb_per_s": 25, "launch_ms": 0.02}}  # type: ignore[dict-item]
    Path("sheet.json").write_text(json.dumps({**sheet, "memory_limit_mb": 0.1}))
    gflops = 2 * 16 * 27 * 62 * 62 / 1e9
    for device in ("iphone-13", "sheet.json"):
        code, out, err = call("predict", "--device", device, "--model", "net.mlpackage", "--json")
        assert code == 0, err
        found = json.loads(out)
        assert found["predictions"][0]["latency_ms"] > 0
        assert found["workload"]["gflops"] == pytest.approx(gflops, rel=0.01)
        assert found["workload"]["memory_mb"] > 0.1
    assert found["workload"]["memory_limit_mb"] == 0.1
    assert (
        "DOES NOT FIT" in call("predict", "--device", "sheet.json", "--model", "net.mlpackage")[1]
    )
    text = call("predict", "--device", "iphone-13", "--model", "net.mlpackage")[1]
    assert "fits in 2000 MB" in text
    code, _, err = call("predict", "--device", "sheet.json", "--model", "no.mlpackage")
    assert (code, err.count("\n")) == (2, 1)


def test_devices_say_how_far_to_trust_them(call: Call) -> None:
    code, out, _ = call("devices", "--json")
    named = {device["name"]: device for device in json.loads(out)["devices"]}
    assert {"host", "iphone-12", "iphone-13", "mac-m1"} <= set(named)
    assert named["iphone-13"]["validation"]["mape_pct"] > 0
    assert named["iphone-13"]["memory_limit_mb"] > 0
    code, out, _ = call("devices", "iphone-13")
    assert code == 0
    assert "memory limit: 2000 MB" in out
    assert "extrapolated" in out
    assert call("devices", "iphone-99")[0] == 2
    measured(12, 0, [WHOLE]).to_csv("t.csv", index=False)
    assert call("calibrate", "t.csv", "--column", WHOLE, "--out", "d.json")[0] == 0
    code, out, _ = call("devices", "d.json")
    assert re.search(r"d: 12 networks measured; 12 networks, .*median \d.*within 10%", out)


def layered(count: int = 60) -> pd.DataFrame:
    """Networks whose number of layers decides their time, under a name that ends in a unit."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"op": rng.choice(["a", "b"], count)})
    frame["layer_count"] = rng.choice([4, 8, 16], count)
    frame["device"] = rng.choice(["left", "right"], count)  # of two of one network
    frame["id"] = [f"net-{row}" for row in range(count)]
    ms = frame["layer_count"] + 5 * (frame["op"] == "a") + 3 * (frame["device"] == "left")
    noise = rng.normal(0, 0.05, count)
    return frame.assign(latency_ms=ms + noise, error_pct=40 - ms - noise)


def test_what_columns_were_taken_for_is_said_and_can_be_changed(call: Call) -> None:
    layered().to_csv("t.csv", index=False)
    code, out, err = call("calibrate", "t.csv", "--out", "d.json")
    assert code == 0
    first, second, third = err.strip().splitlines()
    assert first == (
        "nas: t.csv: choices op; metrics (they end in a unit) layer_count, latency_ms, error_pct; "
        "reserved names device, id"
    )
    assert "layer_count, device have few values" in second
    assert "--choice-columns layer_count,device" in second
    assert "off by" in third, "two columns that matter are no choices"
    named = ["--choice-columns", "layer_count,device"]
    code, out, err = call("calibrate", "t.csv", *named, "--out", "d.json", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["validation"]["mape_pct"] < 3
    assert {"name": "layer_count", "role": "choice", "why": "said to be one"} in (
        found["columns"]["t.csv"]
    )
    # The device knows its choices by then, whatever their names are.
    alone = layered().drop(columns=["latency_ms", "error_pct"])
    alone.to_csv("networks.csv", index=False)
    times = predicted(call, "--device", "d.json", "--architectures", "networks.csv")
    assert [t["latency_ms"] for t in times] == pytest.approx(layered()["latency_ms"], rel=0.1)
    code, out, err = call(
        "bench", "t.csv", "--objectives", "error_pct,latency_ms", "--out", "r.csv",
    )  # fmt: skip
    assert code == 2
    assert re.search(r"one architecture with two values.*--choice-columns NAME \(.*now op\)", err)
    different = layered().drop_duplicates(["op", "layer_count", "device"])
    different.rename(columns={"device": "seed"}).to_csv("s.csv", index=False)
    named = ["--choice-columns", "layer_count,seed", "--strategies", "random", "--trials", "3"]
    bench = ["bench", "s.csv", "--objectives", "error_pct,latency_ms", "--out", "r.csv"]
    code, _, err = call(*bench, *named, "--reference", "99,99")
    assert code == 2
    assert "choice 'seed' of space 's' bears the name of a column of the results" in err
    assert not Path("r.csv").exists()
    code, _, err = call("calibrate", "t.csv", "--choice-columns", "layers", "--out", "e.json")
    assert (code, err) == (2, "nas: --choice-columns layers: t.csv has no such column\n")


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        ("blocks", "--space own.json", "no choice 'mid' in space 'own'; slots are"),
        ("blocks", "", "say whose slots they stand in, as --space"),
        ("todo", "", "no column ends in a unit .*; add what was, as latency_ms"),
        ("todo", "--space moving_digits", "nothing is measured in it; .* as latency_ms"),
        ("part", "--space moving_digits", "row 3, column 'latency_ms': '' .*measure or remove"),
        ("costs", "--space moving_digits", "are predictions of a device, and no measurements"),
        ("costs", "--space moving_digits --column predicted_ms", "are predictions of a device"),
        ("trials", "--space moving_digits", "written by a search or a bench .* strategy and trial"),
        ("t", "--column time_ms", "has no column time_ms; .* --column latency_ms"),
        ("t", "--choice-columns latency_ms", "latency_ms is a choice here"),
    ],
)
def test_tables_that_hold_no_measurements_say_what_to_do(
    table: str, words: str, message: str, call: Call, space: TemporalSpace, device_file: Path
) -> None:
    if table == "costs":
        assert call("costs", "--device", str(device_file), "--out", "costs.csv")[0] == 0
    elif table in ("todo", "part"):
        call("profile", "--plan", "--networks", "3", "--out", "todo.csv")
        todo = pd.read_csv("todo.csv", dtype=str, keep_default_na=False)
        todo.assign(latency_ms=["3", "", ""]).to_csv("part.csv", index=False)
    elif table == "trials":
        names = [choice.name for choice in space.choices]
        row = {"trial": 0, "strategy": "random", **dict.fromkeys(names, ""), "latency_ms": 3}
        pd.DataFrame([row]).to_csv("trials.csv", index=False)
    elif table == "blocks":
        Path("blocks.csv").write_text("slot,option,latency_ms\nmid,conv1d,1\nmid,conv3d,2\n")
        own = SearchSpace("own", (Choice("op", ("a", "b")),))
        Path("own.json").write_text(json.dumps(own.to_json()))
    else:
        layered().to_csv("t.csv", index=False)
    code, out, err = call("calibrate", f"{table}.csv", *words.split(), "--out", "d.json")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert re.search(message, err), err


def test_kinds_of_blocks_are_told_apart_in_the_picture(space: TemporalSpace) -> None:
    names = [str(block) for block in space.blocks()]
    assert labels(names) == names, "whole"
    window = "cross_attention{}d(heads=4,kernel=3,width=1.0,window=0.5,repeats=2)"
    long = [window.format(1), window.format(3)]
    assert all(f"attention{n}d\n" in label for n, label in zip((1, 3), labels(long), strict=True))
    alike = [f"{'x' * 60}{n}{'y' * 60}" for n in range(3)]
    assert len(set(labels(alike))) == 3
