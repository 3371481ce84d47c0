"""What clips were made with: told apart by what it computes, and read whatever stands there."""

import math
import re
from pathlib import Path

import pytest

from temporal_bundle import BundleError, open_bundle
from temporal_bundle.made_with import Json, difference, made_with, other_picture
from temporal_bundle.testing import write_manifest, write_toy, write_tuning

PICTURE = [0.1, -0.5, 0.4, 0.3, -0.2, 0.7]
OTHER = [-0.3, 0.2, 0.6, -0.4, 0.5, -0.1]
STATES = [[0.5, -1.0], [1.5, 0.2]]


def nearly(numbers: list[float]) -> list[float]:
    """As in another precision."""
    return [number * 1.004 + 0.002 for number in numbers]


def apart(share: float) -> list[float]:
    """As far from PICTURE as this share of what varies in it."""
    mean = sum(PICTURE) / len(PICTURE)
    spread = math.dist(PICTURE, [mean] * len(PICTURE))
    return [number + share * spread / len(PICTURE) ** 0.5 for number in PICTURE]


def coder(**changes: object) -> Json:
    own = {"name": "a", "scaling": 0.18215, "shift": 0.0, "encodes": PICTURE, "shows": PICTURE}
    return {"autoencoder": own | changes}


def text(**changes: object) -> Json:
    return {"text_encoder": {"name": "a", "empty": STATES, "sentence": STATES} | changes}


@pytest.mark.parametrize(
    ("learned", "given", "says"),
    [
        (coder(), coder(encodes=nearly(PICTURE), name="half", sha256="1"), None),
        (coder(), coder(encodes=apart(0.38)), None),
        (coder(), coder(encodes=apart(0.42)), "another autoencoder"),
        (coder(), coder(encodes=OTHER, name="b"), "another autoencoder ('a', not 'b')"),
        (coder(), coder(scaling=0.13025), "another autoencoder"),
        (coder(scaling=1.0), coder(scaling=1.5305), "another autoencoder"),
        (coder(), coder(encodes=[]), "another autoencoder"),
        (coder(), coder(scaling=1.0, distilled=True), None),
        (coder(scaling=1.0, distilled=True), coder(), None),
        (coder(), coder(scaling=1.0, distilled=True, encodes=OTHER), "another autoencoder"),
        (coder(), {"autoencoder": {"scaling": 0.18215}}, None),
        (coder(), {}, None),
        (text(), text(sentence=[nearly(row) for row in STATES]), None),
        (text(), text(sentence=STATES[::-1]), "another text encoder"),
        (text(), {"text_encoder": {"empty": STATES}}, None),
        (text(), {"text_encoder": {"empty": STATES[:1]}}, "another text encoder"),
        ({"asked_by": "digits"}, {"asked_by": "nothing"}, "asked for by digits, not by nothing"),
        ({"asked_by": "digits", "fps": 8}, {"fps": 24}, None),
    ],
)
def test_two_are_told_apart_where_both_are_known(
    learned: Json, given: Json, says: str | None
) -> None:
    found = difference(learned, given)
    assert found is None if says is None else says in str(found)


def test_another_decoder_may_show_nearly_the_same() -> None:
    was = coder()["autoencoder"]
    assert not other_picture(was, nearly(PICTURE))
    assert not other_picture(was, apart(0.33))
    assert other_picture(was, apart(0.37))
    assert other_picture(was, PICTURE[:3])
    assert other_picture(was, None)
    assert not other_picture({}, PICTURE), "not known"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "made_with must be an object"),
        ({"asked_by": ["digits"]}, "asked_by must be digits, captions or nothing"),
        ({"autoencoder": None}, "autoencoder must be an object"),
        (coder(scaling="1"), "scaling must hold numbers, found '1'"),
        (coder(encodes=[10**400]), "encodes must hold numbers"),
        (coder(shows="blue"), "shows must be a list of numbers"),
        (coder(distilled=1), "distilled must be true or false"),
        (text(empty=[0.5]), "empty must be a list of numbers"),
        (text(sentence=[[True]]), "sentence must hold numbers, found True"),
        ({"fps": 0}, "fps must be above 0"),
    ],
)
def test_what_somebody_wrote_there_is_refused_in_a_line(found: object, says: str) -> None:
    with pytest.raises(BundleError, match=re.escape(says)) as caught:
        made_with({"made_with": found}, "bundle.json")
    assert str(caught.value).startswith("bundle.json: made_with")
    assert "\n" not in str(caught.value)


def test_tuned_weights_know_what_they_were_tuned_on(tmp_path: Path) -> None:
    write_toy(tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle").made_with() == {}, "an older one is read"
    study = {"space": {}, "made_with": {"asked_by": "captions", "fps": 24}}
    write_manifest(tmp_path / "bundle", study=study)
    write_tuning(tmp_path / "bundle", made_with={**coder(), "fps": 12})
    opened = open_bundle(tmp_path / "bundle")
    assert opened.made_with("searched") == study["made_with"]
    assert opened.made_with() == {"asked_by": "captions", "fps": 12, **coder()}
