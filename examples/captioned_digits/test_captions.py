"""Captioned digits are moving digits, asked for by what `nas sample` makes of the same words."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adversarial_finetune.data import ClipFiles, find_clips
from examples.captioned_digits.data import asked, captions, open_clips, states
from examples.captioned_digits.space import SPACE, UNET
from examples.captioned_digits.text import WORDS, text_encoder, write_text_encoder
from nas.sampling.prompts import Digits, Texts
from nas.training.clip_files import write_clips
from search_spaces import InputError
from supernet.data.digits import MovingDigits
from supernet.text.opening import open_text_encoder
from supernet.training.batches import draw_batch
from supernet.training.training import Randomness
from temporal_bundle.closeness import check_close

DATA = "examples.captioned_digits.data:open_clips"
ONE_HOT = replace(UNET, context_tokens=2, context_channels=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tokenizers")
    return write_text_encoder(tmp_path_factory.mktemp("text"))


def test_a_caption_asks_for_what_its_clip_shows() -> None:
    source, plain = open_clips(UNET, "test"), MovingDigits(ONE_HOT, "test")
    clips, digits = source.clips(64, 5), plain.clips(64, 5)
    assert torch.equal(clips.x_BCTHW, digits.x_BCTHW)
    assert torch.equal(clips.context_BLC, source.clips(64, 5).context_BLC)
    said = [source.caption(context) for context in clips.context_BLC]
    assert torch.equal(Digits().contexts(said), digits.context_BLC)
    assert torch.equal(asked(clips.context_BLC), digits.context_BLC)
    assert torch.equal(source.images(3).x_BCTHW, plain.images(3).x_BCTHW)
    with pytest.raises(InputError, match="12 tokens of 32 channels; the space's U-Net takes 2 of"):
        open_clips(ONE_HOT, "test")


def test_every_caption_is_told_from_every_other() -> None:
    assert len(set(captions())) == len(captions()) == 10 * 11 * 4 + 1
    assert [open_clips(UNET, "test").caption(each.half()) for each in states()] == captions()
    assert not any(text_encoder().is_cut(caption) for caption in captions())


def test_the_training_package_is_told_which_digits_are_asked_for(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", SPACE, DATA, {"train": 8, "validation": 1, "test": 1})
    told = ClipFiles(find_clips(tmp_path / "clips", "train")).labels_at(torch.arange(8))
    digits = MovingDigits(ONE_HOT, "train").clips(8, 0).context_BLC
    assert torch.equal(torch.as_tensor(told), digits.amax(1))


@pytest.mark.slow
@pytest.mark.long
def test_digits_are_found_as_with_one_hot_contexts() -> None:
    source, plain = open_clips(UNET, "test"), MovingDigits(ONE_HOT, "test")
    clips, digits = source.clips(64, 5), plain.clips(64, 5)
    found = source.recogniser().found(clips.x_BCTHW, clips.context_BLC)
    assert torch.equal(found, plain.recogniser().found(digits.x_BCTHW, digits.context_BLC))
    assert found.mean() > 0.7
    others = source.recogniser().found(clips.x_BCTHW, clips.context_BLC.roll(1, 0))
    assert others.mean() < 0.4, "of another clip's caption"


def test_what_asks_for_nothing_is_the_empty_caption(tmp_path: Path) -> None:
    empty = states()[-1]
    assert not asked(empty[None]).any()
    batch = draw_batch(open_clips(UNET, "train"), 64, Randomness(0, 0))
    dropped = (batch.context_BLC == empty).all(-1).all(-1)
    assert 0 < dropped.sum() < 20
    write_clips(tmp_path / "clips", SPACE, DATA, {"train": 2, "validation": 1, "test": 1})
    handed_on = find_clips(tmp_path / "clips", "train").contexts.empty_LC
    assert handed_on is not None
    check_close(handed_on.float(), empty.half().float())


def test_a_prompt_is_the_context_of_the_same_words(folder: Path) -> None:
    asker = Texts(open_text_encoder(folder))
    source = open_clips(UNET, "test")
    clips = source.clips(16, 7)
    said = [source.caption(context) for context in clips.context_BLC]
    check_close(asker.contexts(said), clips.context_BLC)
    check_close(asker.empty(), states()[-1])


def test_words_are_tokens(folder: Path) -> None:
    asker = Texts(open_text_encoder(folder))
    assert not asker.cut([" ".join(WORDS[:10])]), "ten words between begin and end"
    assert asker.cut([" ".join(WORDS[:11])])
