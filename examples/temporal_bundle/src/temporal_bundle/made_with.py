"""Provenance: what clips were made with, and so what a network that learned from them takes.

The block `made_with` stands in bundle.json (in `study`), in finetuned.json and in the index of
files of clips. What is not there is not known:

    asked_by      digits (one-hot contexts), captions, or nothing (contexts of zeros)
    autoencoder   name, sha256; scaling and shift of its latents; encodes: latents of a fixed
                  picture; shows: what it decodes those to; distilled: from another, whose scaled
                  latents it has
    text_encoder  name, sha256; states of the empty caption (empty) and of a fixed one (sentence)
    fps           frames a second

Two of them are told apart by what they compute, not by hashes: the same weights in another
precision are other bytes, and another decoder of the same latents may serve.
"""

import math
from collections.abc import Sequence

from temporal_bundle.errors import BundleError
from temporal_bundle.manifest import Json, one_line

MADE_WITH = "made_with"
ASKED_BY, AUTOENCODER, TEXT_ENCODER, FPS = "asked_by", "autoencoder", "text_encoder", "fps"
SCALING, SHIFT, DISTILLED = "scaling", "shift", "distilled"
ENCODES, SHOWS = "encodes", "shows"
EMPTY, SENTENCE = "empty", "sentence"
DIGITS, CAPTIONS, NOTHING = "digits", "captions", "nothing"
# By their spread, latents of autoencoders that were trained apart are 0.7 to 2 apart, on the same
# films as well; of the same weights in bfloat16 0.005. Their decoders show pictures that are 0.47
# to 0.7 apart where they learned from the same films, 1.2 to 2.7 else; distilled ones 0.21 to 0.27.
LATENTS_APART, PICTURES_APART = 0.4, 0.35
STATES_APART = 0.05  # of a number, and beside it: bfloat16 changes 0.006, another token 0.8
SCALES_APART = 1e-6
MOST_FPS = 1000
LARGEST = 1e30  # of a number

Rows = Sequence[Sequence[float]]


def made_with(document: Json, where: object) -> Json:
    """The block of a document, with all that is known of it right; empty where there is none.

    Raises:
        BundleError: it was changed into something else.
    """
    try:
        found = _object(document, MADE_WITH)
        _check(found)
    except ValueError as error:
        raise BundleError(f"{where}: {MADE_WITH}: {error}; make it again") from None
    return found


def difference(learned: Json, given: Json) -> str | None:
    """What was another one, in words; None where nothing that both of two blocks know differs."""
    ways = [each.get(ASKED_BY) for each in (learned, given)]
    if None not in ways and ways[0] != ways[1]:
        return f"clips that are asked for by {ways[0]}, not by {ways[1]}"
    for name, words, other in (
        (AUTOENCODER, "autoencoder", other_autoencoder),
        (TEXT_ENCODER, "text encoder", other_text_encoder),
    ):
        was, now = (each.get(name, {}) for each in (learned, given))
        if other(was, now):
            called = [one_line(str(each["name"]))[:60] for each in (was, now) if "name" in each]
            named = f" ({called[0]!r}, not {called[1]!r})" if len({*called}) == 2 else ""
            return f"another {words}{named}"
    return None


def other_autoencoder(was: Json, now: Json) -> bool:
    """Whether two scale their latents otherwise, or have others of the same picture.

    One that was distilled has its teacher's latents, scaled already.
    """
    names = [name for name in (SCALING, SHIFT) if name in was and name in now]
    distilled = was.get(DISTILLED) or now.get(DISTILLED)
    if not distilled and any(abs(was[name] - now[name]) > SCALES_APART for name in names):
        return True
    both = ENCODES in was and ENCODES in now
    return both and _apart(was[ENCODES], now[ENCODES]) > LATENTS_APART


def other_picture(was: Json, shown: Sequence[float] | None) -> bool:
    """Whether another decoder, given the latents that one `encodes`, shows another picture of them.

    Args:
        was: of the one.
        shown: by the other; None where it takes no such latents.
    """
    return SHOWS in was and (shown is None or _apart(was[SHOWS], shown) > PICTURES_APART)


def other_text_encoder(was: Json, now: Json) -> bool:
    """Whether two say something else of a caption that both were asked about."""
    both = [name for name in (EMPTY, SENTENCE) if name in was and name in now]
    return any(_states_differ(was[name], now[name]) for name in both)


def _apart(one: Sequence[float], two: Sequence[float]) -> float:
    """How far apart two rows of numbers are, as a share of what varies in them."""
    if len(one) != len(two) or not one:
        return math.inf
    varies = sum(math.dist(each, [sum(each) / len(each)] * len(each)) for each in (one, two)) / 2
    return math.dist(one, two) / varies if varies else math.inf


def _states_differ(one: Rows, two: Rows) -> bool:
    if [len(row) for row in one] != [len(row) for row in two]:
        return True
    pairs = (pair for rows in zip(one, two, strict=True) for pair in zip(*rows, strict=True))
    return any(abs(now - was) > STATES_APART * (1 + abs(was)) for was, now in pairs)


def _check(found: Json) -> None:
    """Hold what is known by name against what it must be; ValueError in words."""
    if ASKED_BY in found and found[ASKED_BY] not in (DIGITS, CAPTIONS, NOTHING):
        raise ValueError(f"{ASKED_BY} must be {DIGITS}, {CAPTIONS} or {NOTHING}")
    if FPS in found and not 0 < _number(found[FPS], FPS) <= MOST_FPS:
        raise ValueError(f"{FPS} must be above 0, and {MOST_FPS} at most")
    coder, text = (_object(found, name) for name in (AUTOENCODER, TEXT_ENCODER))
    for name in (SCALING, SHIFT):
        _number(coder.get(name, 0), name)
    if not isinstance(coder.get(DISTILLED, False), bool):
        raise ValueError(f"{DISTILLED} must be true or false")  # noqa: TRY004
    for name in (ENCODES, SHOWS):
        _numbers(coder.get(name, []), name)
    for name in (EMPTY, SENTENCE):
        for row in _list(text.get(name, []), name):
            _numbers(row, name)


def _object(document: Json, name: str) -> Json:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004  # caught by whoever asked
    return found


def _list(found: object, name: str) -> list[object]:
    if not isinstance(found, list):
        raise ValueError(f"{name} must be a list of numbers")  # noqa: TRY004
    return found


def _numbers(found: object, name: str) -> None:
    for each in _list(found, name):
        _number(each, name)


def _number(found: object, name: str) -> float:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if not is_number or not -LARGEST < found < LARGEST:  # type: ignore[operator]
        raise ValueError(f"{name} must hold numbers, found {one_line(repr(found))[:40]}")
    return float(found)  # type: ignore[arg-type]
