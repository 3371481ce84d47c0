"""The lazy moving average against the plain one."""

import numpy as np
import torch
from torch import nn

from supernet.training.averaging import MovingAverage


def test_it_equals_the_plain_average_of_all_weights_at_every_pass() -> None:
    rng, passes, decay = np.random.default_rng(0), 300, 0.97
    torch.manual_seed(0)
    weights = {str(i): nn.Parameter(torch.randn(5, dtype=torch.float64)) for i in range(6)}
    start = weights["5"].detach().clone()
    plain = {name: weight.detach().clone() for name, weight in weights.items()}
    lazy = MovingAverage(decay, passes)
    age = 0
    while age < passes:
        length = int(rng.integers(1, 4))  # passes of this step
        used = {n: weights[n] for n in "01234" if rng.random() < 0.4}
        lazy.before(used, age)
        with torch.no_grad():
            for weight in used.values():
                weight.add_(torch.randn(5, dtype=torch.float64))
        lazy.after(used, age + length)
        for _ in range(min(length, passes - age)):
            keep = min(decay, (1 + age) / (10 + age))
            for name, weight in weights.items():
                plain[name].lerp_(weight.detach(), 1 - keep)
            age += 1
    assert "5" not in lazy.tensors  # never trained: it is its own average
    lazy.finish(weights, age)
    for name, weight in weights.items():
        assert torch.allclose(weight, plain[name], rtol=0, atol=1e-12), name
    assert torch.equal(weights["5"], start)
