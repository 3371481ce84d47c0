"""What TensorFlow Lite's (LiteRT's) benchmark_model prints of one model, in microseconds.

    adb shell /data/local/tmp/benchmark_model --graph=/data/local/tmp/net-1.tflite > net-1.txt

The last line of statistics before `Inference timings in us: ...` is that of the measured calls
(tensorflow/lite/tools/benchmark/benchmark_model.cc: `BenchmarkModel::Run`, `OnBenchmarkEnd`;
`Stat::OutputToStream` of tsl/util/stats_calculator.h). Newer ones end in `p5= median= p95=`. A
delegate that takes none of the graph leaves all of it to the processor, and one line of
benchmark_tflite_model.cc says so. What `--report_peak_memory_footprint` and `--enable_op_profiling`
add is passed over; the table of operations that the latter can write as CSV has no time of a call.
"""

import re
from dataclasses import dataclass
from typing import Any

from latency.sources.report_files import NUMBER, Lines, name_of

SOURCE = "TFLite benchmark_model"
MEND = "run benchmark_model again, and keep all that it prints"
SUMMARY = r"Inference timings in (\w+): Init: ([^,]+), .*Inference \(avg\): (\S+)"
INITIALIZED = rf"Initialized session in ({NUMBER})\s*(\w+)"
GRAPH = r"\bGraph: \[(.+)\]"
THREADS = r"#threads used for CPU inference: \[(\d{1,6})\]"
APPLIED = r"Explicitly applied (\w+) delegate, and the model graph will be (completely|partially)"
NOT_APPLIED = r"Though (\w+) delegate is explicitly applied, the model graph will not be executed"
REPLACED = r"Replacing (\d{1,9}) out of (\d{1,9}) node\(s\) with delegate \((\w+)\)"
OF_THE_PROCESSOR = "xnnpack"
NAMED = ("gpu", "nnapi", "hexagon", "coreml", "qnn", OF_THE_PROCESSOR)  # in a delegate's class
ROUNDED = 0.002  # by how much numbers of six digits may contradict each other
HOUR_US = 3600e6
LONGEST_NAME = 200


def is_benchmark(lines: Lines) -> bool:
    """Whether a text is meant to be one."""
    marks = rf"Inference timings in \w+:|{INITIALIZED}|Running benchmark for at least"
    return any(lines.find(marks))


@dataclass(frozen=True)
class Statistics:
    """The measured calls, in microseconds."""

    count: int
    mean_us: float
    std_us: float
    median_us: float | None


def benchmark_rows(lines: Lines, *, allow_fallback: bool = False) -> list[dict[str, Any]]:
    """The row of a run: one model, called after its file. Its latency is the median if told.

    Raises:
        InputError: names the file, and what it does not say or says twice; or no delegate that
            was asked for ran anything, unless that is allowed.
    """
    found = _statistics(lines)
    latency_us = found.mean_us if found.median_us is None else found.median_us
    applied = [match[1].lower() for match in lines.find(APPLIED)]
    refused = [match[1] for match in lines.find(NOT_APPLIED)]
    if refused and not applied and not allow_fallback:
        raise lines.wrong(
            f"the {' and '.join(refused)} delegate was asked for, and the processor ran all of "
            "it; take that by `allow_fallback=True`"
        )
    graph, threads = lines.maybe(GRAPH, "its graph"), lines.maybe(THREADS, "its threads")
    name = name_of(graph[1] if graph else lines.file.name)
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise lines.wrong(f"does not name a model; {MEND}")
    processor = f"cpu, {threads[1]} threads" if threads and threads[1] != "0" else "cpu"
    notes = [f"latency={'mean' if found.median_us is None else 'median'}", *_nodes(lines)]
    return [
        {
            "id": name,
            "latency_ms": latency_us / 1e3,
            "samples": found.count,
            "std_ms": found.std_us / 1e3,
            "compute_unit": ", ".join(applied) or processor,
            "source": SOURCE,
            "notes": "; ".join(notes),
        }
    ]


def _statistics(lines: Lines) -> Statistics:
    """The line of the measured calls, held against the summary that follows it.

    Raises:
        InputError: one of them is missing, in another unit, or contradicts the other.
    """
    summary = lines.one(SUMMARY, "its summary (Inference timings in us)")
    if summary[1] != "us":
        raise lines.wrong(f"gives its timings in {summary[1]}, and us were expected; {MEND}")
    end = next(index for index, line in enumerate(lines.lines) if summary[0] in line)
    told = [line for line in lines.lines[:end] if re.search(r"\bcount=\d", line)]
    if not told:
        raise lines.wrong(f"has no statistics (count=...) before its summary; {MEND}")
    values = {name: float(value) for name, value in re.findall(rf"(\w+)=({NUMBER})", told[-1])}
    count, mean_us = values["count"], values.get("avg", values.get("curr", 0.0))
    median_us = values.get("median")
    if not 1 <= count < 1e12 or not 0 < mean_us < HOUR_US or not 0 <= values.get("std", 0) < 1e12:
        raise lines.wrong(f"has no times of measured calls; {MEND}")
    low_us, high_us = values.get("min", mean_us), values.get("max", mean_us)
    for each_us in (mean_us, mean_us if median_us is None else median_us):
        if not 0 < low_us * (1 - ROUNDED) <= each_us <= high_us * (1 + ROUNDED):
            raise lines.wrong(f"its statistics (count=...) contradict themselves; {MEND}")
    _check_equal(lines, summary[3], mean_us, "its summary's average")
    started = lines.maybe(INITIALIZED, "how long its start took")
    if started is not None:
        if started[2] != "ms":
            raise lines.wrong(f"gives the time of its start in {started[2]}, not in ms; {MEND}")
        _check_equal(lines, summary[2], float(started[1]) * 1e3, "the time of its start")
    return Statistics(int(count), mean_us, values.get("std", 0.0), median_us)


def _check_equal(lines: Lines, text: str, expected_us: float, what: str) -> None:
    value_us = float(text) if re.fullmatch(NUMBER, text) else float("nan")
    if not abs(value_us - expected_us) <= ROUNDED * expected_us + 1:
        raise lines.wrong(
            f"{what} is {expected_us:g} us in one line and not in another, so a unit is wrong; "
            f"{MEND}"
        )


def _nodes(lines: Lines) -> list[str]:
    """The share of each delegate in the nodes of the graph, as a note; empty where none is told."""
    replaced = [(int(m[1]), int(m[2]), m[3].lower()) for m in lines.find(REPLACED)]
    whole = max((total for _, total, _ in replaced), default=0)
    if not whole or sum(count for count, _, _ in replaced) > whole:
        return []  # of several graphs: no whole to be a share of
    counts: dict[str, int] = {}
    for count, _, delegate in replaced:
        name = next((each for each in NAMED if each in delegate), delegate)
        name = "cpu" if name == OF_THE_PROCESSOR else name
        counts[name] = counts.get(name, 0) + count
    counts["cpu"] = counts.get("cpu", 0) + whole - sum(counts.values())
    shares = (f"{name}:{count / whole:.2f}" for name, count in counts.items() if count)
    return [f"nodes_on={','.join(shares)}"]
