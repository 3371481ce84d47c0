"""What a plan is of, as files that are measured elsewhere: Core ML packages, or ONNX."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from latency.sources.contract import Job
from nas.calibration.profiling import Planned
from nas.progress import Progress
from search_spaces import InputError

COREML, ONNX = "coreml", "onnx"
FORMATS = (COREML, ONNX)
Write = Callable[[Job, Path], None]  # a whole file or package, at that path
Check = Callable[[Path], None]  # of one that is there already


def write_models(
    folder: Path, planned: Planned, progress: Progress, format_: str, precision: str = "float32"
) -> None:
    """Convert every job, to a file called after it; one that is there already is kept.

    `precision` is that of ONNX files; Core ML packages are in mixed precision.

    Raises:
        InputError: no such format or precision, a network that cannot be converted, or a file that
            is there in another precision.
        NotHereError: the packages that convert are not installed.
    """
    suffix, write, check = _writer(format_, precision)
    folder.mkdir(parents=True, exist_ok=True)
    with progress.stage(f"convert to {suffix}", len(planned.jobs)) as advance:
        for done, (name, job) in enumerate(planned.jobs.items(), start=1):
            model = folder / f"{name}{suffix}"
            if model.exists():
                check(model)
            else:
                try:
                    write(job, model)
                except InputError as error:
                    raise InputError(f"{name}: {error}") from error
            advance(done)


def check_format(format_: str) -> None:
    """Check the name of a format."""
    if format_ not in FORMATS:
        raise InputError(f"`format={format_}`: give {' or '.join(FORMATS)}")


def _writer(format_: str, precision: str) -> tuple[str, Write, Check]:
    check_format(format_)
    if format_ == COREML:
        return ".mlpackage", _write_package, lambda _: None
    from latency.onnx import export

    export.check_exporter()
    export.dtype_of(precision)
    return export.SUFFIX, partial(_write_onnx, precision), partial(export.check_file, precision)


def _write_onnx(precision: str, job: Job, model: Path) -> None:
    from latency.onnx.export import save

    save(*job.made(), model, precision)


def _write_package(job: Job, package: Path) -> None:
    from latency.coreml.convert import save  # coremltools loads with it

    with tempfile.TemporaryDirectory(dir=package.parent, prefix=".") as half:
        save(*job.made(), Path(half) / "model.mlpackage")
        (Path(half) / "model.mlpackage").rename(package)
