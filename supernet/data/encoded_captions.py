"""Captions that `nas encode` encoded: `captions.json`, and token states in safetensors shards.

`captions.json` lists each caption once, with the shard and the row of its states; a shard holds
`states` (rows, tokens, width) in float16. Number 0 is the empty caption, which is what guidance
takes for a context that says nothing. Rows are read from the files as clips need them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from search_spaces import InputError
from search_spaces.files.document import Json, read
from supernet.data.whole_files import NamedFile, named_file

INDEX, FORMAT, MAJOR = "captions.json", "temporal-nas/captions", 1
TENSOR = "states"
EMPTY = 0
KEPT_ROWS = 256  # 30 MB of 77 x 768


def states_key(states_LC: Tensor) -> str:
    """What tells token states from others, as they are stored: in float16."""
    return sha256(states_LC.half().contiguous().numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class EncodedCaptions:
    """The captions beside latents; a shard of which bytes were changed is refused when it is used.

    Args:
        folder: as `nas encode` wrote it.
        index: what `captions.json` holds.

    Raises:
        InputError: damaged files, or an index that contradicts them.
    """

    folder: Path
    index: Json

    def __post_init__(self) -> None:
        if not self._places or self.text(EMPTY):
            raise self._damaged("has no empty caption as number 0")
        for number, (shard, row) in enumerate(self._places):
            if not 0 <= shard < len(self._rows) or not 0 <= row < self._rows[shard]:
                raise self._damaged(f"caption {number} is in no row of a shard")

    @classmethod
    def open(cls, folder: Path) -> "EncodedCaptions":
        """The captions in a folder."""
        return cls(folder, read(folder / INDEX, FORMAT, MAJOR))

    def __len__(self) -> int:
        return len(self._places)

    @property
    def tokens(self) -> int:
        """States of a caption."""
        return self._size("tokens")

    @property
    def width(self) -> int:
        """Channels of a state."""
        return self._size("width")

    @property
    def empty(self) -> Tensor:
        """States of the empty caption."""
        return self.states(EMPTY)

    def text(self, number: int) -> str:
        """A caption, as it was read."""
        return self._texts[number]

    def states(self, number: int) -> Tensor:
        """States of a caption (tokens, width) in float32."""
        shard, row = self._places[number]
        return _row(self._shards[shard], row).float()

    def number_of(self, states_LC: Tensor) -> int | None:
        """Which caption has these states: the first of several; None where none has."""
        return self._numbers.get(states_key(states_LC))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, each in enumerate(self.index["captions"]):
            found.setdefault(each.get("states"), number)
        return found

    @cached_property
    def _texts(self) -> list[str]:
        texts = [text for each in self._listed if isinstance(text := each.get("text"), str)]
        if len(texts) < len(self._listed):
            raise self._damaged("lists a caption without a text")
        return texts

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        places = []
        for each in self._listed:
            shard, row = each.get("shard"), each.get("row")
            if type(shard) is not int or type(row) is not int:
                raise self._damaged("lists a caption without a place")
            places.append((shard, row))
        return places

    @cached_property
    def _listed(self) -> list[Json]:
        listed = self.index.get("captions")
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise self._damaged("lists no captions")
        return listed

    @cached_property
    def _shards(self) -> list[NamedFile]:
        listed = self.index.get("shards")
        if not isinstance(listed, list):
            raise self._damaged("lists no shards")
        return [named_file(self.folder, each, INDEX) for each in listed]

    @cached_property
    def _rows(self) -> list[int]:
        found = []
        for shard in self._shards:
            path = shard.path
            try:
                with safe_open(path, framework="pt") as file:
                    rows, *size = file.get_slice(TENSOR).get_shape()
            except (OSError, SafetensorError, ValueError) as error:
                raise InputError(f"{path}: holds no token states: {error}") from None
            if size != [self.tokens, self.width]:
                raise InputError(f"{path}: holds other states than {INDEX} says; encode again")
            found.append(rows)
        return found

    def _size(self, name: str) -> int:
        found = self.index.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise self._damaged(f"{name} must be a whole number from 1; found {found!r}")
        return found

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self.folder / INDEX}: {what}; encode again")


@lru_cache(maxsize=KEPT_ROWS)
def _row(shard: NamedFile, row: int) -> Tensor:
    """A row of a shard, of which no more is read once its hash is known to be right."""
    path = shard.whole()
    try:
        with safe_open(path, framework="pt") as file:
            found: Tensor = file.get_slice(TENSOR)[row : row + 1][0]
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: can no longer be read: {error}") from None
    return found.to(torch.float16)
