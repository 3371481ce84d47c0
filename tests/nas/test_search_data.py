"""A search on a folder of videos of one's own, judged by a metric of one's own."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from torch import Tensor

import nas as nas_api
from search_spaces import InputError, UNetShape
from search_spaces.unet.temporal import CONV1D, NONE, temporal_space
from supernet import TrainingPlan
from supernet.data.video_folder import SkippedVideoWarning

pytestmark = pytest.mark.slow
VIDEO = temporal_space("rgb", UNetShape(3, (8, 8), 4, 8, 8, 1, 4), (NONE, CONV1D))


def brightness(generated_BCTHW: Tensor, _: Tensor) -> Tensor:
    return generated_BCTHW.flatten(1).mean(1)


def words(*_: Tensor) -> str:
    return "looks good"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        picture = rng.integers(0, 255, (16, 24, 3), np.uint8)
        with av.open(str(folder / f"{number}.mkv"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 16, 24, "yuv420p"
            for frame in range(60):
                moved = np.roll(picture, frame, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


def settings(films: Path, metric: str = "brightness") -> nas_api.Settings:
    return nas_api.Settings(
        space=f"{__name__}:VIDEO", device="iphone-15-pro", trials=2, validation_clips=4,
        test_clips=4, finalist_steps=0, winner_steps=2, metrics=(f"{__name__}:{metric}",),
        budget=nas_api.Budget("99%"),
        plan=TrainingPlan(
            image_steps=2, image_clips=1, video_steps=2, video_clips=1, data=str(films)
        ),
    )  # fmt: skip


@pytest.mark.long
def test_a_search_on_videos(tmp_path: Path, films: Path) -> None:
    (films / "broken.mp4").write_text("no video")
    with pytest.warns(SkippedVideoWarning, match=r"broken\.mp4: cannot be read as video"):
        result = nas_api.search(tmp_path / "run", settings(films))
    for row in result.summary["compared"]:
        played = row["playback"]
        assert list(played) == ["motion", "flicker", f"{__name__}:brightness"]
        assert played["motion"]["value"] > 0
        assert all(found["error"] >= 0 for found in played.values())
        assert row["test_loss_error"] > 0
    html = (tmp_path / "run" / "report.html").read_text()
    assert "4 clips (films)" in html
    assert "How its clips move" in html
    assert "brightness" in html
    manifest = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text())
    assert str(tmp_path) not in json.dumps(manifest)
    assert '"films"' in json.dumps(manifest)


def test_bad_data_and_metrics_are_refused_before_training(tmp_path: Path, films: Path) -> None:
    with pytest.raises(InputError, match="nowhere.*no such folder of videos"):
        nas_api.search(tmp_path / "run", settings(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="metric .*words.*returned str; wanted one number a clip"):
        nas_api.search(tmp_path / "run", settings(films, "words"))
    assert not list(tmp_path.glob("run/*.safetensors"))


def test_more_clips_than_the_data_has_are_refused(tmp_path: Path, films: Path) -> None:
    with pytest.raises(InputError, match=r"validation_clips=500.*has \d+ different clips"):
        nas_api.search(tmp_path / "run", replace(settings(films), validation_clips=500))
    assert not (tmp_path / "run").exists()
