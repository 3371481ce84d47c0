"""Refusals name the settings that are others, as people gave them."""

import pytest

from search_spaces.files.document import Json
from supernet.data.encoding_settings import differing

FOUND: Json = {"autoencoder": "a" * 64, "height": 8, "fps": None}
CAPTIONS: Json = {"text_encoder": "b" * 64, "uncaptioned": "zeros", "shard_mb": 256.0}


@pytest.mark.parametrize(
    ("found", "wanted", "says"),
    [
        (FOUND, FOUND | {"height": 9, "fps": 12}, "with height 8, not 9 and with fps none, not 12"),
        (FOUND, FOUND | {"autoencoder": "c" * 64}, "with another autoencoder"),
        (FOUND, FOUND | CAPTIONS, "without captions"),
        (FOUND | CAPTIONS, FOUND, "with captions"),
        (CAPTIONS, CAPTIONS | {"text_encoder": "c" * 64}, "with another text encoder"),
        ({"autoencoder": "grey"}, {"autoencoder": "rgb"}, "with pixels grey, not rgb"),
        ({"autoencoder": "grey"}, {"autoencoder": "a" * 64}, "with another autoencoder"),
        ({"height": [8]}, {"height": 8}, "with height [8], not 8"),  # edited by hand
    ],
)
def test_what_differs_is_named(found: Json, wanted: Json, says: str) -> None:
    assert differing(found, wanted) == says
