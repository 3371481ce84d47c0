r"""How well this machine's networks are predicted, beside how well it measures them twice.

    python examples/benchmarks/this_machine.py [--unseen 50] [--calibration 24] [--seed 0] \
        [--backend onnxruntime]

Blocks and some networks are measured and calibrated on, and those networks alone; others, which
the fit never sees, are measured twice. What the machine itself strays by between two measurements
is the noise that no prediction of a single measurement can beat.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

import latency
from latency import Measurement
from latency.sources.contract import Protocol, Source
from latency.sources.visits import gather, visits
from nas.calibration import profiling
from nas.calibration.profiling import Planned
from nas.cli.sources import Backend, source_of
from nas.costs.workloads import SpaceCosts
from nas.progress import Progress
from search_spaces import Architecture, TemporalSpace, load


def measured_ms(source: Source, title: str, planned: Planned, seed: int) -> dict[str, float]:
    """The median time of each job in ms, all of them interleaved."""
    protocol = Protocol(rounds=8, runs_per_visit=4, seed=seed)
    found = []
    with Progress().stage(title, protocol.rounds * len(planned.jobs)) as advance:
        for visit in visits(source, planned.jobs, protocol, set()):
            found.append(visit)
            advance(len(found))
    return {name: each.timing.latency_ms for name, each in gather(found).items()}


def seen(
    space: TemporalSpace, networks: Sequence[Architecture], times_ms: dict[str, float]
) -> tuple[list[Measurement], list[Measurement]]:
    """All blocks, and some networks."""
    costs = SpaceCosts(space)
    blocks = [
        Measurement(costs.block_workload(row["slot"], row["option"]), times_ms[row["id"]])
        for row in profiling.plan_blocks(space, profiling.block_names(space)).rows
    ]
    return blocks, [
        Measurement(costs.workload(a), times_ms[profiling.network_id(a)]) for a in networks
    ]


def say(what: str, guess: Sequence[float], first: np.ndarray) -> None:
    """Print how far times are from those of the first measurement."""
    mape = float(np.mean(np.abs(np.array(guess) / first - 1)) * 100)
    rank = spearmanr(guess, first).statistic
    print(f"{what:33} MAPE {mape:5.1f}%  Spearman {rank:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="moving_digits")
    parser.add_argument("--calibration", type=int, default=24)
    parser.add_argument("--unseen", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", default="torch", help="as of nas profile")
    asked = parser.parse_args()
    source = source_of(Backend(asked.backend))
    space = load(asked.space)
    assert isinstance(space, TemporalSpace)
    fitted = profiling.worth_measuring(space, asked.calibration, asked.seed)
    unseen = profiling.held_out(space, fitted, asked.unseen, asked.seed)
    judged = profiling.plan_networks(space, unseen)
    # One interleaved pass, so that a machine that changes its speed changes it for all alike.
    everything = profiling.plan_blocks(space, profiling.block_names(space))
    everything += profiling.plan_networks(space, fitted) + judged
    times_ms = measured_ms(source, "blocks and networks", everything, asked.seed)
    again_ms = measured_ms(source, "unseen networks again", judged, asked.seed + 1)
    names = [profiling.network_id(a) for a in unseen]
    first, again = (np.array([each[name] for name in names]) for each in (times_ms, again_ms))
    costs = SpaceCosts(space)
    blocks, networks = seen(space, fitted, times_ms)
    print(f"{len(unseen)} unseen networks of {space.name} by {source.name}")
    for what, known in (
        (f"from blocks and {len(networks)} networks", blocks + networks),
        (f"from {len(networks)} networks alone", networks),
    ):
        device = latency.calibrate(known, "host")
        predicted = [device.predict(costs.workload(a)) for a in unseen]
        say(what, [p.latency_ms for p in predicted], first)
        inside = [p.low_ms <= ms <= p.high_ms for p, ms in zip(predicted, first, strict=True)]
        print(f"    inside the 90% bounds: {np.mean(inside):.0%}")
    say("measured again", again, first)


if __name__ == "__main__":
    main()
