"""`nas profile`: measure blocks or networks of a space, or say which are worth measuring."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli import options, tasks
from nas.cli.output import print_columns, print_json, print_line, print_note
from nas.cli.plan import Models
from nas.cli.resume import resumable
from nas.cli.sources import COREML, COREML_DEVICE, CPU_PROVIDER, Backend, chains_of, source_of
from search_spaces.files.errors import InputError

if TYPE_CHECKING:
    from latency.sources.contract import Source
    from nas.calibration.profile_table import Wanted
    from nas.calibration.profiling import Build, Exists
    from nas.task.task import Task as OwnTask


def profile(
    space: options.MaybeSpace = None,
    task: tasks.Task = None,
    build: tasks.Build = None,
    shape: tasks.Shape = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What measures: torch (this machine), onnxruntime (this machine), coreml (this "
            "Mac), coreml-device (the iPhone connected to this Mac), or package.module:name, "
            "called for a source."
        ),
    ] = "torch",
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Measure every block of every slot.")
    ] = False,
    networks: Annotated[
        int | None, typer.Option(min=1, help="Measure so many whole networks.")
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Only say what would be measured, and about how long that takes; --out writes it "
            "as a table to fill in.",
        ),
    ] = False,
    packages: Annotated[
        Path | None,
        typer.Option(
            help="With --plan --out: also write each as a model to this folder, to be measured "
            "elsewhere; `nas import REPORTS --choices OUT` brings the reports back."
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the flag's name
        str,
        typer.Option(
            help="Of --packages: coreml (for Xcode), or onnx (for ONNX Runtime, AI Hub and others)."
        ),
    ] = "coreml",
    out: Annotated[
        Path | None, typer.Option(help="The table to write.", callback=options.checked_file)
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Visits to each, in interleaved order.")
    ] = None,
    sustain: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=3600.0,
            help="Keep the device busy until its clock settles, so many seconds at most, and "
            "measure all once more: steady_latency_ms, beside the burst's latency_ms.",
        ),
    ] = 0.0,
    repeats: Annotated[
        str | None,
        typer.Option(
            help="Chains that blocks are measured in; 1,8 tells a block from its launch. Default: "
            "1 on a processor, 1,8 on GPUs and Apple devices."
        ),
    ] = None,
    torch_device: Annotated[str, typer.Option(help="Of torch: cpu, cuda, cuda:N.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="Of torch: float32, float16, bfloat16; of ONNX: float32, float16.")
    ] = "float32",
    provider: Annotated[
        str, typer.Option(help="Of onnxruntime: an execution provider by its name.")
    ] = CPU_PROVIDER,
    threads: Annotated[
        int, typer.Option(min=1, help="Of onnxruntime: how many of the processor's it may use.")
    ] = 1,
    allow_fallback: Annotated[
        bool,
        typer.Option(
            "--allow-fallback",
            help="Of onnxruntime: measure also what the processor ran in the provider's place.",
        ),
    ] = False,
    compute_units: Annotated[
        str, typer.Option(help="Of Core ML: all, cpu-only, cpu-and-gpu, cpu-and-ne.")
    ] = "all",
    signing_team: Annotated[
        str, typer.Option(help="Of coreml-device: the Apple team that signs the app it installs.")
    ] = "",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: options.AsJson = False,
) -> None:
    """Measure blocks, or whole networks, of a space; writes a table.

    Interrupt it whenever you like: what was measured stands in OUT.partial.jsonl, and --resume
    goes on. For a device that this cannot reach, --networks N --plan --out writes which networks
    to measure there, with a column for each choice: add latency_ms and calibrate.
    """
    from nas.calibration.profile_table import Wanted, checked, measure_table
    from nas.progress import Progress
    from search_spaces import load

    chains = chains_of(repeats) if repeats is not None else None
    own = tasks.priced_task(task, space=space, build=build, shape=shape)
    found = load(space or "moving_digits") if own is None else own.space
    wanted = Wanted(found, blocks, networks, chains, rounds, seed, *_built(own), sustain)
    measures = Backend(
        backend,
        torch_device,
        precision,
        compute_units,
        signing_team,
        provider,
        threads,
        allow_fallback,
    )
    if packages is None and format != "coreml":
        raise InputError(f"--format {format} goes with --plan --packages: of the models there")
    if plan:
        models = Models(packages, format) if packages is not None else None
        _plan(wanted, measures, out, models, json=json)
        return
    if packages is not None:
        raise InputError("--packages goes with --plan: what is measured here needs no files")
    table = checked(wanted, out, resume=resume)
    with resumable():
        rows = measure_table(wanted, source_of(measures), table, Progress())
    _say(table, rows, resumed=resume, json=json)


def _built(own: "OwnTask | None") -> "tuple[Build | None, Exists | None]":
    """How the networks of a task are built to be measured, and which can be; None: a U-Net's."""
    if own is None or own.build is None:
        return None, None
    from nas.task.networks import Builds, measured_as

    return partial(measured_as, own), Builds(own)


def _say(out: Path, rows: int, *, resumed: bool, json: bool) -> None:
    from nas.calibration.block_tables import launch_ms
    from search_spaces import read_table

    table = read_table(out)
    launch = launch_ms(table, "latency_ms")
    if json:
        print_json({"table": str(out), "rows": rows, "launch_ms": launch})
        return
    if resumed:
        print_columns(table, ["latency_ms"])
    print_line(f"{rows} rows: {out}")
    if launch is not None:
        print_line(f"a call costs {launch:.3f} ms beside its blocks (median)")


def _plan(
    wanted: "Wanted", backend: Backend, out: Path | None, models: Models | None, *, json: bool
) -> None:
    """Say what would be measured; or write it, to be measured elsewhere."""
    from nas.calibration import profile_table
    from nas.calibration.model_files import write_models
    from nas.cli import plan
    from nas.progress import Progress
    from search_spaces import TemporalSpace

    wanted = wanted.worthwhile()

    if wanted.blocks and not isinstance(wanted.space, TemporalSpace):
        raise InputError(
            f"space {wanted.space.name!r} has no U-Net, so no blocks; plan --networks N"
        )
    if out is not None and wanted.blocks and wanted.networks is not None:
        raise InputError("--plan --out writes a table of one kind: add --blocks, or --networks N")
    if out is not None and out.exists():
        raise InputError(f"{out}: exists; choose another file for --out, or remove it")
    if models is not None and out is None:
        raise InputError("--packages needs --out too: the table that says what each model is")
    if out is not None:
        # Another device will run the models, whatever measures here.
        measures = replace(backend, name=COREML) if models else backend
        planned = wanted.planned(measures.usual_chains)
        if models is not None:
            write_models(
                models.folder, planned, Progress(), models.format, precision=backend.precision
            )
        plan.write(out, planned.rows, models, json=json)
        return
    source = _source_for_plan(backend)
    planned = wanted.planned(source.chains if source else backend.usual_chains)
    about_s = None
    if source is not None:
        about_s = profile_table.about_seconds(source, planned, wanted.protocol(source))
    plan.show(planned, about_s, json=json)


def _source_for_plan(backend: Backend) -> "Source | None":
    """The source, to try a few jobs on; None where that is not possible here and now."""
    from latency.measurement.measurement import NotHereError

    if backend.name == COREML_DEVICE:
        return None  # an app would have to be installed on the phone
    try:
        return source_of(backend)
    except NotHereError as error:
        print_note(f"how long it takes is not known: {error}")
        return None
