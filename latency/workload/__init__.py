"""Workloads: what running a network costs on any device."""
