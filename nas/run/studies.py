"""The studies of a run, as they are named in its storage."""

FORMAT = "temporal-nas/run"  # of run.json, which says the run's name
MAJOR = 1
STUDIES = ("search", "random")  # what the strategy found, and the random picks beside it


def study_name(run_name: str, study: str) -> str:
    """Of one of `STUDIES`; storages may be shared, so it begins with the run's own name."""
    return f"{run_name}: {study}"
