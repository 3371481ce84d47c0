"""Searches of other projects, each as its documentation sets it up; the same on every table.

| peer | what | what it knows beforehand |
|---|---|---|
| pymoo-nsga2 | NSGA-II on the options' places as integers; of one objective its genetic algorithm | budgets |
| pymoo-choices | rank and crowding over nominal choices (`MixedVariableGA`) | budgets |
| botorch-qlognehvi | a Gaussian process an objective, qLogNEHVI (of one objective qLogNEI), batches of 5 | budgets |
| botorch-ehvi | a Gaussian process of the error, exact expected hypervolume improvement (of one objective expected improvement) over all networks, batches of 5; the reference point is inferred from the front | budgets and latency |
| botorch-ehvi-wide | the same to the worst that was seen, as whoever wants the whole front sets it | latency |
| smac | SMAC3's random forest, ParEGO over the objectives | budgets |

Only different networks count, and one that is proposed again is answered from memory. What passes a
budget is known to, and costs no evaluation. Of the strategies of `nas.strategies`, `tpe`, `nsga2`
and `gp` are Optuna's samplers: their studies keep budgets, and find out latency as they do errors.
"""  # noqa: E501

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from nas.benchmark import by_study
from nas.benchmark.tabular import Evaluate
from nas.problem.problem import Problem
from search_spaces import Architecture

Search = Callable[[Problem, int, Evaluate], Sequence[Architecture]]


@dataclass(frozen=True)
class Peer:
    """Where a peer's search stands.

    Args:
        package: what it needs.
        search: module:function of this folder, imported when it runs.
        of_rows: whether it can search where only a table's rows exist, and not all of a space.
        trades: whether it is another's search where there is one objective.
    """

    package: str
    search: str
    of_rows: bool = False
    trades: bool = False

    def why_not(self, problem: Problem) -> str | None:
        """Why it does not search a problem; None where it does."""
        if self.trades and len(problem.objectives) == 1:
            return "is another's search where there is one objective"
        if not self.of_rows and problem.listed is not None:
            return "searches whole spaces, and this is none"
        return None

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None

    def load(self) -> Search:
        module, _, name = self.search.partition(":")
        found: Search = getattr(import_module(f"peers.{module}"), name)
        return found


PEERS = {
    "pymoo-nsga2": Peer("pymoo", "pymoo_evolution:integers"),
    "pymoo-choices": Peer("pymoo", "pymoo_evolution:choices"),
    "botorch-qlognehvi": Peer("botorch", "botorch_noisy:search", of_rows=True),
    "botorch-ehvi": Peer("botorch", "botorch_exact:inferred", of_rows=True),
    "botorch-ehvi-wide": Peer("botorch", "botorch_exact:widest", of_rows=True, trades=True),
    "smac": Peer("smac", "smac_forest:search"),
}


def search(name: str, problem: Problem, trials: int, evaluate: Evaluate) -> Sequence[Architecture]:
    """Run a peer, or a sampler of Optuna's, by its name."""
    found = PEERS[name].load() if name in PEERS else partial(by_study, name)
    return found(problem, trials, evaluate)
