"""A user's evaluation of architectures, held to what a search can use."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.evaluators import BadAnswerError, Samples, Span
from search_spaces import Architecture
from search_spaces.tables.columns import UNITS, suffix_of

Answer = float | Sequence[float] | Mapping[str, float]
Evaluate = Callable[..., Answer]
NO_NUMBERS = ("bool", "complex", "<U", "|S", "object")  # in what arrays call their types
LARGEST = 1e100
KINDS = "a number, or numbers by name: {'accuracy_pct': 93.1}"


@dataclass(frozen=True)
class Evaluation:
    """Evaluates architectures by a user's function.

    Args:
        evaluate: the function.
        finds: the names that the search needs, in order.
        fidelity: an argument that says how closely it looks, if there is one.
    """

    evaluate: Evaluate
    finds: tuple[str, ...]
    fidelity: str | None = None

    def __call__(
        self, architecture: Architecture, span: Span | None = None
    ) -> tuple[float, ...] | Samples:
        """The numbers of one architecture, in the order of `finds`; NaN is one of them.

        Where there is one, it may be told as an array, of a number a sample.

        Raises:
            BadAnswerError: no numbers, others than are needed, or names without a unit.
        """
        asked = {} if self.fidelity is None or span is None else {self.fidelity: span[1]}
        answer: Any = self.evaluate(architecture, **asked)
        if span is not None and len(self.finds) == 1:
            samples = _samples(answer, self.finds[0])
            if samples is not None:
                return self._checked(samples, span)
        if isinstance(answer, Mapping):
            return self._by_name(answer)
        values = answer if isinstance(answer, tuple | list) else [answer]
        if len(values) != len(self.finds):
            raise BadAnswerError(
                f"evaluate returned {len(values)} number{'s' * (len(values) != 1)} for "
                f"{len(self.finds)} objectives ({', '.join(self.finds)}); return them by name, as "
                f"{{{self.finds[0]!r}: ...}}{known_elsewhere(self.finds)}"
            )
        return tuple(_number(value, name) for value, name in zip(values, self.finds, strict=True))

    def _checked(self, samples: Samples, span: Span) -> Samples:
        if len(samples.values) != span[1]:
            raise BadAnswerError(
                f"evaluate returned {len(samples.values)} numbers for {self.fidelity}={span[1]}; "
                "return one for each, the first ones as for fewer, or their mean"
            )
        return samples

    def _by_name(self, answer: Mapping[Any, Any]) -> tuple[float, ...]:
        for name in answer:
            if not isinstance(name, str) or suffix_of(name) is None:
                raise BadAnswerError(
                    f"evaluate found {name!r}, a name without a unit; spell it as {name}_pct or "
                    f"{name}_loss (units: {', '.join(UNITS)})"
                )
        if missing := [name for name in self.finds if name not in answer]:
            raise BadAnswerError(
                f"evaluate found {', '.join(map(str, answer)) or 'nothing'}, and the search needs "
                f"{', '.join(missing)}; return it too, or name another of the objectives"
                f"{known_elsewhere(missing)}"
            )
        return tuple(_number(answer[name], name) for name in self.finds)


def _samples(answer: Any, name: str) -> Samples | None:
    """An array of one dimension, of numpy's or torch's, alone or by its name."""
    array: Any = answer.get(name) if isinstance(answer, Mapping) else answer
    if getattr(array, "ndim", 0) != 1 or len(array) < 2:
        return None
    return Samples(tuple(_number(each, name) for each in array.tolist()))


def known_elsewhere(names: Sequence[str]) -> str:
    """What is known of networks beforehand, if one says by what."""
    said = ""
    if any(name.startswith("latency_") for name in names):
        said += "; a latency is known beforehand on a `device=`"
    if any(name in ("parameters_count", "memory_mb", "flops_count") for name in names):
        said += "; sizes are known beforehand by a `build=`"
    return said


def _is_array(value: Any) -> bool:
    """Whether it holds several numbers, or none: an array of numpy's or torch's."""
    count = value.numel() if hasattr(value, "numel") else getattr(value, "size", 1)
    return bool(getattr(value, "ndim", 0)) and count != 1


def _number(value: Any, name: str) -> float:
    """A number of Python, numpy or torch, alone or the one of an array; NaN is one of them.

    Raises:
        ValueError: it is finite, and larger than anything that is measured.
    """
    kind = str(getattr(value, "dtype", ""))
    if _is_array(value):
        raise BadAnswerError(
            f"evaluate returned an array for {name}; return {KINDS}, or, of the one thing that is "
            "found at a fidelity, an array of one number a sample"
        )
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    odd = isinstance(value, str | bytes | bool) or any(word in kind for word in NO_NUMBERS)
    if odd or value is None or not hasattr(value, "__float__"):
        kind = type(value).__name__
        raise BadAnswerError(f"evaluate returned a {kind} for {name}; return {KINDS}")
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise BadAnswerError(
            f"evaluate returned no single number for {name} ({error}); return {KINDS}"
        ) from None
    if math.isfinite(found) and abs(found) > LARGEST:
        raise ValueError(f"{name} is {found:g}, larger than anything that is measured")
    return found
