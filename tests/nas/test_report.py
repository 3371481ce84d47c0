"""What a report says in words, and what a run of an earlier version goes on with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.run.run_folder import RunFolder
from nas.temporal.settings import Settings
from nas.temporal.words import drift
from search_spaces import InputError
from supernet import TrainingPlan


def row(network: str, layout: str, **measured: Any) -> dict[str, Any]:
    return {
        "network": network, "layout": layout,
        "predicted_ms": 10.0, "low_ms": 9.0, "high_ms": 11.0, "same_hour_ms": [9.5, 10.5],
        "measured_ms": None, **measured,
    }  # fmt: skip


def test_a_busier_machine_is_said_in_plain_words() -> None:
    assert drift([row("winner", "a"), row("image network", "b")], None) is None
    found_ms = {"a": 12.0, "b": 13.5, "c": 10.9, "d": 12.0}
    slower = [row(name, name, measured_ms=ms) for name, ms in found_ms.items()]
    words = drift(slower, {"ratio": 1.2, "anchors": 3})
    assert words is not None
    assert "1 of 4 are inside their 90% bounds" in words
    assert "3 networks that were measured when this machine was calibrated take 1.20 times" in words
    assert "2 of 4 are inside the bounds of the hour" in words, "12 ms were 10 then, 10.9 were 9.1"
    same = drift([row("a", "a", measured_ms=10.1), row("b", "b", measured_ms=9.9)], None)
    assert same is not None
    assert "times as long" not in same
    assert "2 of 2" in same


def test_a_run_of_an_earlier_version_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    former = Settings(
        recipe="fair",
        plan=TrainingPlan(
            image_steps=400, image_clips=8, video_steps=760, video_clips=8, optimizer="adamw",
            learning_rate=2e-3,
        ),
    )  # fmt: skip
    folder = tmp_path / "run"
    with RunFolder(folder, former, None, resume=False).opened():
        pass
    content = json.loads((folder / "run.json").read_text())
    del content["settings"]["winner_steps"]
    for name in ("optimizer", "learning_rate"):
        del content["settings"]["plan"][name]
    (folder / "run.json").write_text(json.dumps(content))
    other = RunFolder(folder, replace(Settings(), recipe="sandwich"), None, resume=True)
    refused = pytest.raises(InputError, match="was begun with recipe fair, not sandwich")
    with refused, other.opened():
        pass
    for _ in range(2):  # what is written then is what the run was begun with, too
        again = RunFolder(folder, Settings(), None, resume=True)
        with again.opened():
            assert again.settings == former
