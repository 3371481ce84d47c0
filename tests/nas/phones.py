"""Pipelines for a phone that tests export once, and stand-ins for Core ML that run them."""

import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from examples.tiny_pipeline import write_bundle, write_parts
from latency.coreml.package import open_package
from nas.bundle import Bundle
from nas.progress import Progress
from nas.sampling.making import Maker
from nas.sampling.prompts import Texts, opened_text_encoder
from nas.sampling.sampler import sampler_of
from supernet.autoencoders.opening import open_autoencoder
from supernet.text.opening import open_text_encoder
from temporal_bundle import sha256
from temporal_bundle.testing import write_tuning

Made = Callable[[str, Callable[[Path], object]], Path]
PROMPT = "the red one and the caf\u00e9"


def tune(path: Path, **changes: object) -> None:
    """Leave tuned weights that are near those of the search."""
    write_tuning(path, **changes)
    weights = {n: 1.05 * w for n, w in load_file(path / "weights.safetensors").items()}
    save_file(weights, path / "finetuned.safetensors")
    said = json.loads((path / "finetuned.json").read_text())
    said["files"]["finetuned.safetensors"] = sha256(path / "finetuned.safetensors")
    (path / "finetuned.json").write_text(json.dumps(said))


@dataclass(frozen=True)
class Given:
    """What a pipeline is made of."""

    folder: Path

    @property
    def words(self) -> list[str]:
        return ["--text-encoder", str(self.folder / "text"), *self.decoder]

    @property
    def vae(self) -> Path:
        return self.folder / "vae.safetensors"

    @property
    def decoder(self) -> list[str]:
        return ["--vae", str(self.vae)]

    @property
    def latents(self) -> str:
        return str(self.folder / "bundle")

    @property
    def pixels(self) -> str:
        """A bundle of a network of grey pixels, tuned for a leap of two steps."""
        return str(self.folder / "pixels")


@pytest.fixture(scope="session")
def made(made_once: Made) -> Given:
    def fill(folder: Path) -> None:
        write_parts(folder)
        write_bundle(folder / "pixels", 1)
        tune(folder / "pixels")

    return Given(made_once("pipeline", fill))


def exported(made_once: Made, name: str, *words: str) -> Path:
    def fill(folder: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "nas", "export", *words, "--out", "phone", "--json"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (folder / "told.json").write_text(done.stdout)

    return made_once(name, fill) / "phone"


@pytest.fixture(scope="session")
def of_latents(made_once: Made, made: Given) -> Path:
    """Three packages; two guided steps, the decoder two frames a call."""
    asked = ["--steps", "2", "--guidance", "3", "--decoder-mb", "1.25", "--fps", "4"]
    space = ["--space", "examples.tiny_pipeline:SPACE"]  # as operators of one's own need it
    return exported(made_once, "phone", made.latents, "--pipeline", *made.words, *asked, *space)


@pytest.fixture(scope="session")
def of_pixels(made_once: Made, made: Given) -> Path:
    """Two packages in palettes, by tuned steps; the network makes pixels."""
    text = ["--text-encoder", str(made.folder / "text"), "--palettise", "6", "--fps", "7.5"]
    return exported(made_once, "phone-pixels", made.pixels, "--pipeline", *text)


def loaded(folder: Path) -> Any:
    """run.py of a pipeline, as a module."""
    spec = importlib.util.spec_from_file_location("phone_run", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in(folder: Path, networks: dict[str, nn.Module]) -> ModuleType:
    """A coremltools that computes with torch what packages hold, called as they want to be."""
    packages = {path.stem: open_package(path) for path in folder.rglob("*.mlpackage")}

    class Model:
        def __init__(self, path: str, compute_units: str) -> None:
            assert compute_units == "CPU_AND_NE"
            self.opened = packages[Path(path).stem]
            self.network = networks[Path(path).stem]

        @torch.inference_mode()
        def predict(self, given: dict[str, Any]) -> dict[str, Any]:
            wanted = self.opened.inputs
            assert list(given) == [each.name for each in wanted]
            for each in wanted:
                assert given[each.name].shape == each.shape
                assert given[each.name].dtype == (np.int32 if each.type == "int32" else np.float32)
            values = [torch.from_numpy(value) for value in given.values()]
            found = self.network(*(v.long() if v.dtype == torch.int32 else v for v in values))
            answers = found if isinstance(found, tuple) else (found,)
            outputs = self.opened.outputs
            assert [answer.shape for answer in answers] == [output.shape for output in outputs]
            return {o.name: answer.numpy() for o, answer in zip(outputs, answers, strict=True)}

    fake: Any = ModuleType("coremltools")
    fake.ComputeUnit = SimpleNamespace(CPU_AND_NE="CPU_AND_NE")
    fake.models = SimpleNamespace(MLModel=Model)
    return fake  # type: ignore[no-any-return]


def frames_of(film: Path | io.BytesIO) -> Any:
    with av.open(film) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def networks_of(
    made: Given, path: str, *, tuned: bool, vae: Path | None = None
) -> dict[str, nn.Module]:
    return {
        "text_encoder": open_text_encoder(made.folder / "text").model,
        "denoiser": Bundle.load(path).network(finetuned=tuned),
        "decoder": open_autoencoder(vae or made.vae).decoder,
    }


def sampled(made: Given, path: str, *, tuned: bool, seed: int, vae: Path | None = None) -> Any:
    """Frames (T, H, W, 3) of bytes, as `nas sample` makes them."""
    opened = Bundle.load(path)
    asked = {"steps": None, "guidance": None} if tuned else {"steps": 2, "guidance": 3.0}
    sampler = sampler_of(opened, tuned=tuned, **asked)  # type: ignore[arg-type]
    asker = Texts(opened_text_encoder(made.folder / "text", opened))
    decoder = None if tuned else open_autoencoder(vae or made.vae)
    found = Maker(opened, tuned, sampler, asker, decoder).make([PROMPT], seed, Progress())
    x_THWC = found.x_BCTHW[0].permute(1, 2, 3, 0).expand(-1, -1, -1, 3)
    return ((x_THWC + 1) * 127.5).round().to(torch.uint8).numpy()
