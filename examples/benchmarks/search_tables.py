"""The tables that `search_peers.py` searches, by name, and the ways of judging a search.

| name | what |
|---|---|
| cifar10:DEVICE, cifar100:DEVICE | NAS-Bench-201's test error, and the latency on a device |
| macro:SEED | a macro space that is made up (`macro_space.py`), an instance by each seed |
| fbnet:DEVICE | FBNet's 5,000 measured networks and their latency on a device. The table has no quality: the error is made up, as the macro spaces' is. Only these networks exist, so that peers that propose of the whole space sit out |

The table of transformers (`hat_xeon`) has no quality, and of 2,000 latencies of numbers that vary
freely a made-up one would be the whole benchmark: it is left out.
"""  # noqa: E501

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from macro_space import macro_table, made_up_error_pct

from nas.benchmark import Benchmark, of_table
from search_spaces import InputError, Table, read_table

DATASETS = ("cifar10", "cifar100")
BUDGET = 0.4  # the quantile of latency that the winner must keep


@dataclass(frozen=True)
class Source:
    """A table, and which of its columns are quality and cost."""

    name: str
    table: Table
    error: str
    latency: str

    @property
    def family(self) -> str:
        """What its name begins with: such tables are alike."""
        return self.name.partition(":")[0]

    @property
    def file_name(self) -> str:
        return self.name.replace(":", "_")


def narrow(source: Source) -> Benchmark:
    """The box near the best quality."""
    return of_table(source.table, [source.error, source.latency], [source.latency])


def whole(source: Source) -> Benchmark:
    """The whole front, to the worst corner of the table."""
    columns = [source.error, source.latency]
    return of_table(source.table, columns, [source.latency], reference="corner")


def winner(source: Source) -> Benchmark:
    """The least error inside a hard latency budget."""
    limit = float(source.table.metric(source.latency).quantile(BUDGET))
    return of_table(source.table, [source.error], at_most={source.latency: limit})


JUDGINGS: Mapping[str, Callable[[Source], Benchmark]] = {
    "narrow": narrow,
    "whole": whole,
    "winner": winner,
}


def source_of(name: str, data: Path) -> Source | None:
    """A table by its name; None where the public file is not in `data`.

    Raises:
        InputError: there is no such table, or it has no such device.
    """
    family, _, which = name.partition(":")
    if family == "macro":
        if not which.isdecimal():
            raise InputError(f"--tables {name}: give the seed of an instance, as macro:0")
        return Source(name, _macro(int(which)), "error_pct", "latency_ms")
    if family not in {*DATASETS, "fbnet"}:
        raise InputError(
            f"--tables {name}: is none of cifar10:DEVICE, cifar100:DEVICE, fbnet:DEVICE, macro:SEED"
        )
    path = data / ("fbnet.csv.gz" if family == "fbnet" else "nb201.csv.gz")
    if not path.is_file():
        return None
    table = _fbnet(path) if family == "fbnet" else _read(path)
    error = "error_pct" if family == "fbnet" else f"{family}_error_pct"
    latency = f"{which}_latency_ms"
    if not table.has_metric(latency):
        known = (each.removesuffix("_latency_ms") for each in table.metrics if "latency" in each)
        raise InputError(f"--tables {name}: its devices are {', '.join(known)}")
    return Source(name, table, error, latency)


@cache
def _read(path: Path) -> Table:
    return read_table(path)


@cache
def _macro(seed: int) -> Table:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"macro_{seed}.csv"
        macro_table(seed).to_csv(path, index=False)
        return read_table(path)


@cache
def _fbnet(path: Path) -> Table:
    """FBNet's networks, with an error that is made up of their blocks; all devices share it."""
    table = read_table(path)
    frame = table.choices
    blocks = [choice.name for choice in table.space.choices]
    options = sorted({option for name in blocks for option in frame[name]})
    codes = np.stack([np.searchsorted(options, frame[name]) for name in blocks], axis=1)
    latency = table.metrics.rank().mean(axis=1).to_numpy()  # over the devices
    by_cost = [
        np.argsort([latency[codes[:, at] == code].mean() for code in range(len(options))]).tolist()
        for at in range(len(blocks))
    ]
    error = made_up_error_pct(codes, by_cost, np.random.default_rng(len(blocks)))
    with tempfile.TemporaryDirectory() as scratch:
        made_up = Path(scratch) / "fbnet_made_up.csv"
        frame.join(table.metrics).assign(error_pct=error).to_csv(made_up, index=False)
        return read_table(made_up)
