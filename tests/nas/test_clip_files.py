"""`nas clips`: what a training package reads is what the toolkit would have drawn."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Call
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from nas.training.clip_files import write_clips
from search_spaces import AnyUNetShape, TemporalSpace
from supernet.checkpoint import file_sha256
from supernet.data.clips import Clips, RepeatedClipsWarning, spread_places
from supernet.data.digits import MovingDigits
from supernet.data.loading import SOURCES
from supernet.data.splits import Split

sys.path.append(str(Path(__file__).parents[1] / "supernet"))

from films import write_video

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def read(folder: Path) -> tuple[dict[str, Any], Tensor, Tensor, Tensor]:
    """The index of a split, its clips, the context number of each, and the contexts."""
    index = json.loads((folder / "index.json").read_text())
    for listed in (*index["shards"], *index["contexts"]):
        assert file_sha256(folder / listed["file"]) == listed["sha256"]
    parts = [load_file(folder / each["file"]) for each in index["shards"]]
    assert [len(part["clips"]) for part in parts] == [each["clips"] for each in index["shards"]]
    clips, rows = (torch.cat([part[name] for part in parts]) for name in ("clips", "context_index"))
    tables = [load_file(folder / each["file"])["contexts"] for each in index["contexts"]]
    return index, clips, rows, torch.cat(tables)


def test_clips_in_plain_files(call: Call, space: TemporalSpace) -> None:
    few = ("--train", "70", "--validation", "3", "--test", "2")
    code, printed, said = call("clips", *few, "--shard-mb", "0.1", "--out", "clips")
    assert code == 0, said
    assert "70 + 3 + 2" in printed
    found = {split: read(Path("clips") / split) for split in SPLITS}
    assert [tuple(clips.shape) for _, clips, _, _ in found.values()] == [
        (70, 1, 8, 16, 16), (3, 1, 8, 16, 16), (2, 1, 8, 16, 16)
    ]  # fmt: skip
    drawn = torch.cat([clips for _, clips, _, _ in found.values()]).flatten(1)
    assert len(drawn.unique(dim=0)) == 75, "no clip is drawn twice"
    index, clips, rows, contexts = found["train"]
    assert [each["clips"] for each in index["shards"]] == [24, 24, 22]
    assert all(f.stat().st_size < 0.11e6 for f in Path("clips/train").iterdir())
    wanted = MovingDigits(space.unet, "train").clips(64, 0)
    assert torch.equal(clips[:64], wanted.x_BCTHW.half())
    assert torch.equal(contexts[rows][:64], wanted.context_BLC.half())
    assert len(contexts.unique(dim=0)) == len(contexts), "each context is stored once"
    captions = json.loads(Path("clips/train/captions.json").read_text())
    source = MovingDigits(space.unet, "train")
    assert captions == [source.caption(context) for context in contexts]
    assert "empty_context" not in index, "zeros ask for nothing"
    assert index["made_with"] == {"asked_by": "digits"}
    assert call("clips", *few, "--shard-mb", "0.1", "--out", "again")[0] == 0
    for file in Path("clips").glob("*/*"):
        assert file.read_bytes() == (Path("again") / file.relative_to("clips")).read_bytes()
    code, printed, said = call("clips", *few, "--out", "clips")
    assert (code, printed, said.count("\n")) == (2, "", 1)
    code, _, said = call("clips", *few, "--data", "nowhere", "--out", "other")
    assert code == 2
    assert "no such folder of videos" in said
    assert not list(Path().glob("*other*"))


class Told:
    """Clips with captions, as `nas encode` leaves them."""

    def __init__(self, shape: AnyUNetShape, split: Split) -> None:
        self._shape = shape

    def clips(self, count: int, seed: int) -> Clips:
        shape = self._shape
        x = torch.zeros(count, shape.in_channels, shape.frames, shape.height, shape.width)
        context = torch.zeros(count, shape.context_tokens, shape.context_channels)
        context[:, 0, 0] = (torch.arange(count) + seed) % 2 + 1
        return Clips(x, context)

    def caption(self, context_LC: Tensor) -> str:
        return f"eine Straße, {int(context_LC[0, 0])} mal"

    def empty_context(self) -> Tensor:
        return torch.full((self._shape.context_tokens, self._shape.context_channels), 0.5)


def test_captions_and_what_asks_for_nothing_are_kept(
    space: TemporalSpace, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(SOURCES, "told", Told)
    write_clips(tmp_path / "clips", space, "told", {"test": 5}, shard_mb=0.00001)
    index, clips, rows, contexts = read(tmp_path / "clips" / "test")
    assert (len(clips), len(index["shards"]), len(index["contexts"])) == (5, 5, 2)
    assert contexts[rows][:, 0, 0].tolist() == [1, 2, 1, 2, 1]
    captions = json.loads((tmp_path / "clips/test/captions.json").read_text(encoding="utf-8"))
    assert captions == ["eine Straße, 1 mal", "eine Straße, 2 mal"]
    empty = load_file(tmp_path / "clips/test" / index["empty_context"]["file"])["empty_context"]
    assert empty.unique().tolist() == [0.5]
    assert index["made_with"]["text_encoder"]["empty"][0] == [0.5] * 8


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Forty, of one clip each."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(40):
        shade = np.full((16, 16, 3), 6 * number, np.uint8)
        write_video(folder / f"{number:02}.mkv", 8, lambda _, shade=shade: shade)
    return folder


@pytest.mark.parametrize("encoded", [False, True])
def test_no_film_is_there_twice_before_each_was_there_once(
    call: Call, films: Path, encoded: bool
) -> None:
    data = films
    if encoded:
        data = films.with_name("pixels")
        to = ("--pixels", "grey", "--size", "16x16", "--out", str(data))
        assert call("encode", str(films), *to)[0] == 0
    counts = ("--train", "28", "--validation", "6", "--test", "8")
    with pytest.warns(
        RepeatedClipsWarning,
        match=f"{data.name}: test has 6 different clips, and 8",
    ):
        code, _, said = call("clips", *counts, "--data", str(data), "--out", "clips")
    assert code == 0, said
    shades = {s: read(Path("clips") / s)[1].flatten(1).mean(1).tolist() for s in SPLITS}
    assert [len(set(each)) for each in shades.values()] == [28, 6, 6]
    assert len({shade for each in shades.values() for shade in each}) == 40


@given(st.integers(1, 50), st.integers(1, 300), st.integers(0, 9))
def test_places_are_spread(places: int, count: int, seed: int) -> None:
    found = spread_places(places, count, np.random.default_rng(seed))
    often = np.bincount(found, minlength=places)
    assert (len(often), often.sum()) == (places, count)
    assert often.max() - often.min() <= 1
    if count < places:  # one of each part
        parts = sorted(place * count // places for place in found.tolist())
        assert np.abs(np.subtract(parts, range(count))).max() <= 1
