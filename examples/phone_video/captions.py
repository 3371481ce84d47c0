"""What the three films show, in words of our own; and the prompts that captions are."""

import csv
import io
from pathlib import Path

from search_spaces.files.document import read, write_atomically

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


def prompts_of(latents: Path) -> list[str]:
    """The captions of encoded films."""
    listed = read(latents / "captions.json", "temporal-nas/captions", 1)["captions"]
    return [each["text"] for each in listed if each["text"]][:MOST_PROMPTS]
