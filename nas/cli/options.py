"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

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
OutFile = Annotated[Path, typer.Option("--out", help="The file to write.")]
ImageSteps = Annotated[int, typer.Option(min=1, help="Training steps of the image U-Net.")]
VideoSteps = Annotated[
    int, typer.Option(min=1, help="Training of the supernet: steps of one path each.")
]
FreezeBackbone = Annotated[
    bool, typer.Option("--freeze-backbone", help="Train the temporal blocks alone.")
]
Recipe = Annotated[
    str,
    typer.Option(help="fair, uniform, sandwich, curriculum, or package.module:name."),
]
Data = Annotated[
    str,
    typer.Option(help="Clips: digits, a folder of videos or of latents, or package.module:name."),
]
