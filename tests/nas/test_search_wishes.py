"""Several devices, several objectives, workers and finalists in one search."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Call

import nas as nas_api
from latency import Device, load_device
from nas.bundle.made_with import check_supernet
from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Budget, Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators.workers import Workers
from nas.run.results import Found, found
from nas.temporal.finalists import entrants, race
from nas.temporal.quality import Quality
from search_spaces import InputError, TemporalSpace
from supernet import Validation, checkpoint, load_supernet
from supernet.data.loading import load_clips
from temporal_bundle.closeness import SHARE

pytestmark = pytest.mark.slow
OBJECTIVES = ("validation_loss", "latency_ms", "latency_slow-one_ms", "parameters_count")


@pytest.fixture(scope="module")
def slow_device(device_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another device: the same, under another name."""
    content = json.loads(device_file.read_text())
    path = tmp_path_factory.mktemp("slow") / "slow.json"
    path.write_text(json.dumps({**content, "name": "slow-one"}))
    return path


@pytest.mark.long
@pytest.mark.kernels
def test_two_devices_four_objectives_and_two_workers(
    tmp_path: Path,
    space: TemporalSpace,
    device_file: Path,
    slow_device: Path,
    supernet_file: Path,
) -> None:
    settings = nas_api.Settings(
        device=str(device_file), other_devices=(str(slow_device),), objectives=OBJECTIVES,
        budget=Budget("80%", other_latency=("70%",)), supernet=str(supernet_file), strategy="nsga2",
        trials=6, validation_clips=8, test_clips=8, finalists=2, finalist_clips=32,
        finalist_steps=0, winner_steps=0,
        energy=str(tmp_path / "energy.json"),
    )  # fmt: skip
    content = json.loads(slow_device.read_text())
    energy = {**content, "facts": {"column": "energy_mj"}}
    (tmp_path / "energy.json").write_text(json.dumps(energy))
    result = nas_api.search(tmp_path / "run", settings, workers=Workers(2))
    assert len(result.evaluated) == 6
    table = pd.read_csv(tmp_path / "run" / "trials.csv")
    names = [*OBJECTIVES, "memory_mb", "energy_mj"]
    assert set(names) < set(table.columns)
    supernet = load_supernet(supernet_file, space)
    clips = load_clips("digits", space.unet, "validation")
    quality = Quality(supernet, Validation(clips, 8))
    on = result.summary["on"]
    for network, row in zip(result.evaluated, table.to_dict("records"), strict=True):
        assert quality.loss(network.architecture) == pytest.approx(network.loss, rel=SHARE)
        assert network.values == tuple(row[name] for name in OBJECTIVES)  # noqa: PD011
        assert row["latency_ms"] <= on["made-up"]["budget_ms"]
        assert row["latency_slow-one_ms"] <= on["slow-one"]["budget_ms"]
    assert on["slow-one"]["budget_ms"] == pytest.approx(on["made-up"]["budget_ms"] * 7 / 8)
    html = (tmp_path / "run" / "report.html").read_text()
    assert "slow-one" in html
    assert "latency_slow-one_ms" in html


def test_a_supernet_goes_on_with_clips_of_its_own_kind(
    call: Call, device_file: Path, supernet_file: Path, tmp_path: Path
) -> None:
    trained = checkpoint.read(supernet_file)
    assert trained.notes.pop("made_with") == {"asked_by": "digits"}
    for name, more in (("older", {}), ("other", {"made_with": {"asked_by": "captions"}})):
        checkpoint.write(tmp_path / f"{name}.safetensors", trained.tensors, trained.notes | more)
    check_supernet(tmp_path / "older.safetensors", {"asked_by": "digits"}, "digits")
    asked = ("--supernet", "other.safetensors", "--device", str(device_file), "--out", "run")
    code, out, err = call("search", *asked)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert (
        "other.safetensors: learned from clips that are asked for by captions, not by digits; "
        in err
    )
    assert "--data digits is another" in err
    assert not (tmp_path / "run").exists()


def test_budgets_on_several_devices(device: Device, plain_costs: SpaceCosts) -> None:
    from dataclasses import replace

    costs = [BlockCosts(plain_costs, replace(device, name=name)) for name in ("one", "two")]
    roomy = resolve(Budget("60%"), *costs)
    assert roomy.targets[0].latency_ms == roomy.targets[1].latency_ms
    tight = resolve(Budget("60%", other_latency=("55%",)), *costs)
    networks = list(plain_costs.space.enumerate())[::25]
    kept = tight.problem().keeps(networks)
    assert kept.tolist() == [tight.keeps(network) for network in networks]
    assert 0 < kept.sum() < roomy.problem().keeps(networks).sum()
    with pytest.raises(InputError, match="given twice"):
        resolve(Budget("60%"), costs[0], costs[0])
    with pytest.raises(InputError, match="3 latency budgets for 2 devices"):
        resolve(Budget("60%", other_latency=("40%", "30%")), *costs)
    with pytest.raises(InputError, match="below the fastest network.* on two"):
        resolve(Budget("60%", other_latency=("1",)), *costs)


def test_finalists_see_clips_until_one_stands_out(
    space: TemporalSpace, supernet_file: Path, limits: Limits
) -> None:
    from nas.evaluators.serial import Serial
    from nas.strategies import random
    from nas.study.study import Study

    supernet = load_supernet(supernet_file, space)
    clips = load_clips("digits", space.unet, "validation")
    problem = limits.problem()
    quality = Quality(supernet, Validation(clips, 8))
    evaluated = found(Study(problem, random).run(6, Serial(quality)), problem, limits)
    seen: list[int] = []
    best_three = sorted(evaluated, key=lambda network: network.loss)[:3]
    paths = {each.architecture: supernet.path(each.architecture) for each in best_three}
    verdict = race(paths, 64, clips, seen.append)
    assert set(verdict.standings) == {network.architecture for network in best_three}
    assert seen == [verdict.clips]
    assert 3 * 32 <= verdict.clips <= 3 * 64
    racing = [name for name, standing in verdict.standings.items() if not standing.dropped]
    assert verdict.decided == (racing == [verdict.best])


def test_the_best_of_every_side_races_whatever_its_place(space: TemporalSpace) -> None:
    rng = np.random.default_rng(0)
    networks = [space.sample(rng) for _ in range(9)]
    searched = [Found(n, networks[n], 0.3 + n / 100, 1.0, ()) for n in range(5)]
    picks = [Found(n, networks[5 + n], 0.5 + n / 100, 1.0, (), "random") for n in range(3)]
    uniform = [Found(None, networks[8], 0.9, 1.0, (), "uniform")]
    chosen = entrants(2, searched, picks, uniform)
    assert chosen == [*searched[:2], picks[0], uniform[0]]
    same = replace(picks[0], architecture=networks[0], loss=0.3)
    assert entrants(2, searched, [same]) == searched[:2], "a network races once"
    better = replace(picks[0], loss=0.1)
    assert entrants(1, searched, [better]) == [better, searched[0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--objectives", "validation_loss,speed_ms"], "no objective 'speed_ms'; there are: "),
        (["--objectives", "latency_ms"], "validation_loss must be one of them"),
        (["--objectives", "validation_loss,latency_ms,latency_ms"], "named twice"),
        (["--objectives", "validation_loss,energy_mj"], "no objective 'energy_mj'"),
        (["--latency-ms", "60%", "--latency-ms", "50%"], "2 latency budgets for 1 devices"),
        (["--ray", "127.0.0.1:1"], "ray 127.0.0.1:1: no cluster there"),
        (["--timeout-s", "5"], "give --workers or --ray too"),
        (["--workers", "2", "--timeout-s", "0"], "is not positive"),
        (["--storage", "postgresql+psycopg://me:hush@127.0.0.1:1/x"], "cannot be opened"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_at_once(
    call: Call, device_file: Path, arguments: list[str], words: str
) -> None:
    code, out, err = call("search", "--out", "run", "--device", str(device_file), *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "hush" not in err
    *progress, said = err.strip().splitlines()
    assert said.startswith("nas: ")
    assert not [line for line in progress if line.startswith("nas: ")]


@pytest.mark.long
def test_energy_is_calibrated_and_kept(
    call: Call,
    tmp_path: Path,
    space: TemporalSpace,
    space_costs: SpaceCosts,
    device: Device,
    device_file: Path,
    supernet_file: Path,
) -> None:
    rng = np.random.default_rng(0)
    networks = [space.sample(rng) for _ in range(60)]
    costs = BlockCosts(space_costs, device)
    rows = [
        {**dict(n), "energy_mj": 7 * costs.network_ms(n).latency_ms + rng.normal(0, 0.01)}
        for n in networks
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "energy.csv", index=False)
    calibrated = ("calibrate", "energy.csv", "--space", "moving_digits", "--column", "energy_mj")
    code, _, err = call(*calibrated, "--out", "energy.json")
    assert code == 0, err
    energies = BlockCosts(space_costs, load_device(str(tmp_path / "energy.json")))
    assert energies.network_ms(networks[0]).latency_ms == pytest.approx(
        rows[0]["energy_mj"], rel=0.2
    )
    limit_mj = 4 * float(np.median([row["energy_mj"] for row in rows]))
    asked = (
        *("search", "--device", str(device_file), "--supernet", str(supernet_file)),
        *("--energy", "energy.json", "--objectives", "validation_loss,energy_mj", "--trials", "8"),
        *("--validation-clips", "8", "--test-clips", "8", "--finalists", "1"),
        *("--winner-steps", "0"),
    )
    code, _, err = call(*asked, "--out", "run", "--energy-mj", str(limit_mj))
    assert code == 0, err
    trials = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert (trials["energy_mj"] <= limit_mj).all()
    assert len(set(trials["energy_mj"])) > 1
    code, out, err = call(*asked, "--out", "other", "--energy-mj", "0.001")
    assert (code, out) == (2, "")
    assert "below the most frugal network" in err
    predicted = ("predict", "--device", "energy.json", "--architectures", "energy.csv", "--json")
    code, out, _ = call(*predicted, "--space", "moving_digits")
    first = json.loads(out)["predictions"][0]
    assert first["low_mj"] < first["energy_mj"] < first["high_mj"]
    for wrong in (("--device", "energy.json"), ("--energy", str(device_file))):
        code, out, err = call("search", "--out", "o", "--device", str(device_file), *wrong)
        assert (code, out) == (2, "")
        assert "was calibrated on" in err
        assert not (tmp_path / "o").exists(), "nothing is left of a run that was refused"
    code, out, err = call("search", "--device", str(device_file), "--out", "o", "--energy-mj", "9")
    assert (code, out) == (2, "")
    assert "needs a device calibrated on a column in _mj" in err
