"""A table of a million networks is searched like any other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nas.benchmark import of_table
from nas.evaluators.serial import Serial
from nas.strategies import load_strategy
from nas.study.study import Study


@pytest.mark.long
def test_a_million_rows_are_searched(tmp_path: Path) -> None:
    rng, count = np.random.default_rng(0), 10**6
    rows = np.sort(rng.permutation(count)[: count - 1000])  # not all of the space: they are listed
    digits = (rows[:, None] // 10 ** np.arange(6)) % 10
    worth = (digits * rng.random(6)).sum(axis=1)
    frame = pd.DataFrame(digits, columns=[f"digit{place}" for place in range(6)]).astype(str)
    frame["error_pct"] = (40 - worth + rng.normal(0, 0.3, len(rows))).round(4)
    frame["latency_ms"] = (1 + worth + rng.random(len(rows))).round(4)
    frame.to_csv(tmp_path / "table.csv", index=False)
    benchmark = of_table(tmp_path / "table.csv", ["error_pct", "latency_ms"], ["latency_ms"])
    problem = benchmark.problem(seed=0)
    assert problem.listed is not None
    assert len(problem.listed) == len(rows)
    shares = {}
    for name in ("cost-aware", "random"):
        evaluated = Study(problem, load_strategy(name)).run(40, Serial(benchmark.evaluate))
        assert len({each.architecture for each in evaluated}) == 40
        found = np.array([each.values for each in evaluated])  # noqa: PD011
        shares[name] = benchmark.shares(found)[-1]
    assert shares["random"] < shares["cost-aware"] <= 1
