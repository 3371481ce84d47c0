"""Measurements of workloads, and how predictions stand beside them."""
