"""The space at full size, its twin, and their parameters."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from search_spaces import InputError, TemporalSpace, load
from search_spaces.shipped.loading import load_twin, twin_of


def space(name: str) -> TemporalSpace:
    found = load(name)
    assert isinstance(found, TemporalSpace)
    return found


def test_an_architecture_of_one_is_an_architecture_of_the_other() -> None:
    full, twin = space("snapgen_v"), space(str(twin_of("snapgen_v")))
    assert full.choices == twin.choices
    assert full.size == twin.size > 1e13
    rng = np.random.default_rng(0)
    for architecture in (full.sample(rng) for _ in range(20)):
        same = twin.architecture(dict(architecture))
        for slot, other in zip(full.slots, twin.slots, strict=True):
            assert str(full.block(architecture, slot)) == str(twin.block(same, other))


def test_slots_stand_at_three_resolutions() -> None:
    found = [(s.name, s.channels, s.height, s.frames) for s in space("snapgen_v").slots]
    assert found == [
        ("down0", 320, 64, 17),
        ("down1", 640, 32, 17),
        ("down2", 1280, 16, 17),
        ("mid", 1280, 16, 17),
        ("up2", 1280, 16, 17),
        ("up1", 640, 32, 17),
        ("up0", 320, 64, 17),
    ]


def test_clips_of_other_sizes_are_parameters() -> None:
    smaller = space("snapgen_v(height=48, frames=9)")
    assert smaller.name == "snapgen_v(frames=9,height=48)"
    assert (smaller.unet.frames, smaller.unet.height, smaller.unet.width) == (9, 48, 64)
    assert smaller.choices == space("snapgen_v").choices
    assert load(smaller.name) == smaller
    assert load("snapgen_v(frames=17)") == load("snapgen_v"), "two spellings of one space"
    assert twin_of(smaller.name) == "snapgen_v_mini"
    assert twin_of("moving_digits") is None
    assert twin_of("nothing.json") is None


def test_a_twin_that_attends_to_captions_keeps_the_choices() -> None:
    full, twin = space("snapgen_v"), space("snapgen_v_mini(context_tokens=77,context_channels=768)")
    assert (twin.unet.context_tokens, twin.unet.context_channels) == (77, 768)
    assert (full.unet.context_tokens, full.unet.context_channels) == (77, 768)
    assert load_twin(full, twin.name) == twin


def test_a_wider_twin_keeps_the_choices() -> None:
    widths = [space(f"snapgen_v_mini(channels={c})") for c in (16, 32, 64)]
    for narrow, wide in pairwise(widths):
        assert narrow.choices == wide.choices
        assert [2 * s.channels for s in narrow.slots] == [s.channels for s in wide.slots]


def test_a_space_with_parameters_survives_its_document(tmp_path: Path) -> None:
    wanted = load("snapgen_v(frames=9)")
    (tmp_path / "space.json").write_text(json.dumps(wanted.to_json()))
    assert load(str(tmp_path / "space.json")) == wanted


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("snapgen_v(height=50)", "latents of 50 x 64 do not divide by 8"),
        ("snapgen_v(height=52)", "latents of 52 x 64 do not divide by 8"),
        ("snapgen_v_mini(width=6)", "latents of 16 x 6 do not divide by 8"),
        ("snapgen_v(channels=100)", "100 channels; choose a multiple of 32"),
        ("snapgen_v_mini(channels=20)", "20 channels; choose a multiple of 16"),
        ("snapgen_v(frames=0)", "'frames=0' is none of its parameters"),
        ("snapgen_v(frames=1e3)", "'frames=1e3' is none of its parameters"),
        ("snapgen_v(frames=9,frames=9)", "'frames=9' is none of its parameters"),
        ("snapgen_v(fps=8)", "it has frames=17, height=64, width=64, channels=320"),
        ("moving_digits(frames=8)", "it has none"),
        ("snapgen(frames=8)", "unknown space"),
        ("snapgen_v()()", "unknown space"),
    ],
)
def test_wrong_parameters_are_told_of(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name)
    assert said in str(caught.value)
