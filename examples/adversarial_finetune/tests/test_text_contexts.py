"""Captions that `nas encode` encoded as other contexts for clips, by their texts."""

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Call
from toy import WORDS, bars, write_encoded, write_shards

from adversarial_finetune.data import check_made_with, find_clips, open_clips
from adversarial_finetune.errors import InputError
from adversarial_finetune.rows import Shard
from temporal_bundle import open_bundle
from temporal_bundle.manifest import LFS_POINTER
from temporal_bundle.testing import write_manifest

TEXTS = ["", "unasked", *reversed(WORDS)]
STATES = torch.linspace(-1, 1, len(TEXTS) * 6).reshape(len(TEXTS), 2, 3).half()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shards(tmp_path / "shards")
    return tmp_path / "shards"


@pytest.fixture
def encoded(tmp_path: Path) -> Path:
    write_encoded(tmp_path / "encoded", TEXTS, STATES)
    return tmp_path / "encoded"


def changed(folder: Path, **fields: Any) -> None:
    file = folder / "captions.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_clips_get_what_a_text_encoder_says_of_their_captions(
    bundle: Path, shards: Path, encoded: Path
) -> None:
    data = open_clips(shards, "train", open_bundle(bundle), encoded)
    _, kind = bars(64, 0)
    assert torch.equal(data.at(torch.arange(64))[1], STATES.float()[4 - kind])
    assert torch.equal(data.nothing, STATES[0].float())
    before = data.digest
    changed(encoded, cut=1)
    assert find_clips(shards, "train", encoded).digest != before


def test_they_must_be_what_the_network_learned_from(
    bundle: Path, shards: Path, encoded: Path
) -> None:
    sentence = {"sentence": [[0.5, 1.0]]}
    write_manifest(bundle, study={"made_with": {"asked_by": "captions", "text_encoder": sentence}})
    check_made_with(find_clips(shards, "train", encoded), open_bundle(bundle))
    changed(encoded, text_encoder={"sentence": [[1.0, 0.5]]})
    with pytest.raises(InputError, match="learned from another text encoder"):
        check_made_with(find_clips(shards, "train", encoded), open_bundle(bundle))


def test_a_text_encoder_is_known_by_what_it_says_of_nothing(
    bundle: Path, shards: Path, encoded: Path
) -> None:
    """Where one was not asked about a sentence, as those of another source."""
    for empty, fits in ((STATES[0], True), (STATES[3], False)):
        told = {"text_encoder": {"empty": empty[[0, 1, -1]].tolist()}}
        write_manifest(bundle, study={"made_with": told})
        with nullcontext() if fits else pytest.raises(InputError, match="encoded: the bundle's"):
            check_made_with(find_clips(shards, "train", encoded), open_bundle(bundle))


def test_contexts_of_all_splits_are_looked_at_once(
    bundle: Path, shards: Path, encoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred thousand captions that is minutes; until a file is changed."""
    read = list[str]()
    check_hash = Shard.check_hash

    def counted(shard: Shard) -> None:
        read.append(str(shard.file.relative_to(shards.parent)))
        check_hash(shard)

    monkeypatch.setattr(Shard, "check_hash", counted)
    opened = open_bundle(bundle)
    open_clips(shards, "train", opened, encoded)
    open_clips(shards, "validation", opened, encoded)
    held = [str(file.relative_to(shards.parent)) for file in encoded.glob("*.safetensors")]
    assert [read.count(name) for name in held] == [1] * 2
    for shard in encoded.glob("*.safetensors"):
        os.utime(shard, ns=(0, 0))
    open_clips(shards, "train", opened, encoded)
    assert [read.count(name) for name in held] == [2] * 2


def test_contexts_that_are_no_numbers_are_named(bundle: Path, shards: Path, tmp_path: Path) -> None:
    write_encoded(tmp_path / "torn", TEXTS, torch.full_like(STATES, torch.nan))
    with pytest.raises(InputError, match=r"torn: context 0 \(of 5 such\) holds NaN"):
        open_clips(shards, "train", open_bundle(bundle), tmp_path / "torn")


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        file = folder / "captions-00001.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return act


def without(*texts: str) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        listed = json.loads((folder / "captions.json").read_text())["captions"]
        changed(folder, captions=[each for each in listed if each["text"] not in texts])

    return act


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "lacking": (without("middle", "right"), "has no context for 2 of 3 captions of "),
    "which": (without("middle", "right"), "first 'middle'"),
    "no empty one": (without(""), "captions.json: has no empty caption"),
    "width": (lambda f: changed(f, width=4), "holds no states of (3, 2, 4) in F16"),
    "short": (rewrite(lambda found: found[:-1]), "captions-00001.safetensors: is short"),
    "a byte": (
        rewrite(lambda found: found[:-1] + bytes([found[-1] ^ 1])),
        "captions-00001.safetensors: was changed since it was written; copy it again",
    ),
    "gone": (lambda f: (f / "captions-00001.safetensors").unlink(), "no such file"),
    "newer": (lambda f: changed(f, version="2.0"), "captions.json: version '2.0' is none of 1.x"),
    "another format": (lambda f: changed(f, format="x"), "expected format 'temporal-nas/captions'"),
    "nowhere": (
        lambda f: changed(f, captions=[{"text": "", "shard": 1, "row": 2}]),
        "caption 0 has no text in a row",
    ),
    "no text": (lambda f: changed(f, captions=[3]), "caption 0 has no text in a row"),
    "no list": (lambda f: changed(f, captions={}), "captions must list texts"),
    "no sizes": (lambda f: changed(f, tokens="2"), "tokens and width must be sizes"),
    "no encoder": (lambda f: changed(f, text_encoder=[]), "text_encoder must be an object"),
    "elsewhere": (
        lambda f: changed(f, shards=[{"file": "../a", "sha256": "", "rows": 1}]),
        "'../a' is no file name",
    ),
    "no object": (lambda f: (f / "captions.json").write_text("[]"), "expected a JSON object"),
    "no JSON": (lambda f: (f / "captions.json").write_text("{"), "not valid JSON"),
    "no folder": (lambda f: f.rename(f.with_name("elsewhere")), "encoded: no such folder"),
    "left by git lfs": (
        lambda f: (f / "captions.json").write_bytes(LFS_POINTER),
        "captions.json: is a Git LFS pointer",
    ),
    "no captions": (lambda f: (f / "captions.json").unlink(), "encoded: has no contexts of captio"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_used_is_refused_in_one_line(
    case: str, bundle: Path, shards: Path, encoded: Path, call: Call
) -> None:
    change, says = CASES[case]
    change(encoded)
    code, printed, said = call(
        "train", bundle, "--data", shards, "--out", "run", "--text-contexts", encoded
    )
    assert (code, printed, said.count("\n")) == (2, "", 1), said
    assert says in said
    assert not Path("run").exists()


def test_contexts_of_another_width_are_refused(
    bundle: Path, shards: Path, tmp_path: Path, call: Call
) -> None:
    write_encoded(tmp_path / "wide", TEXTS, torch.zeros(len(TEXTS), 2, 8))
    train = ("train", bundle, "--data", shards, "--out", "run", "--text-contexts", "wide")
    code, printed, said = call(*train)
    assert (code, printed, said.count("\n")) == (2, "", 1), said
    assert "wide: validation has tokens of the context (2, 8), the bundle's network (2, 3)" in said
    assert not Path("run").exists()
