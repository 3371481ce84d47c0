"""Reports of other tools, told apart by what they hold, not by what they are called."""

from pathlib import Path
from typing import Any

from latency.sources import ai_hub, onnx_perf_test, onnx_profile, tflite_benchmark, xcode_report
from latency.sources.fields import Field, read_json
from latency.sources.report_files import Lines, read_lines
from search_spaces import InputError

KNOWN = (
    "an Xcode performance report (.mlperf or report.json), an ONNX Runtime profile (JSON), what "
    "onnxruntime_perf_test or TFLite's benchmark_model printed, or a Qualcomm AI Hub profile (JSON)"
)
MEND = f"give {KNOWN}"


def read_any_report(path: Path, *, allow_fallback: bool = False) -> list[dict[str, Any]]:
    """The rows of a report.

    `allow_fallback` takes also what the processor ran in the place of what was asked for.

    Raises:
        InputError: no such file, no report that is known, or one that is damaged.
    """
    if path.is_dir() or path.suffix == ".mlperf":
        return xcode_report.read_report(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    lines = read_lines(path, MEND)
    first = next((line.strip() for line in lines.lines if line.strip()), "")
    is_text = tflite_benchmark.is_benchmark(lines) or onnx_perf_test.is_perf_test(lines)
    if first.startswith(("{", "[")) and not is_text:
        return _rows_of_json(read_json(path, MEND))
    return _rows_of_text(lines, allow_fallback=allow_fallback)


def _rows_of_json(document: Field) -> list[dict[str, Any]]:
    if onnx_profile.is_profile(document.value):
        return onnx_profile.profile_rows(_mended(document, onnx_profile.MEND))
    if ai_hub.is_profile_job(document.value):
        return ai_hub.profile_job_rows(_mended(document, ai_hub.MEND))
    if "jsonVersion" in document.value or "deviceResults" in document.value:
        return xcode_report.read_report(document.file)
    raise InputError(f"{document.file}: is JSON of something else; {MEND}")


def _rows_of_text(lines: Lines, *, allow_fallback: bool) -> list[dict[str, Any]]:
    if tflite_benchmark.is_benchmark(lines):
        return tflite_benchmark.benchmark_rows(lines, allow_fallback=allow_fallback)
    if onnx_perf_test.is_perf_test(lines):
        return onnx_perf_test.perf_test_rows(lines)
    raise InputError(f"{lines.file}: holds nothing that is known; {MEND}")


def _mended(document: Field, mend: str) -> Field:
    return Field(document.value, document.file, document.name, mend)
