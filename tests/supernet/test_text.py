"""Text encoders: what transformers answers, from folders of which nothing is executed."""

import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from examples.tiny_text_encoder import CONFIG, write_model, write_pipeline, write_tokenizer
from search_spaces import InputError
from supernet.text.clip_text import open_clip_text
from supernet.text.clip_tokenizer import open_tokenizer
from supernet.text.opening import open_text_encoder, text_encoder_sha256
from temporal_bundle.closeness import check_close

TEXTS = [
    "", "The red one", "the  RED\tone", "don't they've 42 cats!?",
    "na\u00efve cafe\u0301 \u65e5\u672c \U0001f600",
    "the one and the red one and the one", "<|endoftext|> the",
]  # fmt: skip
WEIGHTS = "model.safetensors"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    pytest.importorskip("tokenizers")
    return write_pipeline(tmp_path / "pipeline")


@pytest.mark.slow
@pytest.mark.kernels
@pytest.mark.parametrize("pad", [None, "!"])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_states_are_those_of_transformers(tmp_path: Path, pad: str | None, activation: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder = write_model(tmp_path, replace(CONFIG, hidden_act=activation))
    write_tokenizer(folder, pad=pad)
    theirs = transformers.CLIPTextModel.from_pretrained(folder).eval()
    words = transformers.CLIPTokenizer.from_pretrained(folder)
    ids = words(
        TEXTS, padding="max_length", max_length=12, truncation=True, return_tensors="pt"
    ).input_ids
    own = open_text_encoder(folder)
    with torch.no_grad():
        check_close(own.encode(TEXTS), theirs(ids).last_hidden_state)
    assert (own.tokens, own.width) == (12, 16)
    words.save_pretrained(tmp_path / "whole")  # as tokenizer.json
    assert (tmp_path / "whole" / "tokenizer.json").exists()
    write_model(tmp_path / "whole", replace(CONFIG, hidden_act=activation))
    assert torch.equal(open_text_encoder(tmp_path / "whole").encode(TEXTS), own.encode(TEXTS))
    theirs.save_pretrained(tmp_path / "saved")  # without the prefix
    check_close(open_clip_text(tmp_path / "saved")(ids), open_clip_text(folder)(ids))


BEGIN, END = "<|startoftext|>", "<|endoftext|>"
EXCLAIMED = ["", "! the", "the one!", "one!!red", "<|ENDOFTEXT|> the", "the <x> <X>one"]


def token(word: str, **flags: bool) -> dict[str, object]:
    every = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": word, **every, **flags}


NORMALIZED = {
    "bos_token": token(BEGIN, normalized=True), "eos_token": token(END, normalized=True),
}  # fmt: skip
LISTED = {"0": token("!"), "520": token(BEGIN, normalized=True), "521": token(END, normalized=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "special"),
    [
        ({"pad_token": END}, {**NORMALIZED, "pad_token": "!"}),  # Stable Diffusion 2's
        ({"pad_token": "!", "added_tokens_decoder": LISTED}, {"pad_token": "!"}),  # XL's second
        ({"pad_token": END, "added_tokens_decoder": LISTED}, {"pad_token": "!"}),
        ({"added_tokens_decoder": {"521": LISTED["521"], "522": token("<x>", lstrip=True)}}, None),
        ({"additional_special_tokens": ["<x>"]}, {"pad_token": token("!")}),
    ],
)
def test_special_tokens_are_those_of_transformers(
    tmp_path: Path, config: dict[str, object], special: dict[str, object] | None
) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    folder = write_tokenizer(tmp_path / "two files")
    config |= json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if special is not None:
        (folder / "special_tokens_map.json").write_text(json.dumps(special))
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "whole")
    own = theirs(EXCLAIMED, padding="max_length", max_length=12, truncation=True).input_ids
    for made in (folder, tmp_path / "whole"):
        assert open_tokenizer(made, 12).ids(EXCLAIMED).tolist() == own


def test_folders_as_people_have_them(pipeline: Path, tmp_path: Path) -> None:
    whole = open_text_encoder(pipeline)
    states = whole.encode(TEXTS)
    assert states.shape == (7, 12, 16)
    assert states.dtype == torch.float32
    assert torch.equal(states[1], states[2]), "letters' case and spaces do not count"
    assert whole.encode([]).shape == (0, 12, 16)
    assert torch.equal(open_text_encoder(pipeline / "text_encoder").encode(TEXTS), states)
    both = write_tokenizer(write_model(tmp_path / "both"))
    assert torch.equal(open_text_encoder(both).encode(TEXTS), states)
    # A whole CLIP: text beside images, and what follows the text's states.
    config = json.loads((both / "config.json").read_text())
    (both / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": config}))
    weights = load_file(both / WEIGHTS)
    others = ("vision_model.post_layernorm.weight", "text_projection.weight", "logit_scale")
    weights |= {name: torch.zeros(3) for name in others}
    weights["text_model.embeddings.position_ids"] = torch.arange(12)[None]
    save_file(weights, both / WEIGHTS)
    assert torch.equal(open_text_encoder(both).encode(TEXTS), states)
    assert text_encoder_sha256(pipeline) == text_encoder_sha256(pipeline / "text_encoder")
    assert text_encoder_sha256(both) != text_encoder_sha256(pipeline)


def test_what_is_beyond_the_limit_is_not_seen(pipeline: Path) -> None:
    encoder = open_text_encoder(pipeline)
    most, more = " ".join(["the"] * 10), " ".join(["the"] * 11)
    assert [encoder.is_cut(text) for text in ("", most, more)] == [False, False, True]
    assert torch.equal(encoder.encode([most]), encoder.encode([more]))
    write_tokenizer(pipeline / "tokenizer", length=6)
    shorter = open_text_encoder(pipeline)
    assert (shorter.tokens, shorter.is_cut(most)) == (6, True)


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was opened')",)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"vocab_size": 500}, "up to number 521, and the text model's embedding ends at 499"),
        ({"vocab_size": 1100}, "up to number 521 of the 1100 that the text model knows; give the"),
        ({"eos_token_id": 520}, "ends a text by token 521, and the text model by 520; give the"),
        ({"eos_token_id": 521}, None),
        ({"eos_token_id": -1}, None),
        ({"eos_token_id": 2}, None),  # CLIP's own files say so
        ({"eos_token_id": 49407}, None),  # transformers' default, whatever the vocabulary
    ],
)
def test_a_tokenizer_of_another_model_is_refused(
    pipeline: Path, changes: dict[str, int], match: str | None
) -> None:
    model = pipeline / "text_encoder"
    config, weights = json.loads((model / "config.json").read_text()), load_file(model / WEIGHTS)
    name = "text_model.embeddings.token_embedding.weight"
    rows = changes.get("vocab_size", len(weights[name]))
    save_file({**weights, name: torch.zeros(rows, 16)}, model / WEIGHTS)
    (model / "config.json").write_text(json.dumps({**config, **changes}))
    if match is None:
        open_text_encoder(pipeline)
    else:
        with pytest.raises(InputError, match=match):
            open_text_encoder(pipeline)


def test_folders_that_are_no_text_encoder_are_refused(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, words = pipeline / "text_encoder", pipeline / "tokenizer"
    config = json.loads((model / "config.json").read_text())
    weights = load_file(model / WEIGHTS)

    def refused(match: str, folder: Path = pipeline, **changes: object) -> None:
        (model / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(InputError, match=match) as caught:
            open_text_encoder(folder)
        assert "\n" not in str(caught.value)

    refused("no text encoder \\(config.json is missing\\)", words)
    refused("is a model of type 't5'; a clip_text_model is needed", model_type="t5")
    refused("hidden_size: expected a whole number from 1", hidden_size="wide")
    refused("num_hidden_layers: expected a whole number from 1", num_hidden_layers=1 << 40)
    refused("hidden_size 16 does not divide by 3 heads", num_attention_heads=3)
    refused("hidden_act must be one of", hidden_act="tanh")
    refused("embeddings.token_embedding.weight' has shape", hidden_size=32)

    def save(**changes: torch.Tensor) -> None:
        changed = {f"text_model.{name.replace('__', '.')}": t for name, t in changes.items()}
        save_file({**weights, **changed}, model / WEIGHTS)

    save(final_layer_norm__bias=torch.full((16,), torch.nan))
    refused("holds NaN or infinity")
    (model / WEIGHTS).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid")
    refused("is a Git LFS pointer")
    (model / WEIGHTS).unlink()
    refused("has no weights; model.safetensors or model.safetensors.index.json is needed")
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    refused("a pickle, which may run code")
    save_file(weights, model / WEIGHTS)
    vocabulary = json.loads((words / "vocab.json").read_text())
    others = {word: number for word, number in vocabulary.items() if word != "<|startoftext|>"}
    (words / "vocab.json").write_text(json.dumps(others))
    refused("has no token '<|startoftext|>'; it is no tokenizer of CLIP's")
    (words / "vocab.json").write_text("{")
    refused("vocab.json: no tokenizer: ")
    (words / "vocab.json").unlink()
    refused("vocab.json: no such file; a tokenizer is tokenizer.json, or vocab.json and merges.txt")
    write_tokenizer(words)
    (words / "tokenizer_config.json").write_text("{")
    refused("tokenizer_config.json: not valid JSON")
    for tokens in ({"x": {"content": "!"}}, ["!"]):
        (words / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": tokens}))
        refused("added_tokens_decoder must list tokens by their ids")
    (words / "tokenizer_config.json").write_text(json.dumps({"pad_token": 3}))
    refused("tokenizer: 3 is no special token")
    write_tokenizer(words)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused("pip install 'temporal-nas\\[text\\]'")
