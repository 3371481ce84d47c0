"""Training jobs: here, on Ray's workers, and clips written to plain files."""
