"""Torch modules traced into workloads, without memory, and kept."""
