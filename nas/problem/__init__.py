"""The multi-objective problem that strategies are told, Pareto fronts and hypervolume."""
