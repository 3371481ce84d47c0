"""Exponential moving average (EMA) of weights, updated lazily: only what a step has changed."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class MovingAverage:
    """An exponential moving average that touches only the weights that a step trains.

    The plain average of a weight p that does not change moves by a' = k a + (1 - k) p at every
    pass, so after n passes it stands at p + (a - p) k_1 ... k_n: a weight that was left alone is
    brought up to date in one go before it changes. A weight that never changed has no average of
    its own; it is its average. Age counts passes, so that recipes whose steps take several passes
    average over as long a stretch of training as others.
    """

    decay: float
    passes: int  # of the whole training
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ages: dict[str, int] = field(default_factory=dict)  # when each was last up to date

    @torch.no_grad()
    def before(self, trained: dict[str, nn.Parameter], age: int) -> None:
        """Catch up: bring the averages of weights to `age`, at which they are about to change."""
        for name, parameter in trained.items():
            if name not in self.tensors:
                self.tensors[name] = parameter.detach().clone()
            elif self.ages[name] < age:
                self.tensors[name].lerp_(parameter, 1 - self._kept(self.ages[name], age))
            self.ages[name] = age

    @torch.no_grad()
    def after(self, trained: dict[str, nn.Parameter], age: int) -> None:
        """Update the averages by the changed weights; the step that changed them ends at `age`."""
        if not trained:
            return
        first = next(iter(trained))
        means = [self.tensors[name] for name in trained]
        torch._foreach_lerp_(means, list(trained.values()), 1 - self._kept(self.ages[first], age))
        self.ages.update(dict.fromkeys(trained, age))

    @torch.no_grad()
    def finish(self, trained: dict[str, nn.Parameter], age: int) -> None:
        """Put the averages at `age` in the place of the weights."""
        averaged = {name: p for name, p in trained.items() if name in self.tensors}
        self.before(averaged, age)
        for name, parameter in averaged.items():
            parameter.copy_(self.tensors[name])

    def _kept(self, start: int, stop: int) -> float:
        """The product of the decays from `start` to `stop`."""
        # The last step may end a few passes after the training's last.
        begun, ended = (min(age, self.passes) for age in (start, stop))
        return math.exp(self._logs[ended] - self._logs[begun])

    @cached_property
    def _logs(self) -> list[float]:
        """Cumulative log decay at every age, with warm-up."""
        passes = np.arange(self.passes)
        # A young average would remember the start for long: open it over the first passes.
        kept = np.minimum(self.decay, (1 + passes) / (10 + passes))
        logs: list[float] = np.cumsum(np.log(kept)).tolist()
        return [0.0, *logs]
