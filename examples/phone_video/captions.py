"""What the three films show, in words of our own; and the prompts that captions are."""

import csv
import io
from pathlib import Path

from search_spaces.files.document import Json, read, write_atomically

CAPTIONS = {
    "bigbuckbunny.mp4": "a grey rabbit on a meadow",
    "bikes.mp4": "cars and bikes in a city",
    "carphone_pristine.mp4": "a man who talks in a car",
}
METADATA = "metadata.csv"  # as Hugging Face's video folders have it
MOST_PROMPTS = 9  # whose clips are looked at


def write_captions(films: Path) -> None:
    """Write the captions beside the films."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("file_name", "text"), *CAPTIONS.items()])
    write_atomically(films / METADATA, text.getvalue())


def check_captions(films: Path) -> None:
    """Refuse films of somebody's own of which none has a caption, before anything is trained."""
    from supernet.data.film_sources import find_sources

    find_sources(films, None, captioned=True)


def prompts_of(latents: Path, frames: int) -> list[str]:
    """The captions of encoded films, once each; those that are too short for a clip aside."""
    from supernet.data.encoded_captions import EncodedCaptions

    captions = EncodedCaptions.open(latents)
    numbers = dict.fromkeys(film["caption"] for film in long_films(latents, frames))
    return [text for number in numbers if (text := captions.text(number))][:MOST_PROMPTS]


def long_films(latents: Path, frames: int) -> list[Json]:
    """The encoded films that have so many frames, as their index lists them."""
    from supernet.data.latents import FORMAT, INDEX, MAJOR

    films = read(latents / INDEX, FORMAT, MAJOR)["files"]
    return [film for film in films if film["frames"] >= frames]
