"""Trained supernets that strategies are compared on: what is searched, and what winners are worth.

Each is a task of the pipeline, opened as a search of it opens it, with quality as its one
objective: samplers that know no goals understand that, too.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.costs.limits import Budget
from nas.evaluators import Evaluator
from nas.pipeline.contract import Task
from nas.problem.fidelity import doubled
from nas.problem.problem import Problem
from nas.progress import Progress
from nas.run.run_folder import RunFolder
from nas.run.settings import SearchSettings
from search_spaces import Architecture
from supernet import Validation, load_supernet
from supernet.data.loading import load_clips

VIDEO_DIT = "video_dit"
FRESH_SEED = 77  # of the noise and the clips that winners are judged on
QUALITY = ("validation_loss",)


@dataclass(frozen=True)
class Subject:
    """A search on a trained supernet.

    Args:
        problem: its networks inside a budget, one quality.
        evaluator: of the searches.
        path: a network's way through the supernet.
        validation: clips that no search saw, the same for all winners.
    """

    problem: Problem
    evaluator: Callable[[], Evaluator]
    path: Callable[[Architecture], Any]
    validation: Validation

    def losses(self, architecture: Architecture) -> np.ndarray:
        """The loss of each fresh clip, (clips,)."""
        with torch.no_grad():
            return np.asarray(self.validation.losses(self.path(architecture)))


def subject(asked: argparse.Namespace) -> Subject:
    """What the command line names: a space of temporal blocks, its twin, or the transformer."""
    return _transformer(asked) if asked.space == VIDEO_DIT else _temporal(asked)


def _temporal(asked: argparse.Namespace) -> Subject:
    from nas.temporal.settings import Settings
    from nas.temporal.task import TemporalTask
    from search_spaces.shipped.loading import load_temporal, load_twin

    settings = Settings(
        space=asked.space,
        device=asked.device,
        objectives=QUALITY,
        budget=Budget(latency=asked.latency_ms),
        supernet=str(asked.supernet),
        screening_clips=asked.screening_clips,
        validation_clips=asked.validation_clips,
        trials=asked.trials,
    )
    space = load_temporal(settings.space)
    learned = load_twin(space, settings.learned_space) if settings.learned_space else space
    supernet = load_supernet(asked.supernet, learned)
    clips = load_clips(settings.plan.data, learned.unet, "validation")
    validation = Validation(clips, asked.judged_clips, FRESH_SEED)
    return Subject(*_opened(TemporalTask(), settings), supernet.path, validation)


def _transformer(asked: argparse.Namespace) -> Subject:
    from examples.video_dit.run import task
    from examples.video_dit.space import CLIPS
    from examples.video_dit.training import trained
    from nas.task.open_task import NetworkTask

    supernet = trained(asked.supernet.parent).eval()
    fidelity = {}
    if asked.screening_clips:
        fidelity = {"clips": doubled(asked.screening_clips, asked.validation_clips)}
    made = task(supernet).asked_for(objectives=QUALITY, fidelity=fidelity)
    budget = replace(made.settings.budget, latency=asked.latency_ms)
    settings = replace(made.settings, device=asked.device, budget=budget, trials=asked.trials)
    clips = load_clips("digits", CLIPS, "validation")
    validation = Validation(clips, asked.judged_clips, FRESH_SEED)
    return Subject(*_opened(NetworkTask(made), settings), supernet.path, validation)


def _opened(task: Task, settings: SearchSettings) -> tuple[Problem, Callable[[], Evaluator]]:
    """A task's problem and what evaluates it; nothing of its run is kept."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder), settings, None, resume=False, only_read=True)
        opened = task.opened(run, Progress())
        problem = opened.problem(opened.limits())
    opened.prepare()
    return problem, lambda: opened.evaluator(None)
