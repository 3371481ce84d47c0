"""Prompts as the context that a network takes: by a text encoder, or of digits by their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from nas.bundle import Bundle
from nas.bundle.made_with import check_text_encoder
from search_spaces import InputError
from supernet.data.captions import plain
from supernet.data.digits import CLASSES

if TYPE_CHECKING:
    from supernet.text.opening import ClipTextEncoder

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUMERAL = re.compile(rf"\b(?:[0-9]|{'|'.join(NAMES)})\b", re.IGNORECASE)
MOST_DIGITS = 2


class Asker(Protocol):
    """Turns prompts into contexts."""

    def contexts(self, prompts: Sequence[str]) -> Tensor:
        """The contexts (N, L, C); InputError for a prompt that nothing can be made of."""
        ...

    def empty(self) -> Tensor:
        """The context (L, C) that asks for nothing."""
        ...

    def cut(self, prompts: Sequence[str]) -> list[str]:
        """Those whose end is not seen, as they are too long."""
        ...


@dataclass(frozen=True)
class Digits:
    """Asks moving digits by one-hot tokens: of the digits that a prompt names, in their order."""

    def contexts(self, prompts: Sequence[str]) -> Tensor:
        """The contexts (N, 2, 10)."""
        return torch.stack([self._context(prompt) for prompt in prompts])

    def _context(self, prompt: str) -> Tensor:
        named = [_digit(word) for word in NUMERAL.findall(prompt)]
        if len(named) > MOST_DIGITS or (prompt.strip() and not named):
            raise InputError(
                f"prompt {prompt[:60]!r}: names {len(named)} digits; this network was trained to "
                "show one or two, as 'a three and a 5'"
            )
        found = torch.zeros(MOST_DIGITS, CLASSES)
        for token, digit in enumerate(named):
            found[token, digit] = 1.0
        return found

    def empty(self) -> Tensor:
        """Zeros."""
        return torch.zeros(MOST_DIGITS, CLASSES)

    def cut(self, prompts: Sequence[str]) -> list[str]:
        """None."""
        return []


@dataclass(frozen=True)
class Nothing:
    """Asks a network that learned without captions: by zeros, as all of its clips were.

    Args:
        shape: (L, C) of a context.
    """

    shape: tuple[int, int]

    def contexts(self, prompts: Sequence[str]) -> Tensor:
        """Zeros (N, L, C)."""
        if asked := next((prompt for prompt in prompts if prompt.strip()), None):
            raise InputError(
                f"prompt {asked[:60]!r}: the network learned without captions, and nothing can be "
                'asked of it; give `prompt=""`'
            )
        return torch.zeros(len(prompts), *self.shape)

    def empty(self) -> Tensor:
        """Zeros."""
        return torch.zeros(self.shape)

    def cut(self, prompts: Sequence[str]) -> list[str]:
        """None."""
        return []


class Texts:
    """Asks by the token states of a text encoder, as `nas encode` stores those of captions."""

    def __init__(self, encoder: "ClipTextEncoder", device: str = "cpu") -> None:
        self._encoder = encoder
        self._encoder.to(torch.device(device))

    def contexts(self, prompts: Sequence[str]) -> Tensor:
        """The contexts (N, L, C)."""
        return self._encoder.encode(prompts)

    def empty(self) -> Tensor:
        """The empty prompt's."""
        return self._encoder.encode([""])[0]

    def cut(self, prompts: Sequence[str]) -> list[str]:
        """Those that are longer than what is encoded."""
        return [prompt for prompt in prompts if self._encoder.is_cut(prompt)]


def opened_text_encoder(folder: Path, bundle: Bundle) -> "ClipTextEncoder":
    """The text encoder of a bundle's contexts.

    Raises:
        InputError: none there, of other tokens than the network's context, or another than the
            captions of its clips were encoded by.
    """
    from supernet.text.opening import open_text_encoder

    encoder = open_text_encoder(folder)
    found, context_shape = (encoder.tokens, encoder.width), bundle.opened.context_shape
    if found != context_shape:
        raise InputError(
            f"{folder}: makes {found[0]} tokens of {found[1]} channels, and the bundle's network "
            f"takes {context_shape[0]} of {context_shape[1]}; give the text encoder that its clips "
            "were encoded by"
        )
    check_text_encoder(bundle, folder, encoder)
    return encoder


def read_prompts(prompts: Sequence[str], file: Path | None) -> list[str]:
    """Prompts as given, then those of a file, one a line; empty lines are left out.

    Raises:
        InputError: no prompt at all, or a file that is no text.
    """
    found = [plain(prompt, "the prompt") for prompt in prompts]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: is no file of prompts: {error}") from None
        found += [plain(line, str(file)) for line in lines if line.strip()]
    if not found:
        raise InputError("say what to make: `prompt=TEXT`, or `prompt_file=FILE` with one a line")
    return found


def _digit(word: str) -> int:
    return int(word) if word.isdigit() else NAMES.index(word.lower())
