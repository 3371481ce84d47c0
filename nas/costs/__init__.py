"""Costs of all architectures, and the budgets that they must keep."""
