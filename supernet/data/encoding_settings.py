"""In what two encodings differ, in words: of a folder that is there and of one that is wanted."""

import re

from search_spaces.files.document import Json
from supernet.autoencoders.pixel_space import CHANNELS

WORDS = {
    "text_encoder": "text encoder", "uncaptioned": "choice for films without a caption",
    "shard_mb": "size of a shard of captions in MB",
}  # fmt: skip
SHA256 = re.compile("[0-9a-f]{64}")


def differing(found: Json, wanted: Json) -> str:
    """Such as "with height 8, not 16 and without captions", of settings that are not the same."""
    names = [name for name in found | wanted if found.get(name) != wanted.get(name)]
    said = []
    if ("text_encoder" in found) != ("text_encoder" in wanted):
        names = [name for name in names if name not in WORDS]
        said = ["with captions" if "text_encoder" in found else "without captions"]
    return " and ".join([*(_changed(name, found, wanted) for name in names), *said])


def _changed(name: str, found: Json, wanted: Json) -> str:
    was, now = found.get(name), wanted.get(name)
    word = WORDS.get(name, name)
    if any(SHA256.fullmatch(str(each)) for each in (was, now)):
        return f"with another {word}"
    if {str(was), str(now)} <= set(CHANNELS):
        word = "pixels"
    was, now = ("none" if each is None else each for each in (was, now))
    return f"with {word} {was}, not {now}"
