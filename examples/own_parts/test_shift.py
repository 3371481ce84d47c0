"""The whole conformance suite for the price of three lines."""

from examples.own_parts.shift import SHIFT
from nas.testing import OperatorConformance


class TestShift(OperatorConformance):
    operator = SHIFT
