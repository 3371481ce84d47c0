"""Options that several commands share."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from search_spaces.files.errors import InputError
from search_spaces.files.targets import check_right_to_write, file_target, folder_target


def checked_file(path: Path | None) -> Path | None:
    """Refuse, before any work, what no file is written to."""
    return _checked(path, _writable)


def checked_folder(path: Path | None) -> Path | None:
    """Refuse, before any work, what no folder is put in place of."""
    return _checked(path, folder_target)


def _writable(path: Path) -> Path:
    target = file_target(path)
    check_right_to_write(path, target)
    return target


def _checked(path: Path | None, target: Callable[[Path], Path]) -> Path | None:
    if path is not None:
        try:
            target(path)
        except InputError as error:
            raise InputError(f"--out {error}") from None
    return path


Space = Annotated[
    str, typer.Option(help="Space: a shipped name, a JSON file, or package.module:name.")
]
MaybeSpace = Annotated[
    str | None, typer.Option(help="Space: a shipped name, a JSON file, or package.module:name.")
]
Device = Annotated[str, typer.Option(help="Device: a shipped name, a device's JSON file, or host.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn at random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it was left.")]
OutFile = Annotated[Path, typer.Option("--out", help="The file to write.", callback=checked_file)]
OutFolder = Annotated[
    Path, typer.Option("--out", help="The folder to write.", callback=checked_folder)
]
ChoiceColumns = Annotated[
    str | None,
    typer.Option(
        "--choice-columns",
        help="Columns that are choices though their names end in a unit or are reserved: A,B.",
    ),
]
Parts = Annotated[
    list[str] | None,
    typer.Option(
        "--part",
        help="What the pipeline runs once a clip beside the network, in place of what is published "
        "under that name: NAME=MS (decoder=540), or the folder of what it is, which is predicted "
        "(text-encoder=sd15, decoder=vae); several times. none=0 for no parts.",
    ),
]
ImageSteps = Annotated[int, typer.Option(min=1, help="Training steps of the image U-Net.")]
VideoSteps = Annotated[
    int, typer.Option(min=1, help="Training of the supernet: steps of one path each.")
]
FreezeBackbone = Annotated[
    bool, typer.Option("--freeze-backbone", help="Train the temporal blocks alone.")
]
Recipe = Annotated[
    str,
    typer.Option(help="uniform, fair, sandwich, curriculum, or package.module:name."),
]
Data = Annotated[
    str,
    typer.Option(
        help="Clips: digits, a folder of videos or of `nas encode`, or package.module:name."
    ),
]


def words(text: str | None) -> list[str]:
    """What an option lists, separated by commas."""
    return [word for each in (text or "").split(",") if (word := each.strip())]


def limits(flag: str, words: Sequence[str] | None) -> dict[str, float]:
    """What an option that is given several times limits, each as NAME=NUMBER."""
    from search_spaces.tables.columns import in_kept_unit

    found: dict[str, float] = {}
    for each in words or ():
        column, _, text = each.partition("=")
        name = column.strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or math.isnan(value):
            raise InputError(f"--{flag} {each}: give a column and a number, as latency_ms=20")
        if in_kept_unit(name) in map(in_kept_unit, found):
            raise InputError(f"--{flag} {each}: there is another limit on it; give one")
        found[name] = value
    return found
