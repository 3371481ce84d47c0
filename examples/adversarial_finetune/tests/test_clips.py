"""Clips of other numbers, shapes or scales are refused before a network is trained on them."""

import re
from pathlib import Path

import pytest
import torch
from conftest import Call
from safetensors.torch import save_file
from torch import Tensor

from adversarial_finetune.data import open_clips
from adversarial_finetune.errors import InputError
from temporal_bundle import Bundle, open_bundle

GENERATOR = torch.Generator().manual_seed(0)
CONTEXT = torch.zeros(6, 2, 3)
CLIPS = torch.rand(6, 1, 4, 8, 8, generator=GENERATOR) * 2 - 1


def with_one(value: float) -> Tensor:
    clips = CLIPS.clone()
    clips[4, 0, 3, 7, 7] = value
    return clips


def pixels(most: float) -> Tensor:
    return ((CLIPS + 1) / 2 * most).round(decimals=2)


REFUSED: dict[str, tuple[dict[str, Tensor], str]] = {
    "colours": ({"clips": CLIPS.expand(-1, 3, -1, -1, -1)}, "has channels, height and width"),
    "contexts": ({"context": torch.zeros(6, 2, 9)}, "has tokens of the context (2, 9)"),
    "no context": ({"context": torch.zeros(0)}, "expected (N, C, T, H, W) and (N, L, channels)"),
    "axes": ({"clips": CLIPS[:, 0]}, "expected (N, C, T, H, W)"),
    "fewer contexts": ({"context": CONTEXT[:5]}, "for as many clips"),
    "no frames": ({"clips": CLIPS[:, :, :0]}, "expected (N, C, T, H, W)"),
    "bytes": ({"clips": pixels(255).to(torch.uint8)}, "clips is of U8; give F32, F16, BF16, F64"),
    "int8": ({"clips": pixels(100).to(torch.int8)}, "clips is of I8"),
    "int64": ({"context": CONTEXT.long()}, "context is of I64"),
    "fp8": ({"clips": CLIPS.to(torch.float8_e4m3fn)}, "clips is of F8_E4M3"),
    "fp8 contexts": ({"context": CONTEXT.to(torch.float8_e5m2)}, "context is of F8_E5M2"),
    "complex": ({"clips": CLIPS.to(torch.complex64)}, "clips is of C64"),
    "bool": ({"clips": CLIPS > 0}, "clips is of BOOL"),
    "NaN at the end": ({"clips": with_one(torch.nan)}, "clip 4 holds NaN or infinite"),
    "infinity": ({"clips": with_one(-torch.inf)}, "clip 4 holds NaN or infinite"),
    "another empty context": ({"empty_context": torch.zeros(2, 9)}, "one context: (2, 3)"),
    "NaN as empty context": ({"empty_context": CONTEXT[0] / 0}, "must be finite numbers"),
    "NaN asked for": ({"context": CONTEXT / 0}, "context 0 (of 6 such) holds NaN"),
    "0 to 255": ({"clips": pixels(255)}, "x / 127.5 - 1"),
    "0 to 255 in half": ({"clips": pixels(255).half()}, "x / 127.5 - 1"),
    "0 to 1": ({"clips": pixels(1)}, "x / 0.5 - 1"),
    "0 to 1023": ({"clips": pixels(1023)}, "x / 511.5 - 1"),
    "-128 to 127": ({"clips": pixels(255) - 128}, "clip 0 (of 6 such) reaches"),
    "one of another range": ({"clips": with_one(200.0)}, "clip 4 reaches 200"),
    "latents without their factor": ({"clips": CLIPS * 10}, "standard deviation of 5.9"),
    "tiny": ({"clips": CLIPS / 255}, "standard deviation of 0.0023"),
    "all black": ({"clips": torch.full_like(CLIPS, -1.0)}, "of one value throughout"),
    "plain colours": (
        {"clips": CLIPS[:, :, :1, :1, :1].expand_as(CLIPS)},
        "of one value throughout",
    ),
}


def write(folder: Path, split: str, **changes: Tensor) -> None:
    tensors = {"clips": CLIPS, "context": CONTEXT} | changes
    folder.mkdir(exist_ok=True)
    plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(plain, folder / f"{split}.safetensors")


@pytest.fixture(scope="module")
def opened(made: Path) -> Bundle:
    return open_bundle(made / "bundle")


@pytest.mark.parametrize("case", REFUSED)
def test_clips_that_cannot_be_learned_from_are_refused(
    case: str, opened: Bundle, tmp_path: Path
) -> None:
    changes, says = REFUSED[case]
    write(tmp_path, "test", **changes)
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        open_clips(tmp_path, "test", opened)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["fp8", "0 to 255", "NaN at the end", "colours"])
def test_they_are_refused_in_one_line_before_anything_is_trained(
    case: str, bundle: Path, call: Call
) -> None:
    changes, says = REFUSED[case]
    for bad in ("train", "validation"):
        for split in ("train", "validation"):
            write(Path("bad"), split, **(changes if split == bad else {}))
        code, printed, said = call("train", bundle, "--data", "bad", "--out", "run")
        assert (code, printed, said.count("\n")) == (2, "", 1), said
        assert says in said
        assert bad in said
        assert not Path("run").exists()


def test_a_file_without_clips_is_refused(bundle: Path, call: Call) -> None:
    Path("bad").mkdir()
    file = Path("bad/validation.safetensors")
    for content in ({"context": CONTEXT}, {"clips": CLIPS}):
        save_file(content, file)
        code, _, said = call("train", bundle, "--data", "bad", "--out", "run")
        assert (code, said.count("\n")) == (2, 1)
        assert "must hold the tensors clips and context" in said
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    code, _, said = call("train", bundle, "--data", "bad", "--out", "run")
    assert (code, said.count("\n")) == (2, 1)
    assert "git lfs pull" in said
    file.write_bytes(b"no safetensors")
    code, _, said = call("train", bundle, "--data", "bad", "--out", "run")
    assert (code, said.count("\n")) == (2, 1)
    assert f"{file}: is short, or no safetensors file" in said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_clips_of_any_usual_precision_and_scale_are_taken(
    dtype: torch.dtype, opened: Bundle, tmp_path: Path
) -> None:
    latents = torch.randn(CLIPS.shape, generator=GENERATOR)
    latents[2] = -0.3  # one that shows nothing
    for clips in (CLIPS, CLIPS * 0.6 - 0.3, latents):
        write(tmp_path, "train", clips=clips.to(dtype), context=CONTEXT.to(dtype))
        found = open_clips(tmp_path, "train", opened)
        assert found.at(torch.tensor([1, 2]))[0].dtype == torch.float32
