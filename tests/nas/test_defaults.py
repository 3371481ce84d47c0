"""The command line's defaults are those of Python, written twice to keep `--help` quick."""

import inspect

from nas.cli.search import search
from nas.cli.train import train
from nas.temporal.settings import Settings
from supernet import TrainingPlan


def test_commands_and_python_have_the_same_defaults() -> None:
    plan, settings = TrainingPlan(), Settings()
    for command in (search, train):
        found = {name: p.default for name, p in inspect.signature(command).parameters.items()}
        for name in ("image_steps", "video_steps", "freeze_backbone", "seed"):
            assert found[name] == getattr(plan, name), f"{command.__name__}: {name}"
    found = {name: p.default for name, p in inspect.signature(search).parameters.items()}
    for name in ("strategy", "supernet", "recipe", "finalists"):
        assert found[name] == getattr(settings, name), name
    for name in ("space", "trials", "steps", "objectives"):
        assert found[name] is None, f"{name}: the task's own"
    assert (found["device"] or ["host"]) == [settings.device, *settings.other_devices]
    assert found["validation_clips"] == settings.validation_clips
    assert found["test_clips"] == settings.test_clips
    assert found["finalist_steps"] == settings.finalist_steps
    assert (found["latency_ms"] or ["60%"]) == [settings.budget.latency]
    assert found["limit_bound"] == settings.budget.bound
