"""Films and captions of shards, encoded as those in files of their own are."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from test_encoded_captions import contents, encoding, laid_out

from search_spaces import InputError
from supernet.data.encoding import CaptionWarning

pytestmark = pytest.mark.filterwarnings("ignore::supernet.data.encoding.CaptionWarning")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    pytest.importorskip("webdataset")
    return laid_out(tmp_path)


def pack(path: Path, *files: tuple[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def packed(place: Path, numbers: tuple[int, ...], name: str) -> None:
    (place / "shards").mkdir(exist_ok=True)
    with tarfile.open(place / "shards" / name, "w") as tar:
        for number in numbers:
            for path in sorted((place / "films").glob(f"{number}.*")):
                tar.add(path, path.name)


def test_shards_make_what_their_films_make(place: Path) -> None:
    packed(place, (0, 1, 2), "a.tar")
    packed(place, (3, 4, 5), "b.tar")
    plain = encoding(place).run(place / "plain")
    index = encoding(place, "shards").run(place / "out")
    assert [film["source"] for film in index["files"]] == [
        *(f"a.tar/{n}.mkv" for n in (0, 1, 2)), *(f"b.tar/{n}.mkv" for n in (3, 4, 5))
    ]  # fmt: skip
    for own, other in zip(index["files"], plain["files"], strict=True):
        assert own["caption"] == other["caption"]
        assert own["video_digest"] == other["video_digest"]
        with safe_open(place / "out" / own["file"], framework="pt") as file:
            states = file.get_tensor("latents")
        with safe_open(place / "plain" / other["file"], framework="pt") as file:
            assert torch.equal(states, file.get_tensor("latents"))
    assert index["captions"] == plain["captions"], "byte for byte"
    assert not [path for path in (place / "out").iterdir() if path.name.startswith(".")]

    def stop(work: Callable[[Any], Any], tasks: Any) -> Any:
        yield 0, work(tasks[0])
        (place / "shards" / "a.tar").rename(place / "gone.tar")  # it is not read again
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoding(place, "shards").run(place / "again", spread=stop)
    note = next((place / "again.unfinished").glob("*.shard.json"))
    assert len(json.loads(note.read_text())["films"]) == 3
    (place / "gone.tar").rename(place / "shards" / "a.tar")
    assert encoding(place, "shards").run(place / "again") == index
    assert contents(place / "again") == contents(place / "out")


def test_progress_moves_within_a_shard(place: Path) -> None:
    packed(place, (0, 1, 2), "a.tar")
    packed(place, (4, 5), "b.tar")
    shutil.copyfile(place / "films" / "3.mkv", place / "shards" / "c.mkv")
    shown = list[tuple[str, int, list[int]]]()

    def stage(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        shown.append((title, total, []))
        return nullcontext(shown[-1][2].append)

    with pytest.warns(CaptionWarning, match="2 films have no caption"):
        encoding(place, "shards", uncaptioned="skip").run(place / "out", stage)
    title, total, told = shown[0]
    assert title == "encode frames of 16 x 24 pixels to latents of 2 x 3", "as of films"
    assert total == 6, "films, wherever they lie"
    assert told == sorted(told)
    assert set(told) == {1, 2, 3, 4, 5, 6}


def test_what_only_shards_or_captions_tell_apart_is_told_apart(place: Path) -> None:
    packed(place, (0, 1), "a.tar")
    encoding(place, "shards").run(place / "out")
    packed(place, (4,), "b.tar")
    with pytest.raises(InputError, match=r"has 1 films or shards that .*out lacks, .* b\.tar;"):
        encoding(place, "shards").run(place / "out")
    (place / "shards" / "b.tar").unlink()
    packed(place, (2, 3), "a.tar")
    with pytest.raises(InputError, match="is of videos or captions that .* no longer has"):
        encoding(place, "shards").run(place / "out")
    for film in (place / "shards").glob("*.tar"):
        with tarfile.open(film, "w") as tar:
            tar.add(next(place.rglob("0.mkv")), "a.mkv")
    for uncaptioned in ("zeros", "skip"):
        with pytest.raises(InputError, match="none of its 1 films has a caption"):
            encoding(place, "shards", uncaptioned=uncaptioned).run(place / uncaptioned)


def test_a_torn_shard_leaves_nothing(place: Path) -> None:
    packed(place, (0, 1), "a.tar")
    path = place / "shards" / "a.tar"
    path.write_bytes(path.read_bytes()[:-12_000])
    with pytest.raises(InputError, match=r"a\.tar: is torn"):
        encoding(place, "shards")
    pack(path, ("a.mkv", b"text"), ("a.txt", b"red"))
    with (
        pytest.warns(UserWarning, match=r"a\.tar: a\.mkv: cannot be read as video"),
        pytest.raises(InputError, match="none of its 1 videos can be decoded"),
    ):
        encoding(place, "shards").run(place / "out")
    assert not list(place.glob("out*"))


def test_samples_of_several_dots_are_encoded_and_resumed(place: Path) -> None:
    films = [path.read_bytes() for path in sorted((place / "films").glob("*.mkv"))]
    pack(
        place / "shards" / "a.tar",
        ("0.json", b'{"status": "failed"}'),
        ("1.caption.txt", b"red"), ("1.video.mkv", films[1]), ("__meta__/x.json", b"{"),
        ("2.a.json", b'{"text": null, "caption": ["", "blue"]}'), ("2.a.mkv", films[2]),
        ("2.b.mkv", films[3]), ("2.b.txt", b"green"),
    )  # fmt: skip
    pack(place / "shards" / "b.tar", ("5.mkv", films[5]), ("5.txt", b""))
    with pytest.warns(CaptionWarning) as warned:
        index = encoding(place, "shards").run(place / "out")
    lines = [str(each.message) for each in warned if each.category is CaptionWarning]
    assert lines[0].endswith("a.tar: 1 .json without a film passed over, the first: 0.json")
    assert "1 films have no caption" in lines[1]
    held = json.loads((place / "out" / "captions.json").read_text())["captions"]
    assert {film["source"]: held[film["caption"]]["text"] for film in index["files"]} == {
        "a.tar/1.video.mkv": "red", "a.tar/2.a.mkv": "blue", "a.tar/2.b.mkv": "green",
        "b.tar/5.mkv": "",
    }  # fmt: skip

    def stop(work: Callable[[Any], Any], tasks: Any) -> Any:
        yield 0, work(tasks[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoding(place, "shards").run(place / "again", spread=stop)
    assert encoding(place, "shards").run(place / "again") == index
    assert contents(place / "again") == contents(place / "out")


@pytest.mark.parametrize("damaged", [b"[1]", b'{"text": "a dog"', b'{"text": "\xff"}'])
def test_bad_captions_are_refused_before_any_work(place: Path, damaged: bytes) -> None:
    film = (place / "films" / "0.mkv").read_bytes()
    pack(place / "shards" / "a.tar", ("a.mkv", film), ("a.txt", b"red"))
    pack(place / "shards" / "b.tar", ("b.mkv", film), ("b.json", damaged))
    with pytest.raises(InputError, match=r"b\.tar: b\.json: ") as refused:
        encoding(place, "shards")
    assert "\n" not in str(refused.value)


def test_what_counts_as_a_caption_is_said_where_there_is_none(place: Path) -> None:
    film = (place / "films" / "0.mkv").read_bytes()
    pack(place / "shards" / "a.tar", ("a.mkv", film), ("a.json", b'{"prompt": "red"}'))
    said = r"none of its 1 films has a caption; in a \.tar, put NAME\.txt or NAME\.json \(with "
    with pytest.raises(InputError, match=said):
        encoding(place, "shards")
    (place / "shards" / "b.mkv").write_bytes(film)
    said = r"none of its 2 films has a caption; put NAME\.txt beside each, or .*; in a \.tar, put "
    with pytest.raises(InputError, match=said):
        encoding(place, "shards", uncaptioned="skip")
    assert not list(place.glob("out*"))
