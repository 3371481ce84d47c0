"""A tiny CLIP text encoder whose vocabulary has the words of our captions, each a token.

    python -m examples.captioned_digits.text FOLDER

Its weights are random and frozen, so it knows no English: a network has to learn what its states of
"three" mean, as it has to learn what a one-hot token means. The folder is what `--text-encoder`
takes; in memory the same encoder needs no tokenizers library.
"""

import argparse
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from examples.tiny_text_encoder import BEGIN, END, pieces, tiny_model, vocabulary, write_pipeline
from nas.sampling.prompts import NAMES
from supernet.text.clip_text import ClipTextConfig
from supernet.text.clip_tokenizer import ClipTokenizer
from supernet.text.opening import ClipTextEncoder

# The first digit lies over the second.
PAIRS = (
    "{} and {}, moving",
    "moving digits: {} and {}",
    "{} in front of {}",
    "{} that hides {}",
)
ALONE = ("{}, moving", "a moving digit: {}", "nothing but {}", "{}")
WORDS = (
    *NAMES, "a", "an", "and", "moving", "digit", "digits", "in", "front", "of", "that", "hides",
    "nothing", "but",
)  # fmt: skip
TOKENS, WIDTH = 12, 32
CONFIG = ClipTextConfig(
    vocab_size=len(vocabulary(WORDS)[0]), hidden_size=WIDTH, intermediate_size=64,
    num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=TOKENS,
)  # fmt: skip
WORD = re.compile(r"[^\W\d_]+|\d|[^\s\w]+")  # as CLIP splits plain English


def said(digits: tuple[int, ...], phrasing: int) -> str:
    """The caption of one or two digits, in one of the phrasings."""
    named = [f"{'an' if NAMES[digit] == 'eight' else 'a'} {NAMES[digit]}" for digit in digits]
    return (ALONE if len(named) == 1 else PAIRS)[phrasing].format(*named)


@dataclass(frozen=True)
class _Ids:
    ids: list[int]


class _BytePairs:
    """What `ClipTokenizer` asks of the tokenizers library, of plain English."""

    def __init__(self) -> None:
        self.tokens, self.merges = vocabulary(WORDS)

    def encode(self, text: str, *, add_special_tokens: bool) -> _Ids:
        assert not add_special_tokens
        words = WORD.findall(text.lower())
        return _Ids([self.tokens[part] for word in words for part in pieces(word, self.merges)])

    def get_vocab(self, *, with_added_tokens: bool) -> dict[str, int]:
        assert with_added_tokens
        return self.tokens


@functools.cache
def text_encoder() -> ClipTextEncoder:
    """The encoder in memory; that of `write_text_encoder` gives the same states."""
    pairs = _BytePairs()
    begin, end = (pairs.tokens[word] for word in (BEGIN, END))
    return ClipTextEncoder(tiny_model(CONFIG), ClipTokenizer(pairs, begin, end, end, TOKENS))


def write_text_encoder(folder: Path) -> Path:
    """Write the encoder as a folder of diffusers has it."""
    return write_pipeline(folder, CONFIG, WORDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    print(write_text_encoder(parser.parse_args().folder))
