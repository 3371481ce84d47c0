"""Bayesian linear regression over what networks hold, with transfer between devices."""
