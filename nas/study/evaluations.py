"""What a study has evaluated: how networks stand by now, and what was spent on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from nas.evaluators import Outcome, Span
from nas.problem.fidelity import Fidelity
from nas.problem.problem import Problem
from nas.study.ask_tell import Values
from nas.study.race import Foresee, Look, Race
from search_spaces import Architecture


@dataclass(frozen=True)
class Evaluated:
    """A trial that has values.

    Args:
        trial: its number.
        architecture: that was evaluated.
        values: of the problem's objectives, in their order; of a network that was not seen fully,
            as a full look should find them.
        count: on how much of what the fidelity counts it was seen.
        samples: of the first unknown objective, one number a sample; empty where they are not told.
        looked: the unknown objectives as the last look found them, where there is a fidelity.
    """

    trial: int
    architecture: Architecture
    values: Values
    count: int = 1
    samples: Values = ()
    looked: Values = ()


class Evaluations:
    """All that was found so far.

    Args:
        problem: that is searched.
        fidelity: of the looks.
        foresee: what the strategy expects of full looks.

    Attributes:
        race: of the networks.
        spent: of what the fidelity counts.
    """

    def __init__(self, problem: Problem, fidelity: Fidelity, foresee: Foresee) -> None:
        self.race = Race(problem, fidelity, foresee)
        self.spent = 0
        self._problem = problem
        self._fidelity = fidelity
        self._first: dict[Architecture, Evaluated] = {}  # by the first look

    def __len__(self) -> int:
        return len(self._first)

    def add_first(self, trial: int, architecture: Architecture, values: Values, look: Look) -> None:
        """Take in the first look at a network."""
        count = self._fidelity.levels[0]
        self._first[architecture] = Evaluated(trial, architecture, values, count)
        self.add(architecture, look)

    def charge(self, level: int, times: int = 1) -> None:
        """Count what looks cost that came to nothing."""
        self.spent += times * self._fidelity.cost(level)

    def add(self, architecture: Architecture, look: Look) -> None:
        """Take in a look."""
        self.race.add(architecture, look)
        self.spent += self._fidelity.cost(look.level)

    def trial(self, architecture: Architecture) -> int:
        """The number of a network's trial."""
        return self._first[architecture].trial

    def joined(self, architecture: Architecture, level: int, outcome: Outcome) -> Look:
        """What was found, with what the looks before it found where they add up."""
        before = self.race.looks(architecture)
        if not (self._fidelity.adds_up and outcome.samples and before):
            return Look(level, outcome.values, outcome.samples)
        samples = (*before[-1].samples, *outcome.samples)
        return Look(level, (fmean(samples),), samples)

    def finished(self) -> list[Evaluated]:
        """Every network as it stands, in the order of the trials."""
        found = sorted(self._first.values(), key=lambda each: each.trial)
        return [self.standing(each.architecture) for each in found]

    def standing(self, architecture: Architecture) -> Evaluated:
        """A network with what is known of it by now."""
        first = self._first[architecture]
        if not self._fidelity.top:
            return first
        found = iter(self.race.values(architecture))
        known = self._problem.is_known.tolist()
        values = tuple(v if k else next(found) for v, k in zip(first.values, known, strict=True))
        closest = self.race.looks(architecture)[-1]
        count = self._fidelity.levels[closest.level]
        return Evaluated(first.trial, architecture, values, count, closest.samples, closest.values)

    def answers(self) -> Iterator[tuple[Architecture, Span | None, Outcome]]:
        """All that was found, as an evaluator would say it again."""
        for architecture, look in self.race.every():
            if self._problem.fidelity is None:
                yield architecture, None, Outcome(0, look.values)
                continue
            begin, end = span = self._fidelity.span(look.level)
            samples = look.samples[begin:end]
            values = (fmean(samples),) if self._fidelity.adds_up and samples else look.values
            yield architecture, span, Outcome(0, values, samples=samples)
