"""What every measurement source must do: those that time modules, and those that read reports.

class TestMyBoard(SourceConformance):
    def source(self) -> Source:
        return MyBoard()
"""

import getpass
import math
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from latency.measurement.anonymous import IDENTIFIER
from latency.sources.contract import Inputs, Job, Protocol, Source, state_of
from latency.sources.journal import Journal
from latency.sources.visits import Visit, gather, visits
from nas.tables import write_rows
from search_spaces import read_table
from search_spaces.tables.columns import RESERVED

FACTS = {"device", "soc", "compute_unit", "os", "precision"}


class Convolutions(nn.Module):
    """Keeps the shape; its arguments are those of a temporal block."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(layers))
        )

    def forward(self, x_NCHW: Tensor, context_BLC: Tensor) -> Tensor:
        """Shape kept."""
        out: Tensor = self.layers(x_NCHW) + context_BLC.mean()
        return out


def job(channels: int, size: int, layers: int = 1, repeats: int = 1) -> Job:
    """A job of convolutions over two images."""

    def build() -> tuple[nn.Module, Inputs]:
        inputs = torch.randn(2, channels, size, size), torch.randn(1, 2, 4)
        return Convolutions(channels, layers), inputs

    return Job(build, repeats)


class SourceConformance:
    """Inherit, and let `source` return one; every check that ours pass runs on yours."""

    protocol: ClassVar[Protocol] = Protocol(rounds=3, runs_per_visit=3, warmup_s=0.01)

    def source(self) -> Source:
        """The source to check."""
        raise NotImplementedError

    def test_says_how_it_measures(self) -> None:
        source = self.source()
        assert source.name
        assert source.chains
        assert all(length >= 1 for length in source.chains)
        assert source.protocol.rounds >= 1
        assert source.protocol.runs_per_visit >= 1

    def test_facts_are_reserved_columns_and_name_no_specimen(self) -> None:
        facts = self.source().facts()
        assert facts.keys() <= FACTS, f"no reserved columns: {facts.keys() - FACTS}"
        assert facts.get("device"), "a row must say which device it is of"
        assert facts == self.source().facts(), "a resumed measurement must find the same facts"
        assert all(isinstance(value, str) for value in facts.values())
        check_names_nobody(facts)

    def test_what_it_tells_of_the_moment_names_nobody(self) -> None:
        state = state_of(self.source())
        assert all(isinstance(value, (str, float)) for value in state.values())
        check_names_nobody({name: str(value) for name, value in state.items()})

    def test_visits_every_job_once_in_every_round(self) -> None:
        found = self._visits({"small": job(4, 8), "large": job(8, 8)})
        wanted = {(name, number) for name in ("small", "large") for number in range(3)}
        assert sorted(visit.key for visit in found) == sorted(wanted)
        for visit in found:
            assert len(visit.samples_ms) == self.protocol.runs_per_visit
            assert all(math.isfinite(sample) and sample > 0 for sample in visit.samples_ms)

    def test_a_much_larger_module_takes_longer(self) -> None:
        least_ms = self._least_ms({"small": job(4, 8), "large": job(64, 16, layers=4)})
        assert least_ms["small"] < least_ms["large"]

    def test_a_chain_takes_longer_than_its_block(self) -> None:
        least_ms = self._least_ms({"one": job(32, 32), "chain": job(32, 32, repeats=12)})
        assert least_ms["one"] < least_ms["chain"]

    def test_spread_is_around_the_median(self) -> None:
        timing = gather(self._visits({"one": job(4, 8)}))["one"].timing
        assert timing.p10_ms <= timing.latency_ms <= timing.p90_ms
        assert timing.samples == self.protocol.rounds * self.protocol.runs_per_visit
        assert timing.std_ms >= 0

    def test_goes_on_where_it_was_interrupted(self, tmp_path: Path) -> None:
        jobs = {"small": job(4, 8), "large": job(8, 8)}
        with Journal(tmp_path / "journal", {}) as journal:
            running = visits(self.source(), jobs, self.protocol)
            for _ in range(3):
                journal.append(next(running))
            running.close()
        with Journal(tmp_path / "journal", {}) as journal:
            assert len(journal.visits) == 3
            rest = list(visits(self.source(), jobs, self.protocol, journal.done))
            whole = [*journal.visits, *rest]
        assert len({visit.key for visit in whole}) == len(whole) == 6
        order = [visit.key for visit in self._visits(jobs)]
        assert [visit.key for visit in whole] == order, "the order follows from the seed"

    def test_other_seeds_visit_in_another_order(self) -> None:
        jobs = {str(n): job(4, 8) for n in range(8)}
        protocol = replace(self.protocol, rounds=1, runs_per_visit=1)
        orders = {
            tuple(v.job for v in visits(self.source(), jobs, replace(protocol, seed=seed)))
            for seed in range(3)
        }
        assert len(orders) > 1

    def test_rows_make_a_table(self) -> None:
        source = self.source()
        found = gather(self._visits({"one": job(4, 8)}))["one"]
        columns = {**source.facts(), "source": source.name, "notes": found.notes}
        check_rows([{"choice": "a", **found.timing.columns(), **columns}])

    def _visits(self, jobs: Mapping[str, Job]) -> list[Visit]:
        return list(visits(self.source(), jobs, self.protocol))

    def _least_ms(self, jobs: Mapping[str, Job]) -> dict[str, float]:
        """The quickest run of each: what else a busy machine does only ever adds."""
        found = self._visits(jobs)
        return {name: min(min(v.samples_ms) for v in found if v.job == name) for name in jobs}


class ReportConformance:
    """For sources that read what was measured elsewhere: let `rows` return what one reads."""

    measured: ClassVar[bool] = True  # False: holds shares and counts, and no latency

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of an example."""
        raise NotImplementedError

    def test_rows_make_a_table(self) -> None:
        check_rows(self.rows(), measured=self.measured)

    def test_reading_twice_gives_the_same(self) -> None:
        assert list(self.rows()) == list(self.rows())


def check_rows(rows: Sequence[Mapping[str, Any]], *, measured: bool = True) -> None:
    """Assert that rows make a table that every command reads, and name no one specimen."""
    assert rows
    with tempfile.TemporaryDirectory() as folder:
        for name in ("table.csv", "table.csv.gz", "table.parquet"):
            path = Path(folder) / name
            write_rows(path, rows)
            table = read_table(path)
            assert len(table.metrics) == len(rows)
    assert "source" in table.reserved, "a row must say where it comes from"
    for row in rows:
        check_names_nobody({k: str(v) for k, v in row.items() if k in RESERVED})
    if not measured:
        assert "latency_ms" not in table.metrics, "an estimate must not look like a measurement"
        return
    latency_ms = table.metric("latency_ms")
    assert (latency_ms > 0).all()
    if {"p10_ms", "p90_ms"} <= set(table.reserved):
        low, high = table.reserved["p10_ms"].astype(float), table.reserved["p90_ms"].astype(float)
        assert ((low <= latency_ms * (1 + 1e-9)) & (latency_ms <= high * (1 + 1e-9))).all()


def check_names_nobody(columns: Mapping[str, str]) -> None:
    """Assert that no cell holds an identifier, or the name of this machine or of its user."""
    own = {platform.node(), getpass.getuser()} - {"", "localhost", "root", "host"}
    for name, text in columns.items():
        assert not IDENTIFIER.search(text), f"{name} holds an identifier: {text!r}"
        words = set(re.split(r"[\s,;=/]+", text))
        assert not own & words, f"{name} names this machine or its user: {text!r}"
