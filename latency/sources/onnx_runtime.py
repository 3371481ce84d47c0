"""Measures torch modules as ONNX models by ONNX Runtime, on an execution provider of this machine.

What a provider cannot run, ONNX Runtime runs on the processor and says nothing. So each module is
profiled once, node by node, before it is timed: the table says where it ran, and a module that the
provider asked for did not run is refused.
"""

import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from latency.measurement.measurement import NotHereError
from latency.onnx.export import cast, check_exporter, dtype_of, save
from latency.onnx.packages import imported
from latency.sources.contract import Inputs, Notes, Protocol, Runner, Sampled
from latency.sources.fields import read_json
from latency.sources.machine_state import machine_state
from latency.sources.onnx_profile import MEND, PROVIDER, read_profile, short
from latency.sources.placement import Placement
from search_spaces import InputError

CPU = f"CPU{PROVIDER}"
QUIET = 3  # of ONNX Runtime's levels of severity: errors alone
PROFILED_CALLS = 3
MOST_FALLEN_BACK = 0.1  # of the nodes' time: shapes are computed on the processor anyway
MOST_THREADS = 1024


class OnnxRuntime:
    """ONNX Runtime on this machine; see `latency.sources.contract.Source`."""

    def __init__(
        self,
        provider: str = CPU,
        precision: str = "float32",
        threads: int = 1,
        *,
        allow_fallback: bool = False,
    ) -> None:
        """Choose an execution provider by its name (`CUDAExecutionProvider`, or `cuda`).

        Args:
            provider: what runs the network.
            precision: float32 or float16, of weights and inputs.
            threads: of the processor, for the operations that it runs.
            allow_fallback: measure also what the processor ran in the provider's place.

        Raises:
            NotHereError: the packages are not installed, or they have no such provider.
            InputError: another precision; no number of threads.
        """
        dtype_of(precision)
        if not 1 <= threads <= MOST_THREADS:
            raise InputError(f"`threads={threads}`: give a number from 1 to {MOST_THREADS}")
        self.runtime = imported("onnxruntime", "measuring with ONNX Runtime")
        check_exporter()
        self.provider = _available(self.runtime, provider)
        self.precision, self.threads = precision, threads
        self.allow_fallback = allow_fallback
        self.name = f"ONNX Runtime {self.runtime.__version__}"
        # What the processor asks another device for, it asks once a call: a chain shows it.
        self.chains: tuple[int, ...] = (1,) if self.provider == CPU else (1, 8)
        self.protocol = Protocol()

    def facts(self) -> dict[str, str]:
        """This machine, the provider that was asked for, and the processor's threads."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return {
            "device": "host",
            "soc": platform.processor() or platform.machine(),
            "compute_unit": f"{self.provider}, {threads}",
            "os": f"{platform.system()} {platform.release()}",
            "precision": self.precision,
        }

    def state(self) -> Notes:
        """Power, heat and tools, now."""
        return machine_state(("onnxruntime", "torch"))

    def prepare(self, module: nn.Module, inputs: Inputs) -> Runner:
        """Export a module, load it, and see where its nodes run; its runner times call by call."""
        dtype = dtype_of(self.precision)
        with tempfile.TemporaryDirectory(prefix="temporal-nas-") as folder:
            model = Path(folder) / "model.onnx"
            save(module, inputs, model, self.precision)
            arrays = [cast(x, dtype).detach().cpu().numpy() for x in inputs]
            placed = self._placement(model, arrays)
            session = self._session(model, self._options())
        feeds = _feeds(session, arrays)
        notes = placed.notes

        def run(calls: int) -> Sampled:
            _timed(session, feeds)  # finds the caches cold
            return Sampled([_timed(session, feeds) for _ in range(calls)], notes)

        return run

    def _options(self) -> Any:
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        return options

    def _session(self, model: Path, options: Any) -> Any:
        """A session of the provider asked for, with the processor behind it."""
        providers = [self.provider] if self.provider == CPU else [self.provider, CPU]
        try:
            session = self.runtime.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # a node without a kernel, memory, a driver: any of them
            raise InputError(f"ONNX Runtime cannot load it: {_reason(error)}") from error
        if self.provider not in session.get_providers() and not self.allow_fallback:
            raise InputError(
                f"{self.provider} could not be started here, and ONNX Runtime fell back to "
                f"{', '.join(session.get_providers())}; mend its driver or its libraries, or take "
                "what is left by `allow_fallback=True`"
            )
        return session

    def _placement(self, model: Path, arrays: list[Any]) -> Placement:
        """Where the nodes ran, by a profile of a few calls.

        Raises:
            InputError: the processor ran what the provider was asked to run.
        """
        options = self._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(model.with_suffix(""))
        session = self._session(model, options)
        for _ in range(PROFILED_CALLS):
            _timed(session, _feeds(session, arrays))
        placed = read_profile(read_json(Path(session.end_profiling()), MEND)).placement
        fallen = 1.0 - placed.shares.get(short(self.provider), 0.0)
        if placed.shares and fallen > MOST_FALLEN_BACK and not self.allow_fallback:
            raise InputError(
                f"{self.provider} was asked to run it, and {fallen:.0%} of its time was spent "
                f"elsewhere ({placed.notes['ran_on']}); take that by `allow_fallback=True`"
            )
        return placed


def _available(runtime: Any, provider: str) -> str:
    """The provider of that name, long or short."""
    there: list[str] = runtime.get_available_providers()
    for name in there:
        if provider.lower() in (name.lower(), short(name)):
            return name
    raise NotHereError(
        f"provider {provider!r}: ONNX Runtime {runtime.__version__} has {', '.join(there)} here; "
        "give one of them, or install the build of onnxruntime that has it"
    )


def _feeds(session: Any, arrays: list[Any]) -> Mapping[str, Any]:
    """The inputs by their names; the exporter keeps their order."""
    names = [each.name for each in session.get_inputs()]
    if len(names) != len(arrays):
        raise InputError(f"the ONNX model takes {len(names)} inputs, and {len(arrays)} were given")
    return dict(zip(names, arrays, strict=True))


def _timed(session: Any, feeds: Mapping[str, Any]) -> float:
    """One call in ms, from arrays to arrays in the processor's memory."""
    begun = time.perf_counter_ns()
    try:
        session.run(None, feeds)
    except Exception as error:  # whatever a provider raises of what it cannot do
        raise InputError(f"ONNX Runtime cannot run it: {_reason(error)}") from error
    return (time.perf_counter_ns() - begun) / 1e6


def _reason(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
