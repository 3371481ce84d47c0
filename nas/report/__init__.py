"""Reports, pictures and the dashboard of a run."""
