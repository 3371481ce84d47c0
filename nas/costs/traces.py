"""Networks of a space traced as they are built, and a fit of what was traced for all the others.

A trace takes a fraction of a second, too long for the thousands of networks that a strategy looks
at: a fit over pairs of options proposes, and what is proposed is traced before it is evaluated.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from latency import Workload
from nas.costs.contract import Vector
from search_spaces import Architecture, InputError, SearchSpace, encode
from search_spaces.space.integer_encoding import IntegerEncoder

FIRST = 64  # networks that are traced to begin with; all of a smaller space
DRAWS = 16  # times as many are drawn for so many different ones
MOST_FAILED = 0.5  # of the first: beyond that it is the function that fails
STRENGTHS = tuple(10.0**power for power in range(-6, 3))  # of the fit's regularisation
FOLDS = 5
TINY = 1e-12  # what has no logarithm counts as so much
Measure = Callable[[Workload], float]


class Traces:
    """The workloads of a space's networks, each traced once.

    Args:
        space: the architectures.
        trace: the workload of an architecture; InputError says why there is none.
        seed: of the networks that are traced to begin with.
    """

    def __init__(
        self, space: SearchSpace, trace: Callable[[Architecture], Workload], seed: int = 0
    ) -> None:
        self.space = space
        self.failed: dict[Architecture, str] = {}
        self._trace = trace
        self._seed = seed
        self._known: dict[Architecture, Workload] = {}

    def workload(self, architecture: Architecture) -> Workload:
        """The workload of one network, traced now or before.

        Raises:
            InputError: it cannot be built, or does not run on such inputs.
        """
        if architecture in self.failed:
            raise InputError(self.failed[architecture])
        if architecture not in self._known:
            try:
                self._known[architecture] = self._trace(architecture)
            except InputError as error:
                self.failed[architecture] = str(error)
                raise
        return self._known[architecture]

    def settle(self, architecture: Architecture) -> bool:
        """Trace a network that is to be judged; whether it can be built."""
        try:
            self.workload(architecture)
        except InputError:
            return False
        return True

    @cached_property
    def first(self) -> list[Architecture]:
        """What is traced to begin with: all of a small space, else random networks."""
        if self.space.size <= FIRST:
            return list(self.space.enumerate())
        coder = IntegerEncoder(self.space)
        drawn = coder.sample(DRAWS * FIRST, np.random.default_rng((self._seed, 2)))
        return list(dict.fromkeys(coder.architectures(drawn)))[:FIRST]

    def begin(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Trace what is needed to fit the others; `advance` is told after each of `first`.

        Raises:
            InputError: most of them cannot be built.
        """
        for done, architecture in enumerate(self.first, 1):
            self.settle(architecture)
            advance(done)
            tried = self.first[:done]
            failed = [each for each in tried if each in self.failed]
            if len(failed) > max(2, MOST_FAILED * len(self.first)) or len(failed) == len(
                self.first
            ):
                raise InputError(
                    f"{len(failed)} of {done} networks cannot be built; the last: "
                    f"{self.failed[failed[-1]]}"
                )

    def known(self, architectures: Sequence[Architecture]) -> list[Workload | None]:
        """The workloads of those that were traced."""
        return [self._known.get(each) for each in architectures]

    @property
    def fitted(self) -> list[Architecture]:
        """Those of the first that could be built."""
        return [each for each in self.first if each not in self.failed]


class Fitted:
    """A number that a workload has, of any network: as traced, else by a fit over pairs of options.

    Args:
        traces: begun.
        measure: the number, above 0.
    """

    def __init__(self, traces: Traces, measure: Measure) -> None:
        self._traces = traces
        self._measure = measure
        self._exact: dict[Architecture, float] = {}

    def __call__(self, architectures: Sequence[Architecture]) -> Vector:
        """(n,)."""
        found = np.full(len(architectures), np.nan)
        for place, workload in enumerate(self._traces.known(architectures)):
            if workload is not None:
                found[place] = self.exact(architectures[place])
        missing = np.flatnonzero(np.isnan(found)).tolist()
        if missing:
            found[missing] = self._guessed([architectures[place] for place in missing])
        return found

    def exact(self, architecture: Architecture) -> float:
        """Of one network, which is traced."""
        if architecture not in self._exact:
            self._exact[architecture] = float(self._measure(self._traces.workload(architecture)))
        return self._exact[architecture]

    @cached_property
    def error_pct(self) -> float:
        """The mean error of the fit on networks that it was not fitted to, in %."""
        if self._traces.space.size <= FIRST:
            return 0.0
        return self._fit[2]

    def _guessed(self, architectures: Sequence[Architecture]) -> Vector:
        ridge, mean, _ = self._fit
        logarithms = ridge.predict(encode(self._traces.space, architectures)) + mean
        return np.asarray(np.exp(logarithms))

    @cached_property
    def _fit(self) -> tuple[Any, float, float]:
        """A ridge over pairs of options (a polynomial kernel), its mean, and its error in %."""
        from sklearn.kernel_ridge import KernelRidge
        from sklearn.model_selection import GridSearchCV, cross_val_predict

        networks = self._traces.fitted
        columns = encode(self._traces.space, networks)
        logarithms = np.log([max(self.exact(each), TINY) for each in networks])
        mean = float(logarithms.mean())  # a kernel ridge has no intercept
        folds = min(FOLDS, len(networks))
        grid = {"alpha": STRENGTHS, "degree": [1, 2]}
        search = GridSearchCV(
            KernelRidge(kernel="poly", gamma=1.0), grid, cv=folds, scoring="neg_mean_absolute_error"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # networks that no option tells apart: least squares do
            ridge = search.fit(columns, logarithms - mean).best_estimator_
            left_out = cross_val_predict(ridge, columns, logarithms - mean, cv=folds)
        error_pct = float(np.mean(np.abs(np.expm1(left_out + mean - logarithms))) * 100)
        return ridge, mean, error_pct
