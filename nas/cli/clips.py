"""`nas clips`: clips in plain files, for a training package that knows nothing of this toolkit."""

from typing import Annotated

import typer

from nas.cli import options
from nas.cli.output import print_json, print_line


def clips(
    out: options.OutFolder,
    space: options.Space = "moving_digits",
    data: options.Data = "digits",
    train: Annotated[int, typer.Option(min=1, help="Clips to train on.")] = 8192,
    validation: Annotated[int, typer.Option(min=1, help="Clips to choose on.")] = 1024,
    test: Annotated[int, typer.Option(min=1, help="Clips to judge on.")] = 2048,
    shard_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of a file of clips, or of contexts.")
    ] = 256.0,
    seed: options.Seed = 0,
    json: options.AsJson = False,
) -> None:
    """Write clips to shards of safetensors that a training package reads by itself."""
    from nas.progress import Progress
    from nas.training.clip_files import write_clips
    from search_spaces.shipped.loading import load_temporal
    from supernet.data.splits import Split

    found = load_temporal(space)
    counts: dict[Split, int] = {"train": train, "validation": validation, "test": test}
    write_clips(out, found, data, counts, seed, Progress(), shard_mb)
    if json:
        print_json({"clips": str(out), **counts})
    else:
        print_line(f"clips: {out}, {train} + {validation} + {test}")
