"""Every strategy that is shipped passes the suite that users' own inherit."""

import pytest

from nas import strategies
from nas.testing import JointStrategyConformance, StrategyConformance

pytestmark = pytest.mark.slow


class TestCostAware(StrategyConformance, JointStrategyConformance):
    strategy = strategies.cost_aware


class TestExact(StrategyConformance, JointStrategyConformance):
    strategy = strategies.exact


class TestRandom(StrategyConformance):
    strategy = strategies.random


class TestTPE(StrategyConformance):
    strategy = strategies.tpe


class TestNSGA2(StrategyConformance):
    strategy = strategies.nsga2


@pytest.mark.long
class TestGP(StrategyConformance):
    strategy = strategies.gp
    trials = 12  # it draws the first ten at random; then each takes seconds
