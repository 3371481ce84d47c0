"""Captions beside latents: encoded once each, and the contexts of the clips that they caption."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from films import write_undecodable, write_video
from safetensors import safe_open

from examples.tiny_text_encoder import write_model, write_pipeline, write_tokenizer
from search_spaces import InputError, UNetShape
from search_spaces.files.document import dumps
from supernet import checkpoint
from supernet.autoencoders.autoencoder import ImageAutoencoder
from supernet.checkpoint import file_sha256
from supernet.data.caption_encoding import CaptionPlan
from supernet.data.clips import captions, empty_context
from supernet.data.encoding import CaptionWarning, Encoding
from supernet.data.latents import LatentFolder
from supernet.data.video_folder import SkippedVideoWarning
from supernet.evaluation.sampling import Samples
from supernet.text.opening import open_text_encoder
from supernet.training.batches import draw_batch
from supernet.training.training import Randomness
from temporal_bundle.closeness import check_close

SHAPE = UNetShape(4, (8,), 4, 2, 3, 12, 16)
RED, LONG = "the red one", "the one and the red one and the one and the one"
TEXTS = {0: RED, 1: "and the", 2: "the  RED\none", 3: RED, 5: LONG}  # of films 0 to 5

pytestmark = pytest.mark.filterwarnings("ignore::supernet.data.encoding.CaptionWarning")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return laid_out(tmp_path)


def laid_out(tmp_path: Path) -> Path:
    """Six films of a shade each, captions for five, a text encoder and an autoencoder."""
    pytest.importorskip("tokenizers")
    (tmp_path / "films").mkdir()
    for number in range(6):
        shade = number * 40
        write_video(
            tmp_path / "films" / f"{number}.mkv", 20,
            lambda n, shade=shade: np.full((16, 24, 3), (shade, n * 8, 0), np.uint8),
        )  # fmt: skip
    for number, text in TEXTS.items():
        (tmp_path / "films" / f"{number}.txt").write_text(text)
    torch.manual_seed(0)
    weights = ImageAutoencoder().state_dict()
    checkpoint.write(tmp_path / "ae.safetensors", weights, {"holds": "autoencoder"})
    write_pipeline(tmp_path / "text")
    return tmp_path


def encoding(place: Path, films: str = "films", **changes: Any) -> Encoding:
    plan = CaptionPlan(place / "text", **changes)
    return Encoding(place / films, place / "ae.safetensors", 2, 3, captions=plan)


def test_each_caption_is_encoded_once(place: Path) -> None:
    with pytest.warns(CaptionWarning) as warned:
        index = encoding(place, shard_mb=0.001).run(place / "out")
    lines = [str(warning.message) for warning in warned]
    assert len(lines) == 2
    assert lines[0].endswith(
        "1 films have no caption; they get the empty caption's context: "
        f"{place / 'films' / '4.mkv'}"
    )
    assert "1 of 4 captions have more than the 12 tokens" in lines[1]
    held = json.loads((place / "out" / "captions.json").read_text())
    assert [each["text"] for each in held["captions"]] == ["", RED, "and the", "the RED one", LONG]
    assert (held["tokens"], held["width"], held["empty"], held["cut"]) == (12, 16, 0, 1)
    assert [shard["rows"] for shard in held["shards"]] == [2, 2, 1]
    assert [film["caption"] for film in index["files"]] == [1, 2, 3, 1, 0, 4]
    encoder = open_text_encoder(place / "text")
    for each in held["captions"]:
        shard = place / "out" / held["shards"][each["shard"]]["file"]
        with safe_open(shard, framework="pt") as file:
            states = file.get_tensor("states")[each["row"]]
        assert states.dtype == torch.float16
        check_close(states.float(), encoder.encode([each["text"]])[0], share=0.002)


def test_clips_have_their_films_captions(place: Path) -> None:
    encoding(place).run(place / "out")
    data = LatentFolder(place / "out", SHAPE, "train")
    empty = data.empty_context()
    assert empty is not None
    encoder = open_text_encoder(place / "text")
    check_close(empty, encoder.encode([""])[0], share=0.002)
    clips = data.clips(60, 0)
    assert clips.context_BLC.shape == (60, 12, 16)
    told = captions(data, clips.context_BLC)
    assert set(told) == {"", RED, "and the", LONG}, "states that are equal share a caption"
    check_close(clips.context_BLC, encoder.encode(told), share=0.002)
    # The shade of a clip's film says whose caption it must have.
    means = clips.x_BCTHW.mean((2, 3, 4))
    for text in ("and the", LONG):
        own = means[[each == text for each in told]]
        assert torch.cdist(own, own).max() < torch.cdist(means, means).max() / 2


def test_a_context_that_says_nothing_is_the_empty_captions(place: Path) -> None:
    encoding(place).run(place / "out")
    data = LatentFolder(place / "out", SHAPE, "train")
    empty = data.empty_context()
    batch = draw_batch(data, 200, Randomness(0, 0))
    nothing = (batch.context_BLC == empty).flatten(1).all(1)
    uncaptioned = 1 / 6
    assert 0 < nothing.float().mean() - uncaptioned < 0.25, "dropped at times, too"
    assert batch.context_BLC.flatten(1).any(1).all(), "and never zeros"
    asked: list[torch.Tensor] = []

    def denoiser(x: torch.Tensor, _: torch.Tensor, context_BLC: torch.Tensor) -> torch.Tensor:
        asked.append(context_BLC)
        return torch.zeros_like(x)

    Samples(data, clips=2, steps=1).drawn(denoiser)
    assert len(asked) == 2
    assert torch.equal(asked[1], empty_context(data, asked[0]).expand(2, -1, -1))
    # Of films that say nothing, there is nothing to be guided to.
    plain = Encoding(place / "films", place / "ae.safetensors", 2, 3).run(place / "plain")
    assert "captions" not in plain
    zeros = LatentFolder(place / "plain", SHAPE, "train")
    assert zeros.empty_context() is None
    asked.clear()
    Samples(zeros, clips=2, steps=1).drawn(denoiser)
    assert len(asked) == 1
    assert not asked[0].any()
    assert torch.equal(zeros.clips(3, 0).x_BCTHW, data.clips(3, 0).x_BCTHW), "the same clips"


def test_films_without_captions_are_left_out(place: Path) -> None:
    with pytest.warns(CaptionWarning, match=r"1 films have no caption; skipped: .*4\.mkv"):
        index = encoding(place, uncaptioned="skip").run(place / "out")
    assert [film["source"] for film in index["files"]] == [f"{n}.mkv" for n in (0, 1, 2, 3, 5)]
    for path in (place / "films").glob("*.txt"):
        path.unlink()
    with pytest.raises(InputError, match=r"none of its 6 films has a caption; put NAME\.txt"):
        encoding(place)


def test_what_was_encoded_is_not_encoded_again(place: Path) -> None:
    whole = encoding(place).run(place / "whole")

    def stop(work: Callable[[Any], Any], tasks: Any) -> Any:
        for number, task in enumerate(tasks):
            if number == 4:
                raise KeyboardInterrupt
            yield number, work(task)

    with pytest.raises(KeyboardInterrupt):
        encoding(place).run(place / "out", spread=stop)
    unfinished = place / "out.unfinished"
    first = {p.name: p.stat().st_mtime_ns for p in unfinished.glob("*.safetensors")}
    assert len(first) == 4
    with pytest.raises(InputError, match="begun with choice for .* zeros, not skip; go on"):
        encoding(place, uncaptioned="skip").run(place / "out")
    assert encoding(place).run(place / "out") == whole
    for name, written_ns in first.items():
        assert (place / "out" / name).stat().st_mtime_ns == written_ns
    assert contents(place / "out") == contents(place / "whole")
    assert encoding(place).run(place / "out") == whole, "nothing is left to do"
    both = encoding(place, shard_mb=1, uncaptioned="skip")
    with pytest.raises(InputError, match="zeros, not skip and with size of .* not 1"):
        both.run(place / "out")


def test_what_came_later_is_not_passed_over(place: Path) -> None:
    films, out = place / "films", place / "out"
    for name in ("broken.mkv", "broken.txt"):
        (films / name).write_text("no film")
    write_undecodable(films / "torn.mkv")
    (films / "torn.txt").write_text("red")
    plan = encoding(place, uncaptioned="skip")
    with pytest.warns(SkippedVideoWarning, match=r"torn\.mkv: holds no frame|broken\.mkv"):
        whole = plan.run(out)
    (films / "broken2.mkv").write_text("no film either")
    shutil.copy(films / "0.mkv", films / "uncaptioned.mkv")
    assert encoding(place, uncaptioned="skip").run(out) == whole, "these give nothing"
    for name in ("4.txt", "uncaptioned.txt"):
        (films / name).write_text("red")
    said = (
        r"films: has 2 films or shards that .*out lacks, the first: 4\.mkv; choose another `out=`"
    )
    with pytest.raises(InputError, match=said):
        encoding(place, uncaptioned="skip").run(out)


def test_a_film_that_is_gone_meanwhile_is_skipped(place: Path) -> None:
    def without(work: Callable[[Any], Any], tasks: Any) -> Any:
        (place / "films" / "2.mkv").unlink(missing_ok=True)
        for number, task in enumerate(tasks):
            yield number, work(task)

    with pytest.warns(SkippedVideoWarning, match=r"2\.mkv: No such file or directory; skipped"):
        index = encoding(place).run(place / "out", spread=without)
    assert [film["source"] for film in index["files"]] == [f"{n}.mkv" for n in (0, 1, 3, 4, 5)]
    assert encoding(place).run(place / "out") == index


def test_two_processes_do_not_write_one_folder(place: Path) -> None:
    def meanwhile(work: Callable[[Any], Any], tasks: Any) -> Any:
        with pytest.raises(InputError, match=r"another process is encoding into it"):
            encoding(place).run(place / "out")
        for number, task in enumerate(tasks):
            yield number, work(task)

    encoding(place).run(place / "out", spread=meanwhile)
    assert not list(place.glob("*.unfinished"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_wishes_and_encoders_that_do_not_fit(place: Path) -> None:
    with pytest.raises(InputError, match="`uncaptioned=` takes zeros or skip; found 'drop'"):
        encoding(place, uncaptioned="drop")
    with pytest.raises(InputError, match="`shard_mb=` must be above 0 and finite; found 0"):
        encoding(place, shard_mb=0)
    encoding(place).run(place / "out")
    narrow = UNetShape(4, (8,), 4, 2, 3, 2, 10)
    with pytest.raises(InputError, match=r"captions are 12 tokens of 16 .* attends to 2 of 10; "):
        LatentFolder(place / "out", narrow, "train")
    model, words = place / "text" / "text_encoder", place / "text" / "tokenizer"
    write_tokenizer(words, length=6)
    with pytest.raises(InputError, match="was made with another text encoder; choose"):
        encoding(place).run(place / "out")
    write_tokenizer(words)
    weights = checkpoint.file_sha256(model / "model.safetensors")
    write_model(model)
    assert checkpoint.file_sha256(model / "model.safetensors") == weights
    assert encoding(place).run(place / "out")["captions"], "the same encoder, written anew"


Damage = Callable[[Path], object]


def captions_json(change: Callable[[dict[str, Any]], object]) -> Damage:
    def edit(folder: Path) -> None:
        path = folder / "captions.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(dumps(document))
        index = json.loads((folder / "latents.json").read_text())
        index["captions"]["sha256"] = file_sha256(path)
        (folder / "latents.json").write_text(dumps(index))

    return edit


def latents_json(change: Callable[[dict[str, Any]], object]) -> Damage:
    def edit(folder: Path) -> None:
        index = json.loads((folder / "latents.json").read_text())
        change(index)
        (folder / "latents.json").write_text(dumps(index))

    return edit


def flip(folder: Path) -> None:
    path = folder / "captions-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (flip, "captions-00000.safetensors: was changed since it was written"),
        (lambda f: (f / "captions-00000.safetensors").unlink(), "though captions.json names it"),
        (lambda f: (f / "captions.json").unlink(), "though latents.json names it"),
        (lambda f: (f / "captions.json").write_text("{}"), "captions.json: was changed"),
        (captions_json(lambda d: d.update(tokens="many")), "tokens must be a whole number from 1"),
        (captions_json(lambda d: d.update(tokens=13)), "holds other states than captions.json"),
        (captions_json(lambda d: d.update(version="2.0")), "version 2.0 is newer"),
        (captions_json(lambda d: d.update(shards={})), "lists no shards"),
        (captions_json(lambda d: d["shards"][0].update(file="../x")), "'../x' is no name of"),
        (captions_json(lambda d: d.update(captions=[])), "has no empty caption as number 0"),
        (captions_json(lambda d: d["captions"].pop(0)), "has no empty caption as number 0"),
        (captions_json(lambda d: d["captions"][1].update(row=99)), "caption 1 is in no row of"),
        (captions_json(lambda d: d["captions"][1].update(row=True)), "without a place"),
        (captions_json(lambda d: d["captions"][1].update(text=None)), "without a text"),
        (captions_json(lambda d: d.update(captions=["x"])), "lists no captions"),
        (latents_json(lambda d: d["files"][0].update(caption=99)), "a caption that is not there"),
        (latents_json(lambda d: d["files"][0].pop("caption")), "a caption that is not there"),
    ],
)
def test_damage_is_one_line(place: Path, damage: Damage, match: str) -> None:
    encoding(place).run(place / "out")
    damage(place / "out")
    with pytest.raises(InputError, match=match) as refused:
        LatentFolder(place / "out", SHAPE, "train").clips(20, 0)
    assert "\n" not in str(refused.value)


def test_without_a_text_encoder_nothing_changes(place: Path) -> None:
    with pytest.warns(CaptionWarning, match=r"has captions, .*; `text_encoder=FOLDER` encodes"):
        index = Encoding(place / "films", place / "ae.safetensors", 2, 3).run(place / "out")
    assert index["version"] == "1.0"
    assert not any("caption" in film for film in index["files"])
    assert not list((place / "out").glob("captions*"))
    for path in (place / "films").glob("*.txt"):
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Encoding(place / "films", place / "ae.safetensors", 2, 3).run(place / "quiet")


def test_what_a_mac_leaves_is_passed_over_and_what_is_compressed_is_named(place: Path) -> None:
    for name in ("._0.mkv", "._0.txt", "._metadata.csv"):
        (place / "films" / name).write_bytes(b"\0\5\x16\7\xff")
    for name in ("more.tar.gz", "more.tgz", "notes.gz"):
        (place / "films" / name).write_bytes(b"")
    with pytest.warns(SkippedVideoWarning) as warned:
        index = encoding(place).run(place / "out")
    assert [film["source"] for film in index["files"]] == [f"{n}.mkv" for n in range(6)]
    own = [str(each.message) for each in warned if each.category is SkippedVideoWarning]
    said = "is compressed; unpack it to a plain .tar; skipped"
    assert own == [f"{place / 'films' / name}: {said}" for name in ("more.tar.gz", "more.tgz")]
