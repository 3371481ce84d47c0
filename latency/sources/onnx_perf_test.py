"""What onnxruntime_perf_test prints: the average of its calls and, with -s, their percentiles.

    onnxruntime_perf_test -e cpu -m times -r 100 -s -I net-1.onnx > net-1.txt

The average stands in milliseconds, the total and the percentiles in seconds
(onnxruntime/test/perftest/performance_runner.cc: `PerformanceRunner::Run`,
`PerformanceResult::DumpToFile`). Read is what it has printed since 2020, `Average inference time
cost: 7.2 ms` (later `cost total:`); before, a line was called otherwise and lacked units. Where
nodes ran it does not say: its profile does (-p; `onnx_profile.py`).
"""

from typing import Any

from latency.sources.report_files import NUMBER, Lines, name_of

SOURCE = "onnxruntime_perf_test"
MEND = "run onnxruntime_perf_test again, and keep all that it prints"
AVERAGE = rf"Average inference time cost(?: total)?: *({NUMBER})\s*(\w*)"
OLD_AVERAGE = rf"Average time cost: *{NUMBER}"
TOTAL = rf"Total inference time cost: *({NUMBER})\s*(\w*)"
REQUESTS = r"Total inference requests: *(\d{1,12})\b"
THREADS = r"Setting intra_op_num_threads to (\d{1,6})\b"
PERCENTILES = ("Min", "P50", "P90", "P95", "P99", "P999", "Max")  # none is less than one before it
ROUNDED = 0.01  # by how much numbers of six digits may contradict each other
HOUR_MS = 3600e3


def is_perf_test(lines: Lines) -> bool:
    """Whether a text is meant to be one."""
    return any(lines.find(r"Average (?:inference )?time cost"))


def perf_test_rows(lines: Lines) -> list[dict[str, Any]]:
    """The row of a run: one network, called after the file. Its latency is the median with -s.

    Raises:
        InputError: names the file, and what it does not say or says twice.
    """
    if any(lines.find(OLD_AVERAGE)):
        raise lines.wrong(
            "is of an onnxruntime_perf_test before version 1.2, whose units are not told; measure "
            "with a newer one"
        )
    average_ms = _number(lines, AVERAGE, "the average time of a call", "ms")
    requests = int(lines.one(REQUESTS, "how many calls there were (Total inference requests)")[1])
    total_s = _number(lines, TOTAL, "the time of all calls (Total inference time cost)", "s")
    if requests < 1 or abs(average_ms * requests / 1e3 - total_s) > ROUNDED * total_s:
        raise lines.wrong(
            f"{requests} calls of {average_ms:g} ms do not take {total_s:g} s, so a unit is wrong; "
            f"{MEND}"
        )
    latency: dict[str, float | str] = {"latency_ms": average_ms, "samples": requests}
    found = _percentiles_ms(lines, average_ms)
    if found:
        latency |= {"latency_ms": found["P50"], "p90_ms": found["P90"]}
    threads = lines.maybe(THREADS, "its number of threads")
    notes = ["latency=median" if found else "latency=mean"]
    notes += [f"threads={threads[1]}"] if threads else []
    columns = {"source": SOURCE, "notes": "; ".join(notes)}
    return [{"id": name_of(lines.file.name), **latency, **columns}]


def _number(lines: Lines, pattern: str, what: str, unit: str) -> float:
    """A time above 0 in the unit that it must have."""
    found = lines.one(pattern, what)
    if found[2] != unit:
        raise lines.wrong(f"gives {what} in {found[2] or 'no unit'}, not in {unit}; {MEND}")
    value = float(found[1])
    if not 0 < value * (1e3 if unit == "s" else 1.0) < HOUR_MS:
        raise lines.wrong(f"{what} is not a time above 0, and below an hour; {MEND}")
    return value


def _percentiles_ms(lines: Lines, average_ms: float) -> dict[str, float]:
    """The percentiles that -s adds: all of them, or none.

    Raises:
        InputError: some are missing, in another unit, out of order, or contradict the average.
    """
    pattern = r"\b{} Latency(?::| is) *({})\s*(\w*)"
    found = {
        name: lines.maybe(pattern.format(name, NUMBER), f"the {name} latency")
        for name in PERCENTILES
    }
    if not any(found.values()):
        return {}
    times_ms: dict[str, float] = {}
    for name, match in found.items():
        if match is None:
            raise lines.wrong(f"does not say the {name} latency, as it says others; {MEND}")
        if match[2] not in ("s", "sec"):
            raise lines.wrong(
                f"gives the {name} latency in {match[2] or 'no unit'}, not in s; {MEND}"
            )
        times_ms[name] = float(match[1]) * 1e3
    ordered = list(times_ms.values())
    if ordered[0] <= 0 or ordered[-1] >= HOUR_MS or ordered != sorted(ordered):
        raise lines.wrong(f"its percentiles are not times in rising order; {MEND}")
    if not ordered[0] * (1 - ROUNDED) <= average_ms <= ordered[-1] * (1 + ROUNDED):
        raise lines.wrong(
            f"its average of {average_ms:g} ms is outside of its latencies, {ordered[0]:g} to "
            f"{ordered[-1]:g} ms: a unit is wrong, or they are of something other than whole "
            f"calls; {MEND}"
        )
    return times_ms
