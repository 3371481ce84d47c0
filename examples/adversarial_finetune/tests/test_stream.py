"""Clips in shards: the same as in one file, in an order that a seed decides, in little memory."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Call
from safetensors.torch import load_file, save_file
from toy import (
    WORDS,
    bars,
    changed_index,
    contexts,
    listed,
    saved,
    write_encoded,
    write_index,
    write_shards,
)

from adversarial_finetune.data import ClipFiles, check_made_with, find_clips, open_clips
from adversarial_finetune.errors import InputError
from adversarial_finetune.stream import Stream
from temporal_bundle import Bundle, open_bundle
from temporal_bundle.testing import write_manifest

COUNT = 64
FEW = ("--stage-one-steps", "2", "--stage-two-steps", "2", "--clips-per-step", "2")


@pytest.fixture(scope="module")
def opened(made: Path) -> Bundle:
    return open_bundle(made / "bundle")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shards(tmp_path / "shards")
    return tmp_path / "shards"


def test_shards_hold_what_one_file_does(opened: Bundle, clips: Path, shards: Path) -> None:
    one, many = (open_clips(folder, "train", opened) for folder in (clips, shards))
    asked = torch.tensor([63, 0, 24, 23, 24])
    for found, wanted in zip(many.at(asked), one.at(asked), strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(torch.cat(list(many.parts(7))), torch.cat(list(one.parts(7))))
    assert many.label_count == one.label_count == 3
    assert not many.nothing.any()


def test_labels_beside_contexts_say_what_they_ask_for(
    opened: Bundle, shards: Path, tmp_path: Path
) -> None:
    one_hot = open_clips(shards, "train", opened)
    index_B = torch.tensor([5, 63, 0])
    wanted = one_hot.labels_at(index_B)
    assert wanted is not None
    for split in ("train", "validation"):
        where = shards / split
        tensors = {"contexts": contexts() * 0.3, "labels": torch.eye(3, dtype=torch.uint8)}
        table = saved(where / "contexts-00000.safetensors", tensors)
        changed_index(where, contexts=[table | {"contexts": 3}], labels_shape=[3])
    words = open_clips(shards, "train", opened)
    assert words.label_count == 3
    assert torch.equal(torch.as_tensor(words.labels_at(index_B)), wanted)
    # Other contexts for the captions change nothing of what clips show.
    other_folder = tmp_path / "other"
    write_shards(other_folder)
    other = open_clips(shards, "train", opened, other_folder)
    assert torch.equal(torch.as_tensor(other.labels_at(index_B)), wanted)
    # Which lie in the clips' folder, whose hashes are looked at all the same.
    where = shards / "train" / "contexts-00000.safetensors"
    whole = where.read_bytes()
    where.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="was changed since it was written"):
        open_clips(shards, "train", opened, other_folder)
    where.write_bytes(whole)
    tensors = {"contexts": contexts(), "labels": torch.full((3, 3), 2, dtype=torch.uint8)}
    changed_index(where.parent, contexts=[saved(where, tensors) | {"contexts": 3}])
    with pytest.raises(InputError, match="labels hold other numbers than 0 and 1"):
        open_clips(shards, "train", opened)
    changed_index(shards / "train", labels_shape=[4])
    with pytest.raises(InputError, match=r"holds no labels of \(3, 4\) in U8"):
        open_clips(shards, "train", opened)


def order(data: ClipFiles, seed: int, count: int, buffer_mb: float = 0.005) -> list[int]:
    return Stream(data, seed, buffer_mb).take(count).tolist()


def test_every_clip_comes_once_an_epoch_in_another_order(opened: Bundle, shards: Path) -> None:
    data = open_clips(shards, "train", opened)
    drawn = order(data, 0, 3 * COUNT)
    epochs = [drawn[at : at + COUNT] for at in range(0, len(drawn), COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order(data, 0, COUNT) == epochs[0]
    assert order(data, 1, COUNT) != epochs[0]
    assert Stream(data, 0, 0.005).buffer < 24, "so a stretch is part of a shard"
    one = order(data, 0, COUNT, buffer_mb=1e-9)
    assert {clip // 24 for clip in one[:16]} != {clip // 24 for clip in one[16:]}
    assert one != sorted(one), "shards are shuffled, too"


@pytest.mark.parametrize("taken", [1, 7, 24, 64, 100])
def test_a_stream_goes_on_where_it_was(taken: int, opened: Bundle, shards: Path) -> None:
    data = open_clips(shards, "train", opened)
    whole = order(data, 5, 200)
    begun = Stream(data, 5, 0.005)
    first = begun.take(taken).tolist()
    later = Stream(data, 5, 0.005)
    later.restore(begun.state())
    assert first + later.take(200 - taken).tolist() == whole


def test_captions_get_other_contexts(opened: Bundle, shards: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    other = torch.rand(4, 2, 3).half()
    table = saved(texts / "contexts-00000.safetensors", {"contexts": other})
    empty = saved(texts / "empty.safetensors", {"empty_context": torch.full((2, 3), 0.5)})
    (texts / "captions.json").write_text(json.dumps([*reversed(WORDS), "unasked"]))
    write_index(texts, contexts=[table | {"contexts": 4}], empty_context=empty,
                captions=listed(texts / "captions.json"))  # fmt: skip
    data = open_clips(shards, "train", opened, texts)
    _, kind = bars(COUNT, 0)
    assert torch.equal(data.at(torch.arange(COUNT))[1], other.float()[2 - kind])
    assert data.nothing.unique().tolist() == [0.5]
    assert data.digest != open_clips(shards, "train", opened).digest


def test_contexts_may_stand_beside_their_clips(opened: Bundle, tmp_path: Path) -> None:
    where = tmp_path / "train"
    where.mkdir()
    clips, kind = bars(10, 0)
    tensors = {"clips": clips, "context": contexts()[kind]}
    write_index(where, shards=[saved(where / "00000.safetensors", tensors) | {"clips": 10}])
    data = open_clips(tmp_path, "train", opened)
    assert torch.equal(data.at(torch.arange(10))[1], contexts()[kind].float())


def rewrite(file: Path, **changes: torch.Tensor) -> None:
    save_file(load_file(file) | changes, file)


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


FIRST, TABLE = "00000.safetensors", "contexts-00000.safetensors"
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "short": (lambda f: shorten(f / FIRST), f"{FIRST}: is short"),
    "a byte": (lambda f: change_a_byte(f / FIRST), f"{FIRST}: was changed since it was written"),
    "a byte of a caption": (lambda f: change_a_byte(f / "captions.json"), "was changed since"),
    "a byte of a context": (lambda f: change_a_byte(f / TABLE), f"{TABLE}: was changed"),
    "missing": (lambda f: (f / "00002.safetensors").unlink(), "00002.safetensors: no such file"),
    "missing table": (lambda f: (f / TABLE).unlink(), f"{TABLE}: no such file"),
    "other shapes": (
        lambda f: rewrite(f / FIRST, clips=torch.zeros(24, 1, 4, 8, 4).half()),
        "clips (24, 1, 4, 8, 4), and index.json says (24, 1, 4, 8, 8)",
    ),
    "fewer clips": (
        lambda f: rewrite(
            f / FIRST,
            clips=torch.zeros(9, 1, 4, 8, 8).half(),
            context_index=torch.zeros(9, dtype=torch.int32),
        ),
        "clips (9, 1, 4, 8, 8), and index.json says (24, 1, 4, 8, 8)",
    ),
    "no such context": (
        lambda f: rewrite(f / FIRST, context_index=torch.full((24,), 3, dtype=torch.int32)),
        "names rows that none of 3 contexts is",
    ),
    "bytes": (
        lambda f: rewrite(f / FIRST, clips=torch.zeros(24, 1, 4, 8, 8, dtype=torch.uint8)),
        "clips is of U8",
    ),
    "newer": (lambda f: changed_index(f, version="2.0"), "version '2.0' is none of 1.x"),
    "another format": (lambda f: changed_index(f, format="x"), "expected format"),
    "no shards": (lambda f: changed_index(f, shards=[]), "shards must list files"),
    "elsewhere": (
        lambda f: changed_index(f, shards=[{"file": "../a", "sha256": "", "clips": 1}]),
        "'../a' is no file name",
    ),
    "no JSON": (lambda f: (f / "index.json").write_text("{"), "not valid JSON"),
    "no sizes": (lambda f: changed_index(f, clip_shape=[1]), "clip_shape must be 4 sizes"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damaged_shards_are_refused_in_one_line(
    case: str, bundle: Path, shards: Path, call: Call
) -> None:
    change, says = CASES[case]
    change(shards / "train")
    code, printed, said = call("train", bundle, "--data", shards, "--out", "run", *FEW)
    assert (code, printed, said.count("\n")) == (2, "", 1), said
    assert says in said
    assert not Path("run").exists()


def test_a_caption_without_a_context_is_named(bundle: Path, shards: Path, call: Call) -> None:
    shutil.copytree(shards, "other")
    for split in ("train", "validation", "test"):
        captions = Path("other") / split / "captions.json"
        captions.write_text(json.dumps(["left", "middle", "up"]))
        changed_index(captions.parent, captions=listed(captions))
    train = ("train", bundle, "--data", shards, "--out", "run", *FEW, "--text-contexts")
    code, _, said = call(*train, "other")
    assert (code, said.count("\n")) == (2, 1)
    assert "other: has no context for 1 of 3 captions of" in said
    assert said.rstrip().endswith("first 'right'")
    code, _, said = call(*train, "nowhere")
    assert (code, said.count("\n")) == (2, 1)
    assert "nowhere" in said


def test_clips_must_be_made_with_what_the_bundle_learned_from(
    bundle: Path, shards: Path, tmp_path: Path, call: Call
) -> None:
    text = {"text_encoder": {"name": "a", "sentence": [[0.5, 1.0]]}}
    coder = {"name": "a.safetensors", "scaling": 1.0, "shift": 0.0, "encodes": [0.2, -0.4, 0.9]}
    write_manifest(bundle, study={"made_with": {**text, "autoencoder": coder, "fps": 24}})
    write_shards(tmp_path / "other")
    other = {"name": "b.safetensors", "encodes": [0.8, 0.1, -0.7]}
    train = ("train", bundle, "--data", "shards", "--out", "run", *FEW)
    for made_with, says in (
        ({"autoencoder": coder | other}, "another autoencoder ('a.safetensors', not 'b.saf"),
        ({"text_encoder": {"sentence": [[1.0, 0.5]]}}, "another text encoder; give clips that"),
        ({"autoencoder": "a"}, "index.json: made_with: autoencoder must be an object"),
    ):
        changed_index(shards / "train", made_with=made_with)
        code, printed, said = call(*train)
        assert (code, printed, said.count("\n")) == (2, "", 1), said
        assert says in said
    opened, layout = open_bundle(bundle), find_clips(shards, "validation")
    check_made_with(layout, opened)  # an older one does not say
    # Contexts that take the place of the clips' own come with an encoder of theirs.
    changed_index(shards / "validation", made_with={"text_encoder": {"sentence": [[1.0, 0.5]]}})
    changed_index(tmp_path / "other" / "validation", made_with={**text, "autoencoder": other})
    check_made_with(find_clips(shards, "validation", tmp_path / "other"), opened)


def test_shards_train_and_are_judged(bundle: Path, shards: Path, call: Call) -> None:
    train = ("train", bundle, "--data", shards, "--out", "run", *FEW)
    write_encoded(Path("encoded"), ["", *WORDS], torch.rand(4, 2, 3))
    code, _, said = call(*train, "--text-contexts", "encoded", "--buffer-mb", "0.01")
    assert code == 0, said
    judged = ("--clips", "16", "--classifier-steps", "2", "--json")
    evaluate = ("evaluate", "run", bundle, "--data", shards, *judged)
    code, _, said = call(*evaluate)
    assert (code, said.count("\n")) == (2, 1)
    assert "was begun with other clips" in said
    code, printed, said = call(*evaluate, "--text-contexts", "encoded")
    assert code == 0, said
    assert json.loads(printed)["clips"] == 16


IN_LITTLE_MEMORY = """
import sys
from pathlib import Path
import torch
from adversarial_finetune.data import open_clips
from adversarial_finetune.stream import Stream
from temporal_bundle import open_bundle

def most_mb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6

bundle = open_bundle(sys.argv[1])
open_clips(Path(sys.argv[2]), "validation", bundle)
Path("/proc/self/clear_refs").write_text("5")  # else what loading torch took counts as the most
before = most_mb("VmHWM")
data = open_clips(Path(sys.argv[2]), "train", bundle)
stream = Stream(data, 0, buffer_mb=float(sys.argv[3]))
for _ in range(len(data) // 8):
    x, context = data.at(stream.take(8))
    assert torch.isfinite(x).all()
print(most_mb("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the most memory in use")
@pytest.mark.parametrize("shard_clips", [500, 5000])
def test_ten_times_the_memory_streams(shard_clips: int, made: Path, tmp_path: Path) -> None:
    """Checked and drawn once each, of which no more than a tenth is ever in memory."""
    frames, count, limit_mb = 512, 5000, 32
    for split, clips in (("train", count), ("validation", 8)):
        where = tmp_path / split
        where.mkdir()
        shards, part = [], torch.randn(min(shard_clips, clips), 1, frames, 8, 8).half()
        for number in range(clips // len(part)):
            tensors = {"clips": part, "context": torch.zeros(len(part), 2, 3).half()}
            entry = saved(where / f"{number:05}.safetensors", tensors)
            shards.append(entry | {"clips": len(part)})
        write_index(where, shards=shards, clip_shape=[1, frames, 8, 8])
    size_mb = sum(file.stat().st_size for file in (tmp_path / "train").iterdir()) / 1e6
    assert size_mb > 10 * limit_mb
    arguments = (made / "bundle", tmp_path, limit_mb / 4)
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < limit_mb
