"""Films as they come back from their latents: the most that a network of latents can show.

    python -m examples.phone_video.films LATENTS --autoencoder FILE --frames 8 --out films.gif

The first frames of each film with its caption, beside which samples are to be seen. Films that are
shorter than a clip are left out: no network learned from them.
"""

import argparse
from pathlib import Path

import torch
from safetensors import safe_open

from examples.phone_video.captions import MOST_PROMPTS, long_films
from nas.sampling.files import USUAL_FPS, write_clips
from supernet.autoencoders.opening import open_autoencoder
from supernet.data.encoded_captions import EncodedCaptions
from supernet.data.latents import TENSOR
from supernet.data.provenance import typical_rate


@torch.inference_mode()
def write_films(latents: Path, autoencoder: Path, frames: int, out: Path) -> None:
    """The first frames of each film that has as many, decoded."""
    films = long_films(latents, frames)[:MOST_PROMPTS]
    fps = typical_rate(film.get("fps") for film in films) or USUAL_FPS
    captions = EncodedCaptions.open(latents)
    decoder, clips = open_autoencoder(autoencoder), []
    for film in films:
        with safe_open(latents / film["file"], framework="pt") as file:
            clips.append(decoder.decode(file.get_slice(TENSOR)[:frames].float()))
    words = [captions.text(film["caption"]) for film in films]
    write_clips(out, torch.stack(clips).transpose(1, 2), words, fps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("latents", type=Path)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a .gif or .mp4")
    asked = parser.parse_args()
    write_films(asked.latents, asked.autoencoder, asked.frames, asked.out)
