"""Captions of films in shards: the text of `.txt`, or of `.json` its `text` or its `caption`.

The first that is not empty counts; `null` and blank texts say nothing. JSON may also be a text
itself, and have a list of texts in place of one, of which the first that is not empty counts.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from search_spaces import InputError
from supernet.data.captions import plain

TEXT, JSON = ".txt", ".json"
SUFFIXES = (TEXT, JSON)  # in the order in which they are asked
FIELDS = ("text", "caption")  # of JSON, likewise
MOST_BYTES = 1_000_000  # of a text or JSON beside a film, which may tell more than the caption
ADVICE = "in a .tar, put NAME.txt or NAME.json (with text or caption) beside each"


def caption_of(
    film: str, names: Sequence[str], read: Callable[[str], bytes], where: str
) -> str | None:
    """What is written beside a film; None where nothing is.

    Args:
        film: its name.
        names: of the files of its sample.
        read: what a file holds; no more than one byte beyond `MOST_BYTES` is needed.
        where: the files are.

    Raises:
        InputError: a file that is no caption, or two that say different things.
    """
    # `0.json` tells more of `0.mp4` than `0.speech.txt` does, which may be of something else.
    for own in (True, False):
        for suffix in SUFFIXES:
            said: dict[str, str] = {}
            for name in names:
                if _is(name, suffix) and (_stem(name) == _stem(film)) is own:
                    with nullcontext() if own else suppress(InputError):
                        text = _read(name, read(name), f"{where}: {name}")
                        said |= {text: name} if text else {}
            if said:
                return _only(said, f"{where}: {film}")
    return None


def _only(said: dict[str, str], film: str) -> str:
    if len(said) > 1:
        first, second, *_ = said.values()
        raise InputError(f"{film} has two captions, by {first} and {second}; keep one")
    return next(iter(said))


def is_caption(name: str) -> bool:
    """Whether a file may hold a caption, by its name."""
    return name.lower().endswith(SUFFIXES)


def is_json(name: str) -> bool:
    """Whether a file is JSON, by its name: it may also be of something else than a film."""
    return _is(name, JSON)


def _is(name: str, suffix: str) -> bool:
    return name.lower().endswith(suffix)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _read(name: str, content: bytes, where: str) -> str | None:
    """The caption that a file holds."""
    if len(content) > MOST_BYTES:
        raise InputError(f"{where}: is no caption: has more than {MOST_BYTES} bytes; take it out")
    try:
        text: Any = content.decode("utf-8-sig")
        if is_json(name):
            text = json.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: cannot be read as UTF-8: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON: {error}") from None
    if not isinstance(text, dict):
        return _said(text, where)
    return next((said for field in FIELDS if (said := _said(text.get(field), where))), None)


def _said(value: Any, where: str) -> str | None:
    """A text, or the first of several, that is not empty."""
    texts = value if isinstance(value, list) else [value]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise InputError(
            f"{where}: a caption must be a text or a list of texts; found {repr(value)[:40]}"
        )
    return next((said for text in texts if text and (said := plain(text, where))), None)
