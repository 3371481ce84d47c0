"""The workload of one of a task's networks."""

from functools import partial

from latency import Workload
from nas.costs.traces import Traces
from nas.problem.errors import in_a_line
from nas.task.task import Task
from search_spaces import Architecture, InputError


def traced(task: Task, architecture: Architecture) -> Workload:
    """The workload of an architecture's network: as the task says it, else traced as it is built.

    Raises:
        InputError: it cannot be built, or does not run on such inputs; or no workload came back.
    """
    if task.workload is not None:
        try:
            found = task.workload(architecture)
        except Exception as error:  # whatever somebody's code raises
            raise InputError(f"workload of {architecture} raised {in_a_line(error)}") from error
        if not isinstance(found, Workload):
            raise InputError(f"workload returned a {type(found).__name__}, no latency.Workload")
        return found
    from latency.tracing.building import trace_built  # which loads torch
    from nas.task.networks import shapes_of

    build = task.build
    assert build is not None
    return trace_built(lambda: build(architecture), shapes_of(task), str(architecture))


def traces_of(task: Task, seed: int = 0) -> Traces | None:
    """The workloads of a task's networks; None where it neither says nor builds them."""
    if task.workload is None and task.build is None:
        return None
    if task.workload is None:
        from nas.task.networks import shapes_of

        shapes_of(task)  # what cannot be read is no network's fault
    return Traces(task.space, partial(traced, task), seed)
