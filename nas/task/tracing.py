"""The workload of one of a task's networks."""

from latency import Workload
from latency.tracing.building import trace_built
from nas.task.networks import shapes_of
from nas.task.task import Task
from search_spaces import Architecture


def traced(task: Task, architecture: Architecture) -> Workload:
    """Trace the network of an architecture, as it is built."""
    build = task.build
    assert build is not None
    return trace_built(lambda: build(architecture), shapes_of(task), str(architecture))
