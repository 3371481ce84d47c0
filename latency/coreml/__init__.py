"""Core ML packages: converted, read as workloads, split, made smaller, linted."""
