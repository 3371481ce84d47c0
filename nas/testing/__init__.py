"""Conformance suites to inherit: give your class to one, and get every check that ours pass.

They need pytest; nothing else in the toolkit imports this package.
"""

from nas.testing.joint_strategies import JointStrategyConformance
from nas.testing.operators import OperatorConformance
from nas.testing.sources import ReportConformance, SourceConformance
from nas.testing.strategies import StrategyConformance

__all__ = [
    "JointStrategyConformance",
    "OperatorConformance",
    "ReportConformance",
    "SourceConformance",
    "StrategyConformance",
]
