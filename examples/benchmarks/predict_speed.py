"""How many encoded architectures a second get a latency with bounds, on one core.

python examples/benchmarks/predict_speed.py [--choices 20] [--options 7] [--count 500000]
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

import latency
from latency import EncodedPredictor, Measurement
from search_spaces import Choice, SearchSpace, encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choices", type=int, default=20)
    parser.add_argument("--options", type=int, default=7)
    parser.add_argument("--count", type=int, default=500_000)
    asked = parser.parse_args()
    options = tuple(f"op{number}" for number in range(asked.options))
    space = SearchSpace("made_up", tuple(Choice(f"s{i}", options) for i in range(asked.choices)))
    rng = np.random.default_rng(0)
    measured = [space.sample(rng) for _ in range(40)]
    cost_ms = rng.uniform(0.1, 2.0, asked.choices * asked.options)
    times_ms = 3 + encode(space, measured) @ cost_ms
    seen = [
        Measurement(latency.from_choices(str(a), list(a.items())), float(ms))
        for a, ms in zip(measured, times_ms, strict=True)
    ]
    predictor = EncodedPredictor.of_choices(latency.calibrate(seen, "made up"), space)
    picked = rng.integers(asked.options, size=(asked.count, asked.choices))
    encoded = np.eye(asked.options, dtype=np.float32)[picked].reshape(asked.count, -1)
    with threadpool_limits(1):
        rates = []
        for _ in range(5):
            begun = time.perf_counter()
            predictor.predict(encoded)
            rates.append(asked.count / (time.perf_counter() - begun))
    print(
        f"{np.median(rates) / 1e6:.2f} million architectures a second, best {max(rates) / 1e6:.2f} "
        f"({asked.choices} choices of {asked.options} options, one core, median of {len(rates)})"
    )


if __name__ == "__main__":
    main()
