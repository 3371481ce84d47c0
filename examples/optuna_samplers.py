"""Our strategies in plain Optuna studies: of one's own objective, and of a table.

python examples/optuna_samplers.py
"""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nas.benchmark import OptunaProblem, of_table
from nas.strategies import cost_aware, sampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


def own_objective() -> optuna.Study:
    """Any objective: error of a network, and its size, which is known of every network."""
    space = {
        "block": CategoricalDistribution(["conv", "attention", None]),
        "width": IntDistribution(16, 128, step=16),
        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    }

    def size(params: dict[str, object]) -> float:
        return float(params["width"]) * {"conv": 9.0, "attention": 4.0}.get(str(params["block"]), 1)

    def error_and_size(trial: optuna.Trial) -> tuple[float, float]:
        block = trial.suggest_categorical("block", ["conv", "attention", None])
        width = trial.suggest_int("width", 16, 128, step=16)
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        error = 20 / width + {"conv": 0.2, "attention": 0.3}.get(block, 0.6) + abs(rate - 3e-3)
        return error, size(trial.params)

    chosen = sampler("cost-aware", space, ["minimize", "minimize"], known={1: size}, seed=0)
    study = optuna.create_study(sampler=chosen, directions=["minimize", "minimize"])
    study.optimize(error_and_size, n_trials=30)
    return study


def table() -> optuna.Study:
    """A table as an objective, in the shape of OptunaHub's problems: for any sampler."""
    benchmark = of_table(
        "examples/tables/moving_digits.csv", ["alone0_loss", "latency_ms"], ["latency_ms"]
    )
    problem = OptunaProblem(benchmark)
    chosen = cost_aware(benchmark.problem(seed=0))  # which rows there are, and what they cost
    study = optuna.create_study(sampler=chosen, directions=problem.directions)
    study.optimize(problem, n_trials=30)
    return study


if __name__ == "__main__":
    for study in (own_objective(), table()):
        for trial in study.best_trials[:3]:
            print(trial.values, trial.params)
