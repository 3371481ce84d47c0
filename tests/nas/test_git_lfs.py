"""Files that Git LFS left as pointers are called that, whatever they should have held."""

from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces import InputError, load, read_table, stable_diffusion_shape
from supernet.autoencoders.autoencoder import load_autoencoder
from supernet.autoencoders.diffusers_vae import open_vae
from supernet.backbones.diffusers_io import mapped_weights

Call = Callable[..., tuple[int, str, str]]
POINTER = """version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 12345
"""
READERS: dict[str, Callable[[Path], object]] = {
    "table.csv": read_table,
    "table.csv.gz": read_table,
    "table.parquet": read_table,
    "space.json": lambda path: load(str(path)),
    "architecture.json": lambda path: load("moving_digits").read_architecture(path),
    "autoencoder.safetensors": load_autoencoder,
    "unet/config.json": lambda path: stable_diffusion_shape(path.parent),
    "vae/config.json": lambda path: open_vae(path.parent),
    "unet/diffusion_pytorch_model.safetensors": lambda path: list(mapped_weights(path.parent)),
    "u/diffusion_pytorch_model.safetensors.index.json": lambda path: list(
        mapped_weights(path.parent)
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_pointers_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(POINTER)
    with pytest.raises(InputError) as raised:
        READERS[name](path)
    words = "is a Git LFS pointer in place of the file itself; fetch it: git lfs pull"
    assert str(raised.value) == f"{path}: {words}"


@pytest.mark.parametrize(
    "command",
    [
        ["show", "it.json"],
        ["show", "it.safetensors"],
        ["predict", "--device", "iphone-12", "--model", "net.mlpackage"],
        ["predict", "--device", "it.json", "--architecture", "it.json"],
        ["import", "it.json", "--out", "table.csv"],
    ],
)
def test_commands_say_so(tmp_path: Path, call: Call, command: list[str]) -> None:
    (tmp_path / "net.mlpackage").mkdir()
    for name in ("it.json", "it.safetensors", "net.mlpackage/Manifest.json"):
        (tmp_path / name).write_text(POINTER)
    code, out, error = call(*command)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "is a Git LFS pointer in place of the file itself; fetch it: git lfs pull" in error
