"""Networks of a task to be measured."""

from collections.abc import Sequence
from functools import partial

from latency.sources.contract import Job
from nas.calibration.profiling import Planned, network_id
from nas.calibration.profiling import plan_networks as plan_rows
from nas.task.networks import measured_as
from nas.task.task import Task
from search_spaces import Architecture


def plan_networks(task: Task, architectures: Sequence[Architecture]) -> Planned:
    """Whole networks as the task builds them."""
    rows = plan_rows(task.space, architectures).rows
    jobs = {network_id(each): Job(partial(measured_as, task, each)) for each in architectures}
    return Planned(jobs, rows)
