"""Macro search spaces that are made up: 8 layers of 3 options, 6,561 networks, one by each seed.

Layers add up to a network's quality with returns that diminish, as depth and width do: the error
falls exponentially in the summed gains of the layers' options, of which some suit their neighbours
and some do not. Latency is a sum of layers, with a spread as measurements have it. In a layer more
latency gains more, but how much is another draw, so that a front has to be found. Nobody tunes on
one instance: figures are of several seeds.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
LAYERS = 8
OPTIONS = ("skip", "narrow", "wide")
BEST_PCT, WORST_PCT = 6.0, 40.0  # errors with all gains and with none
RETURNS = 3.0  # how often the error falls by e between no gain and the mean layers' largest gains
NEIGHBOURS = 0.3  # deviation of what a pair of neighbours adds, in mean gains of a layer
SEED_NOISE_PCT = 0.1  # two trainings of one network differ so
LATENCY_SPREAD = 0.02


def macro_table(seed: int) -> pd.DataFrame:
    """All networks of one instance: layer0 to layer7, error_pct, latency_ms."""
    rng = np.random.default_rng([seed, LAYERS])
    codes = np.array(list(itertools.product(range(len(OPTIONS)), repeat=LAYERS)))
    costs = np.sort(rng.lognormal(0.0, 0.6, (LAYERS, len(OPTIONS))), axis=1)
    costs[:, 0] *= 0.1  # to skip a layer is not quite free
    table = pd.DataFrame(
        {f"layer{place}": np.array(OPTIONS)[codes[:, place]] for place in range(LAYERS)}
    )
    table["error_pct"] = made_up_error_pct(codes, [range(len(OPTIONS))] * LAYERS, rng)
    latency_ms = 2.0 + costs[np.arange(LAYERS), codes].sum(axis=1)
    spread = np.exp(rng.normal(0.0, LATENCY_SPREAD, len(codes)))
    table["latency_ms"] = np.round(latency_ms * spread, 4)
    return table


def made_up_error_pct(
    codes: Codes, by_cost: Sequence[Sequence[int]], rng: np.random.Generator
) -> Vector:
    """The error of networks of layers, (n,).

    Args:
        codes: the option of each layer, (n, layers).
        by_cost: the options of each layer, the cheapest first: what costs more gains more.
        rng: draws the instance.
    """
    layers = len(by_cost)
    weight = rng.lognormal(0.0, 0.5, layers)  # some layers matter more
    gains, largest = np.zeros(len(codes)), 0.0
    for place, options in enumerate(by_cost):
        sorted_gains = np.sort(rng.uniform(0.0, 1.0, len(options)))
        gain = np.empty(len(options))
        gain[list(options)] = weight[place] * (sorted_gains - sorted_gains[0])
        gains += gain[codes[:, place]]
        largest += gain.max()
    for place in range(layers - 1):
        shape = (len(by_cost[place]), len(by_cost[place + 1]))
        pairs = rng.normal(0.0, NEIGHBOURS * largest / layers, shape)
        gains += pairs[codes[:, place], codes[:, place + 1]]
    error = BEST_PCT + (WORST_PCT - BEST_PCT) * np.exp(-RETURNS * gains / largest)
    noise = rng.normal(0.0, SEED_NOISE_PCT, len(codes))
    return np.round(np.clip(error + noise, 0.0, 95.0), 3)
