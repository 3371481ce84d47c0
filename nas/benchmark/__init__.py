"""Benchmarks of strategies on tables, where the true front is known.

`of_table` makes one, `compared` runs strategies on it, `summary` says how they did.
"""

from nas.benchmark.optuna_problem import OptunaProblem
from nas.benchmark.reading import of_table
from nas.benchmark.results import Run
from nas.benchmark.run import Search, by_study, compared
from nas.benchmark.statistics import Summary, judged, summary
from nas.benchmark.tabular import Benchmark

__all__ = [
    "Benchmark",
    "OptunaProblem",
    "Run",
    "Search",
    "Summary",
    "by_study",
    "compared",
    "judged",
    "of_table",
    "summary",
]
