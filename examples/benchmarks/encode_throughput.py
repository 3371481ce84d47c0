"""Clips a second of `nas encode` beside those of the autoencoder's encoder alone, on these cores.

    python examples/benchmarks/encode_throughput.py [--clips N] [--workers N] [--out FOLDER]

Short films are made (H.264, a caption beside each), and encoded by `nas encode` with its workers,
each film decoded, encoded, written and hashed; the encoder alone has its pixels in memory, in as
many processes of one thread, plane by plane as tensors of images mostly lie, and pixel by pixel
(`torch.channels_last`) as films lie and `nas encode` gives them, which is faster on a CPU. It is
timed before and after, as others may use the machine; the encoder's share of a worker's processor
time, which says the same without Ray and without whoever else is here, comes first. The autoencoder
and the text encoder (`examples/tiny_text_encoder.py`) have weights at random, which takes as long
as trained ones; the text encoder is far smaller than a real one, so that captions show what their
storing takes.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np
import torch

from examples.tiny_text_encoder import write_pipeline
from supernet import checkpoint
from supernet.autoencoders.autoencoder import FACTOR, ImageAutoencoder, load_autoencoder
from supernet.autoencoders.contract import Autoencoder
from supernet.data.film_encoding import CHUNK_PIXELS, Coding, coder_of, encode_source
from supernet.data.film_sources import FilmFile

HEIGHT, WIDTH = 144, 176  # of the films
WORDS = 500  # different captions
AUTOENCODER = "autoencoder.safetensors"
LAYOUTS = {"by planes": torch.contiguous_format, "by pixels": torch.channels_last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--latents", type=int, default=16, help="high and wide")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", type=int, default=100, help="clips of the encoder alone")
    parser.add_argument("--out", type=Path, help="keeps what was made; else it is removed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(asked, asked.out or Path(temporary))


def measure(asked: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, asked.clips, asked.frames)
    print(f"the encoder's share of a worker's processor time: {share_of_worker(asked, folder):.2f}")
    before = both_alone(asked, folder)
    plain_s = encode(asked, folder, "plain")
    captioned_s = encode(asked, folder, "captioned", "--text-encoder", str(folder / "text"))
    few_s = encode(asked, folder, "started", films="few")
    after = both_alone(asked, folder)
    side = asked.latents * FACTOR
    print(f"{asked.clips} clips of {asked.frames} frames of {side} x {side} pixels")
    alone = {layout: (before[layout] + after[layout]) / 2 for layout in LAYOUTS}
    for layout, rate in alone.items():
        print(
            f"encoder alone, {layout}, {asked.workers} processes: {rate:.1f} clips a second", end=""
        )
        print(f" ({before[layout]:.1f} before, {after[layout]:.1f} after)")
    for name, seconds in (("nas encode", plain_s), ("with captions", captioned_s)):
        rate = asked.clips / seconds
        shares = " and ".join(f"{rate / other:.2f}" for other in alone.values())
        print(f"{name}, {asked.workers} workers: {rate:.1f} clips a second", end="")
        print(f" ({seconds:.1f} s), {shares} of those")
    print(f"of which starting takes {few_s:.1f} s: as long as {asked.workers} clips take")


def make(folder: Path, clips: int, frames: int) -> None:
    """Films of moving noise, captions, an autoencoder and a text encoder."""
    rng = np.random.default_rng(0)
    for name, count in (("films", clips), ("few", 2)):
        (folder / name).mkdir(exist_ok=True)
        for number in range(count):
            path = folder / name / f"{number:05}.mp4"
            path.with_suffix(".txt").write_text(f"the {number % WORDS} one")
            write(path, frames, rng)
    torch.manual_seed(0)
    weights = ImageAutoencoder().state_dict()
    checkpoint.write(folder / AUTOENCODER, weights, {"holds": "autoencoder"})
    write_pipeline(folder / "text")


def write(path: Path, frames: int, rng: np.random.Generator) -> None:
    coarse = rng.integers(0, 255, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    picture = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(frames):
            moved = np.roll(picture, 2 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))


def share_of_worker(asked: argparse.Namespace, folder: Path) -> float:
    """Of the processor time of one process that encodes films, what the encoder alone takes."""
    torch.set_num_threads(1)
    autoencoder = folder / AUTOENCODER
    digest = checkpoint.file_sha256(autoencoder)
    coding = Coding(autoencoder, digest, asked.latents, asked.latents, None, "cpu")
    films = [FilmFile(path, path.name) for path in sorted((folder / "films").glob("*.mp4"))]
    films = films[: asked.alone]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        (Path(out) / "first").mkdir()
        encode_source(coding, Path(out) / "first", films[0])  # imports and memory, once a worker
        begun = time.process_time()
        for film in films:
            encode_source(coding, Path(out), film)
        whole_s = time.process_time() - begun
    begun = time.process_time()
    side = asked.latents * FACTOR
    encode_noise(coder_of(coding), asked.frames, side, len(films), "by pixels")
    return (time.process_time() - begun) / whole_s


def both_alone(asked: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Clips a second of the encoder, by how its pixels lie in memory."""
    return {layout: encoder_alone(asked, folder / AUTOENCODER, layout) for layout in LAYOUTS}


def encoder_alone(asked: argparse.Namespace, autoencoder: Path, layout: str) -> float:
    """Clips a second of as many processes at once."""
    fresh = multiprocessing.get_context("spawn")  # a fork of torch's threads may never answer
    with ProcessPoolExecutor(asked.workers, mp_context=fresh) as pool:
        job = (autoencoder, asked.frames, asked.latents * FACTOR, asked.alone, layout)
        done = [pool.submit(clips_per_s, *job) for _ in range(asked.workers)]
        return sum(each.result() for each in done)


def clips_per_s(autoencoder: Path, frames: int, side: int, clips: int, layout: str) -> float:
    torch.set_num_threads(1)
    coder = load_autoencoder(autoencoder)
    begun = time.perf_counter()
    encode_noise(coder, frames, side, clips, layout)
    return clips / (time.perf_counter() - begun)


def encode_noise(coder: Autoencoder, frames: int, side: int, clips: int, layout: str) -> None:
    """As many frames at a time as `nas encode` takes."""
    noise = torch.rand(frames, 3, side, side) * 2 - 1
    noise = noise.contiguous(memory_format=LAYOUTS[layout])
    parts = torch.split(noise, max(1, CHUNK_PIXELS // side**2))
    for _ in range(clips):
        for part in parts:
            coder.encode(part)


def encode(
    asked: argparse.Namespace, folder: Path, name: str, *more: str, films: str = "films"
) -> float:
    """Seconds of the command, from its start to its end."""
    command = [
        sys.executable, "-m", "nas", "encode", str(folder / films),
        "--autoencoder", str(folder / AUTOENCODER),
        "--size", f"{asked.latents}x{asked.latents}", "--workers", str(asked.workers),
        "--out", str(folder / name), "--json", *more,
    ]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  # ours
    seconds = time.perf_counter() - begun
    assert json.loads(done.stdout)["videos"] == (asked.clips if films == "films" else 2)
    return seconds


if __name__ == "__main__":
    main()
