"""The command line: `nas COMMAND`, one file a command.

Results go to stdout, progress and words to stderr. Exit 0: done; 1: failed; 2: bad input.
Commands import what they need when they run, so that `nas --help` answers at once.
"""

import sys
import warnings
from typing import Annotated

import typer

from nas.cli import (
    bench,
    bundle,
    calibrate,
    clips,
    costs,
    dashboard,
    devices,
    encode,
    export,
    import_,
    predict,
    profile,
    sample,
    search,
    show,
    train,
)
from nas.cli.flags import in_flags
from nas.cli.output import print_line
from search_spaces.files.errors import InputError

OURS = ("search_spaces", "supernet")  # which warn people
_FORMAT = warnings.formatwarning
app = typer.Typer(
    name="nas",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("search")(search.search)
app.command("train")(train.train)
app.command("train-autoencoder")(encode.train_autoencoder)
app.command("encode")(encode.encode)
app.command("clips")(clips.clips)
app.command("profile")(profile.profile)
app.command("import")(import_.import_)
app.command("calibrate")(calibrate.calibrate)
app.command("predict")(predict.predict)
app.command("bench")(bench.bench)
app.command("bundle")(bundle.bundle)
app.command("sample")(sample.sample)
app.command("export")(export.export)
app.command("lint")(export.lint)
app.command("dashboard")(dashboard.dashboard)
app.command("costs")(costs.costs)
app.command("spaces")(show.spaces)
app.command("devices")(devices.devices)
app.command("show")(show.show)


def _print_version(asked: bool) -> None:  # as typer calls it
    if asked:
        from importlib.metadata import version

        print_line(f"temporal-nas {version('temporal-nas')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[  # its callback answers
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Search neural networks for the hardware they run on."""


def main() -> None:
    """Run a command; turn what went wrong into one line and an exit code."""
    warnings.formatwarning = _in_one_line
    try:
        app(prog_name="nas")
    except InputError as error:
        _fail(str(error), 2)
    except (FloatingPointError, OSError) as error:
        _fail(f"{type(error).__name__}: {error}", 1)


def _in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Our own warnings are for people; a place in the source would tell them nothing."""
    if category.__module__.partition(".")[0] in OURS:
        return f"nas: {in_flags(str(message))}\n"
    return _FORMAT(message, category, filename, lineno, line)


def _fail(text: str, code: int) -> None:
    line = in_flags(" ".join(text.split()))
    print(f"nas: {line}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
