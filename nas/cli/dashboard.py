"""`nas dashboard`: the study of a run in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.output import print_line, print_note


def dashboard(
    run: Annotated[Path, typer.Argument(help="A run folder; its search may still be running.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    storage: Annotated[
        str | None,
        typer.Option(help="Optuna storage URL with its password; default: as the run says."),
    ] = None,
) -> None:
    """Open optuna-dashboard on a run: trials, front, pictures. Ctrl-C ends it."""
    from nas.report.dashboard import LOCAL
    from nas.report.dashboard import dashboard as opened

    found = opened(run, host, port, storage)
    if host not in LOCAL:
        print_note(f"whoever reaches {host} may change and delete what the study holds")
    print_line(found.url)
    try:
        found.serve()
    except KeyboardInterrupt:
        print_note("stopped")
