"""Make a video of a prompt with the Core ML packages of this folder, on a Mac.

    pip install coremltools numpy tokenizers av
    python run.py --prompt "..." --seed 0 --out clip.mp4

Every step is here, in the order in which an app does them: ids of the prompt, states of its tokens,
noise, the denoiser's steps, the decoder, the file. pipeline.json says the shapes and the numbers.
Shapes: B clips (one), C channels, T frames, H x W; L tokens.
"""

import argparse
import hashlib
import importlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

NEEDED = ("coremltools", "tokenizers", "av")  # and numpy
INSTALL = "pip install --upgrade coremltools numpy tokenizers av"
try:
    import numpy as np
except Exception as error:  # of whatever an installation lacks
    print(f"run.py: numpy: {' '.join(str(error).split())}; {INSTALL}", file=sys.stderr)
    sys.exit(2)

FOLDER = Path(__file__).resolve().parent
FORMAT, MAJOR = "temporal-nas/pipeline", "1"
FOR_PEOPLE = {"run.py", "README.md"}  # which may be changed
LEAST_PX = 256  # of a film's height, about: smaller ones are enlarged, to be looked at
CODEC, OPTIONS, OTHER_CODEC = "libx264", {"crf": "18"}, "mpeg4"
# Of all units, some Macs abort: the Neural Engine with the CPU beside it is what is asked for.
UNITS = ("CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY", "ALL")
Array = Any  # of numpy, float32
Predict = Callable[..., Array]


class PipelineError(Exception):
    """What went wrong, in a line."""


def read_pipeline(folder: Path) -> dict[str, Any]:
    """pipeline.json, once it, the packages and the tokenizer were found to be as written."""
    file = folder / "pipeline.json"
    try:
        pipeline = json.loads(file.read_text(encoding="utf-8"))
        known = pipeline["format"] == FORMAT and pipeline["version"].split(".")[0] == MAJOR
        listed, own = dict(pipeline["files"]), pipeline.pop("sha256", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(f"{file}: is no whole pipeline.json: {error!r}") from None
    if not known:
        raise PipelineError(f"{file}: is of another format or version than this run.py reads")
    canonical = json.dumps(pipeline, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(canonical.encode()).hexdigest() != own:
        raise PipelineError(f"{file}: is not what was exported; export the pipeline again")
    for name, wanted in listed.items():
        path = folder / name
        if name in FOR_PEOPLE:
            continue
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise PipelineError(f"{name}: is missing; export the pipeline again")
        if _sha256(path) != wanted:
            raise PipelineError(f"{name}: is not what was exported; export the pipeline again")
    return dict(pipeline)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


class Words:
    """Prompts to ids of tokens."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.said = said
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / said["file"]))
        except Exception as error:
            raise PipelineError(
                f"{said['file']}: this version of tokenizers does not read it: {_line(error)}"
            ) from None

    def own(self, text: str) -> list[int]:
        """A text's own ids, however many."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def ids(self, text: str) -> Array:
        """Ids (1, L): begin, the text's own as far as there is room, end, padding."""
        length = self.said["length"]
        row = [self.said["begin"], *self.own(text)[: length - 2], self.said["end"]]
        row += [self.said["pad"]] * (length - len(row))
        return np.array([row], np.int32)

    def is_cut(self, text: str) -> bool:
        """Whether the end of a text is not seen."""
        return len(self.own(text)) > int(self.said["length"]) - 2


def plain(text: str) -> str:
    """A prompt on one line, as captions were encoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PipelineError(f"the prompt: is no Unicode text: {error.reason}") from None
    return " ".join(text.split())


def load(folder: Path, said: dict[str, Any], units: str) -> Predict:
    """A package as a function of its inputs, in their order; or chunks, one after the other."""
    import coremltools

    models = []
    for each in said.get("chunks", [said]):
        try:
            unit = getattr(coremltools.ComputeUnit, units)
            model = coremltools.models.MLModel(str(folder / each["package"]), compute_units=unit)
        except Exception as error:
            raise PipelineError(
                f"{each['package']}: Core ML does not load it: {_line(error)}"
            ) from None
        models.append((each, model))

    def predict(*values: Array) -> Array:
        known = {i["name"]: value for i, value in zip(said["inputs"], values, strict=True)}
        for each, model in models:
            given = {i["name"]: known[i["name"]] for i in each["inputs"]}
            known |= _predicted(each["package"], model, given)
        return known[said["outputs"][0]["name"]]

    return predict


def _predicted(name: str, model: Any, given: dict[str, Array]) -> dict[str, Array]:
    """What a package answers, by the names of its outputs."""
    try:
        found = model.predict(given)
    except Exception as error:
        raise PipelineError(f"{name}: Core ML does not run it: {_line(error)}") from None
    answers = {output: np.asarray(value, np.float32) for output, value in found.items()}
    if not all(np.isfinite(answer).all() for answer in answers.values()):
        raise PipelineError(
            f"{name}: makes numbers that are not finite, beyond what float16 holds; try "
            "--units CPU_ONLY, or export other weights"
        )
    return answers


def sample(
    denoise: Predict, context: Array, free: Array, said: dict[str, Any], draw: Callable[[], Array]
) -> Array:
    """What the denoiser makes of noise, (1, C, T, H, W)."""
    x, guidance = draw(), said["guidance"]
    for time_now, after in zip(said["times"], [*said["times"][1:], 0.0], strict=True):
        time_B = np.array([time_now], np.float32)
        velocity = denoise(x, time_B, context)
        if guidance != 1:
            nothing = denoise(x, time_B, free)
            velocity = nothing + guidance * (velocity - nothing)
        if said["kind"] == "follow":
            x = x + (after - time_now) * velocity
            continue
        x = x - time_now * velocity  # a leap: a guess of the clip, noised again
        if after:
            mixed = np.float32(after)
            x = (1 - mixed) * x + mixed * draw()
    return x


def decode(decoder: Predict | None, x: Array, pipeline: dict[str, Any]) -> Array:
    """Frames (T, H, W, 3) of bytes; a stretch of frames a call, the last filled with its end."""
    frames = x[0].swapaxes(0, 1)  # (T, C, H, W)
    if decoder is not None:
        said, stretch = pipeline["latents"], pipeline["decoder"]["frames"]
        latents = frames / said["scaling"] + said["shift"]
        missing = -len(frames) % stretch
        latents = np.concatenate([latents, np.repeat(latents[-1:], missing, axis=0)])
        parts = [decoder(latents[at : at + stretch]) for at in range(0, len(latents), stretch)]
        frames = np.concatenate(parts)[: len(frames)]
    if frames.shape[1] != 3:  # grey
        frames = np.repeat(frames[:, :1], 3, axis=1)
    pixels = np.round((np.clip(frames, -1, 1) + 1) * 127.5).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def video(
    folder: Path, pipeline: dict[str, Any], prompt: str, seed: int, units: str = UNITS[0]
) -> Array:
    """The frames of a prompt's video (T, H, W, 3); one part at a time is in memory."""
    begun = time.perf_counter()

    def told(part: str) -> None:
        nonlocal begun
        now = time.perf_counter()
        print(f"{part} {now - begun:.2f} s", file=sys.stderr)
        begun = now

    words = Words(folder, pipeline["tokenizer"])
    if words.is_cut(prompt):
        most = pipeline["tokenizer"]["length"] - 2
        print(f"only the first {most} tokens of the prompt are seen", file=sys.stderr)
    encode = load(folder, pipeline["text_encoder"], units)
    context = encode(words.ids(prompt))
    guided = pipeline["sampler"]["guidance"] != 1
    free = encode(words.ids("")) if guided else context
    del encode
    told("text")
    generator = np.random.default_rng(seed)
    shape = (1, *pipeline["latents"]["shape"])
    denoise = load(folder, pipeline["denoiser"], units)
    x = sample(
        denoise, context, free, pipeline["sampler"],
        lambda: generator.standard_normal(shape, dtype=np.float32),
    )  # fmt: skip
    del denoise
    told("network")
    decoder = load(folder, pipeline["decoder"], units) if pipeline["decoder"] else None
    frames = decode(decoder, x, pipeline)
    told("decoder")
    return frames


def enlarged(frames: Array) -> Array:
    """Small pictures (T, H, W, 3), about `LEAST_PX` high, with each pixel as a square of ones."""
    times = max(1, round(LEAST_PX / frames.shape[1]))
    return frames.repeat(times, axis=1).repeat(times, axis=2)


def film(path: Path, frames: Array, fps: float) -> bytes:
    """An MP4 of frames (T, H, W, 3), to be written there."""
    import av

    try:
        return mp4_bytes(frames, fps)
    except (av.FFmpegError, ValueError) as error:
        raise PipelineError(f"{path}: FFmpeg makes no video of it: {_line(error)}") from None


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def mp4_bytes(frames: Array, fps: float) -> bytes:
    """H.264 in 4:2:0; sides are cut to even numbers of pixels."""
    import av

    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    buffer = io.BytesIO()
    codec = CODEC if CODEC in av.codecs_available else OTHER_CODEC
    with av.open(buffer, "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1000)
        stream: Any = container.add_stream(codec, rate=rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for each in frames:
            pixels = np.ascontiguousarray(each[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def check(given: argparse.Namespace) -> None:
    """Refuse what cannot be made before anything is."""
    out = given.out
    if out.suffix.lower() != ".mp4" or not out.parent.is_dir() or out.is_dir():
        raise PipelineError(f"--out {out}: give a name that ends in .mp4, in a folder")
    if given.seed < 0:
        raise PipelineError(f"--seed {given.seed}: give a whole number from 0")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise _unwritable(out, error) from None
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except Exception as error:  # an old one beside a new numpy may raise anything
            raise PipelineError(f"{name}: is not to be had: {_line(error)}; {INSTALL}") from None


def main() -> None:
    """Check the folder, make the video, write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompt", required=True, help="what the video shows")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, default=Path("clip.mp4"), help="an .mp4")
    parser.add_argument("--units", choices=UNITS, default=UNITS[0], help="of the machine")
    given = parser.parse_args()
    try:
        check(given)
        prompt = plain(given.prompt)
        pipeline = read_pipeline(FOLDER)
        said = pipeline["video"]
        black = np.zeros((1, said["height"], said["width"], 3), np.uint8)
        film(given.out, enlarged(black), said["fps"])  # or FFmpeg says so now, not after minutes
        frames = enlarged(video(FOLDER, pipeline, prompt, given.seed, given.units))
        write(given.out, film(given.out, frames, said["fps"]))
    except PipelineError as error:
        sys.exit(_refused(str(error)))
    except KeyError as error:
        sys.exit(_refused(f"pipeline.json: says nothing of {error}; export the pipeline again"))
    count, height, width = frames.shape[:3]
    print(f"{given.out}: {count} frames, {width} x {height} pixels")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _unwritable(path: Path, error: OSError) -> PipelineError:
    return PipelineError(f"{path}: cannot be written: {error.strerror}")


def _refused(text: str) -> int:
    print(f"run.py: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
