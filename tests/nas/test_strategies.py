"""Every strategy that is shipped passes the suite that users' own inherit."""

from nas.strategies import STRATEGIES, Strategy
from nas.testing import StrategyConformance


class TestCostAware(StrategyConformance):
    def strategy(self) -> Strategy:
        return STRATEGIES["cost-aware"]


class TestExact(StrategyConformance):
    def strategy(self) -> Strategy:
        return STRATEGIES["exact"]


class TestRandom(StrategyConformance):
    def strategy(self) -> Strategy:
        return STRATEGIES["random"]


class TestTPE(StrategyConformance):
    def strategy(self) -> Strategy:
        return STRATEGIES["tpe"]


class TestNSGA2(StrategyConformance):
    def strategy(self) -> Strategy:
        return STRATEGIES["nsga2"]


class TestGP(StrategyConformance):
    trials = 14  # seconds a trial where there are many

    def strategy(self) -> Strategy:
        return STRATEGIES["gp"]
