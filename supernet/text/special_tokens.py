"""Special (added) tokens of a tokenizer, which are found in a text before it is split into words.

They stand in `tokenizer_config.json` and `special_tokens_map.json`, and count as transformers
counts them: where the first lists `added_tokens_decoder`, the second is passed over; else what the
second says of a token wins.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces import InputError

CONFIG, MAP = "tokenizer_config.json", "special_tokens_map.json"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
NAMED = {
    "bos_token": BEGIN, "eos_token": END, "unk_token": END, "sep_token": None, "pad_token": END,
    "cls_token": None, "mask_token": None,
}  # fmt: skip
LISTS = ("additional_special_tokens", "extra_special_tokens")
FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")

Tokens = dict[str, dict[str, bool]]


@dataclass(frozen=True)
class Notes:
    """What stands beside a vocabulary.

    Args:
        pad: the padding token as a word.
        length: of the longest text; None where nothing says it.
        listed: by the order of their ids, with the flags that the tokenizers library takes.
        named: likewise; what is listed, or what the tokenizer has already, keeps its flags.
    """

    pad: str
    length: int | None
    listed: Tokens
    named: Tokens


def read_notes(folder: Path) -> Notes:
    """The notes in a folder of a tokenizer, none of which has to be there.

    Raises:
        InputError: no JSON, or a token that is none.
    """
    config, listed = _document(folder / CONFIG), Tokens()
    if "added_tokens_decoder" in config:
        listed = _listed(folder / CONFIG, config["added_tokens_decoder"])
    else:
        config |= _document(folder / MAP)
    said = {name: config.get(name) or word for name, word in NAMED.items()}
    named = [token for token in said.values() if token is not None]
    for name in LISTS:
        named += found if isinstance(found := config.get(name), list) else []
    tokens = dict(_token(folder, token) for token in named)
    pad, _ = _token(folder, said["pad_token"])
    length = config.get("model_max_length")
    return Notes(
        pad=pad,
        length=length if isinstance(length, int) and length > 2 else None,
        listed=listed,
        named={word: {**flags, "special": True} for word, flags in tokens.items()},
    )


def add_special_tokens(library: Any, tokenizer: Any, notes: Notes) -> None:
    """Make a tokenizer of the tokenizers library find them in texts."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    new = {word: flags for word, flags in notes.named.items() if word not in known}
    for word, flags in {**notes.listed, **new, **notes.listed}.items():
        tokenizer.add_tokens([library.AddedToken(word, **flags)])


def _listed(path: Path, found: Any) -> Tokens:
    try:
        tokens = [found[number] for number in sorted(found, key=int)]
    except (TypeError, ValueError, KeyError):
        raise InputError(f"{path}: added_tokens_decoder must list tokens by their ids") from None
    return dict(_token(path, token) for token in tokens)


def _token(where: Path, found: Any) -> tuple[str, dict[str, bool]]:
    """A token and its flags, of which a word alone has none."""
    told = found if isinstance(found, dict) else {"content": found}
    word = told.get("content")
    if not isinstance(word, str) or not word:
        raise InputError(f"{where}: {repr(found)[:60]} is no special token")
    return word, {name: told[name] for name in FLAGS if isinstance(told.get(name), bool)}


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {error}") from None
    return found if isinstance(found, dict) else {}
