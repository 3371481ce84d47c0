"""Networks as people write them: each gets an answer, or one line that says why not, and where."""

import collections
import dataclasses
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import latency
from latency import Workload
from latency.tracing.building import input_shapes, trace_built
from search_spaces import InputError

X = "2,8"
PRODUCT = 2 * 2 * 8 * 8  # FLOPs of a linear layer of 8 by 8 on X
LINEAR = 8 * 8 + 8  # its parameters
TABLE = torch.ones(8)


class Config(dict[str, Any]):
    """As the settings of many published networks."""

    __getattr__ = dict.__getitem__


class Hostile:
    """Whoever asks it anything runs its code."""

    def refuse(self, *_: object) -> Any:
        raise AssertionError("somebody looked at me")

    __getattr__ = __eq__ = __len__ = __bool__ = __repr__ = __hash__ = __iter__ = refuse  # type: ignore[assignment]
    __getstate__ = __reduce_ex__ = __dir__ = __format__ = __contains__ = refuse  # type: ignore[assignment]
    value = property(refuse)


class Holder(nn.Module):
    """A linear layer, beside anything."""

    def __init__(self, held: object = None) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.held = held

    def forward(self, x: Tensor) -> Any:
        return self.linear(x)


def ring() -> Holder:
    """A part that knows its parent."""
    holder = Holder()
    holder.held = [holder, weakref.ref(holder)]
    return holder


HELD: dict[str, Callable[[], object]] = {
    "config": lambda: Config(width=8, nested=Config(depth=[1, 2])),
    "hostile": Hostile,
    "huge": lambda: list(range(100_000)),
    "array": lambda: np.arange(12).reshape(3, 4),
    "objects": lambda: np.array([object()], dtype=object),
    "tensors": lambda: {"table": torch.ones(3), "views": [torch.ones(4)[1:]]},
    "generators": lambda: [iter([]), (i for i in ()), torch.Generator()],
    "locks": lambda: [threading.Lock(), threading.local()],
    "functions": lambda: [lambda x: x, functools.partial(int, base=2), functools.cache(int)],
    "counter": lambda: collections.Counter("abc"),
}


def with_function(function: Callable[..., Any]) -> Callable[[], nn.Module]:
    """A module of one linear layer that computes `function(linear, x)`."""

    class Module(Holder):
        def forward(self, x: Tensor, *more: Tensor) -> Any:
            return function(self.linear, x, *more)

    return Module


def with_constructor(change: Callable[[Any], object]) -> Callable[[], nn.Module]:
    """A module with a linear layer, whose constructor does `change(self)` too."""

    class Module(Holder):
        def __init__(self) -> None:
            super().__init__()
            change(self)

        def forward(self, x: Tensor) -> Any:
            held = self.held
            return self.linear(x) if held is None else self.linear(x) + held

    return Module


def hold(make: Callable[[], object]) -> Callable[[Any], None]:
    return lambda module: setattr(module, "held", make())


CONSTRUCTORS: dict[str, Callable[[], nn.Module]] = {
    "item": with_constructor(hold(lambda: 2 * torch.linspace(0, 1, 4)[1].item())),
    "tolist": with_constructor(hold(lambda: torch.linspace(0, 1, 4).tolist()[1])),
    "numpy": with_constructor(hold(lambda: float(torch.ones(4).numpy()[0]))),
    "to cpu": with_constructor(lambda module: module.to("cpu")),
    "branch": with_constructor(lambda module: 1 / int(not (module.linear.weight > 99).any())),
    "buffer of another device": with_constructor(hold(lambda: TABLE)),
}


@dataclasses.dataclass
class Output:
    sample: Tensor
    more: object = None


class Pair(NamedTuple):
    one: Tensor
    other: Tensor


class Box:
    def __init__(self, value: object) -> None:
        self.value = value


OUTPUTS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "dict": lambda f, x: {"out": f(x), "none": None},
    "named tuple": lambda f, x: Pair(f(x), x),
    "data class": lambda f, x: Output(f(x), [Output(x), 3, "text"]),
    "object": lambda f, x: Box(Box(f(x))),
    "hostile": lambda f, x: [f(x), Hostile()],
    "deep": lambda f, x: [({"a": [f(x)]},), None, 2.0],
}


class Remembers(Holder):
    """Keeps a tensor between calls, as rotary embeddings do."""

    def forward(self, x: Tensor) -> Tensor:
        if self.held is None:
            self.held = torch.arange(8, device=x.device).cos()
        return self.linear(x) * self.held


class Printing(Holder):
    def forward(self, x: Tensor) -> Tensor:
        print("shape", x.shape, x)  # noqa: T201
        return self.linear(x)


class OnCpu(Holder):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to("cpu")) + torch.ones(8, device="cpu")


class Untrainable(Holder):
    def eval(self) -> Any:
        raise RuntimeError("not to be called")


class Keywords(Holder):
    def forward(self, *, x: Tensor, mask: Tensor | None = None) -> Any:
        return self.linear(x) if mask is None else self.linear(x).masked_fill(mask, 0.0)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.table(tokens))


class Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=8)


def with_half_buffer() -> nn.Module:
    module = Holder()
    module.register_buffer("scale", torch.ones(8, dtype=torch.half))
    return module


def pruned() -> nn.Module:
    module = nn.Linear(8, 8)
    prune.l1_unstructured(module, "weight", 0.5)
    return module


def hooked() -> nn.Module:
    module = Holder()
    module.linear.register_forward_hook(lambda *_: None)
    return module


# A network, its inputs, its FLOPs and its parameters.
Case = tuple[Callable[[], object], str, int, int]
ANSWERED: dict[str, Case] = {
    **{
        f"held {n}": (functools.partial(Holder, make()), X, PRODUCT, LINEAR)
        for n, make in HELD.items()
    },
    **{f"built {n}": (build, X, PRODUCT, LINEAR) for n, build in CONSTRUCTORS.items()},
    **{f"out {n}": (with_function(f), X, PRODUCT, LINEAR) for n, f in OUTPUTS.items()},
    "ring": (ring, X, PRODUCT, LINEAR),
    "activation": (nn.ReLU, X, 0, 0),
    "identity": (nn.Identity, X, 0, 0),
    "plain attention": (Attention, "1,4,8;1,6,8;1,6,8", 4 * 4 * 6 * 8, 0),
    "noise": (with_function(lambda f, x: f(x) + torch.randn_like(x)), X, PRODUCT, LINEAR),
    "remembers": (Remembers, X, PRODUCT, LINEAR),
    "on the cpu": (OnCpu, X, PRODUCT, LINEAR),
    "untrainable": (Untrainable, X, PRODUCT, LINEAR),
    "hooked": (hooked, X, PRODUCT, LINEAR),
    "keywords": (Keywords, "x=2,8", PRODUCT, LINEAR),
    "mask": (Keywords, "x=2,8; mask=2,8:bool", PRODUCT, LINEAR),
    "tokens": (lambda: nn.Embedding(20, 8), "1,7:int64", 0, 160),
    "tied": (Tied, "1,7:int64", 2 * 7 * 8 * 20, 160),
    "multihead": (with_function(lambda _, x: x), "1,4,8", 0, LINEAR),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16), "4,1,8", 4608, 600),
    "lstm": (lambda: nn.LSTM(8, 8), "3,2,8", 6144, 576),
    "half": (lambda: nn.Linear(8, 8).half(), X, PRODUCT, LINEAR),
    "half buffer": (with_half_buffer, X, PRODUCT, LINEAR),
    "double": (lambda: nn.Linear(8, 8).double(), X, PRODUCT, LINEAR),
    "complex": (Spectrum, X, 0, 5),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(8, 8)), X, PRODUCT, 80),
    "pruned": (pruned, X, PRODUCT, LINEAR),
    "checkpointed": (
        with_function(lambda f, x: checkpoint(f, x, use_reentrant=False)),
        X,
        PRODUCT,
        LINEAR,
    ),
    "mapped": (with_function(lambda f, x: torch.vmap(f)(x)), X, PRODUCT, LINEAR),
    "compiled": (lambda: torch.compile(nn.Linear(8, 8)), X, PRODUCT, LINEAR),
    "jit traced": (lambda: torch.jit.trace(nn.Linear(8, 8), torch.ones(2, 8)), X, PRODUCT, LINEAR),
    "statistics": (lambda: nn.BatchNorm1d(8), X, 0, 16),
    "several inputs": (lambda: nn.TransformerDecoderLayer(8, 2, 16), "3,1,8;4,1,8", 5536, 904),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_is_answered(name: str) -> None:
    build, shapes, flops, parameters = ANSWERED[name]
    workload = trace_built(build, input_shapes(shapes), name)
    assert (workload.flops, workload.parameters) == (flops, parameters)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4))


def raising(error: BaseException) -> Callable[[], nn.Module]:
    def forward(*_: object) -> None:
        raise error

    return with_function(forward)


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("no text")


def endless() -> Iterator[nn.Module]:
    yield nn.ReLU()


REFUSED: dict[str, tuple[object, str, str]] = {
    "lazy": (lazy, X, "0.weight has no shape before the first run"),
    "branch": (
        with_function(lambda f, x: f(x) if x.sum() > 0 else x),
        X,
        "depends on the data.*test_strange_modules.py, line",
    ),
    "loop": (
        with_function(lambda f, x: [f(x) for _ in range(int(x.sum()))]),
        X,
        "depends on the data",
    ),
    "selection": (with_function(lambda f, x: f(x)[x[:, 0] > 0]), X, "depends on the data"),
    "nothing": (with_function(lambda *_: None), X, "returns no tensor"),
    "number": (with_function(lambda *_: 3), X, "returns no tensor"),
    "wrong shape": (lambda: nn.Linear(8, 8), "2,9", r"\[2, 9\] X \[8, 8\]"),
    "too few": (Attention, X, "missing 2 required positional arguments"),
    "too many": (Holder, f"{X};{X}", "takes 2 positional arguments but 3"),
    "unknown name": (Keywords, "y=2,8", "unexpected keyword argument 'y'"),
    "floats for indices": (Tied, "1,7", "Long.*1,77:int64"),
    "raises": (raising(ValueError("one\ntwo")), X, r"ValueError: one \(test_strange_modules.py"),
    "unspeakable": (raising(Unspeakable()), X, "Unspeakable"),
    "exits": (raising(SystemExit(3)), X, "SystemExit: 3"),
    "scripted": (lambda: torch.jit.script(nn.Linear(8, 8)), X, "give those of Python"),
    "no forward": (lambda: nn.ModuleList([nn.ReLU()]), X, "ModuleList"),
    "cuda": (lambda: nn.Linear(8, 8).to("cuda:7"), X, "raised"),
    "arguments": (lambda width: nn.Linear(width, 8), X, "missing 1 required positional argument"),
    "no module": (lambda: 3, X, "returned a int, no torch module"),
    "a generator": (endless, X, "returned a generator, no torch module"),
    "not callable": (3, X, "a int is not callable"),
    "exits when built": (lambda: (_ for _ in ()).throw(SystemExit(2)), X, "raised SystemExit: 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    build, shapes, says = REFUSED[name]
    with pytest.raises(InputError, match=says) as caught:
        trace_built(build, input_shapes(shapes), name)
    text = str(caught.value)
    assert text.startswith(name)
    assert "\n" not in text
    assert len(text) < 500
    assert not capsys.readouterr().err


def test_a_module_is_traced_again_as_at_first() -> None:
    """What `forward` keeps in the module while it is traced is no tensor that anyone can use."""
    module = Remembers().train()
    first = latency.trace(module, torch.empty(2, 8))
    assert latency.trace(module, torch.empty(2, 8)) == first
    assert module.training
    assert module(torch.ones(2, 8)).isfinite().all()
    assert isinstance(module.held, Tensor)


def test_a_module_may_be_returned_that_was_there_before() -> None:
    module = nn.Linear(8, 8)
    for build in (module, lambda: module):
        assert trace_built(build, input_shapes(X)).flops == PRODUCT


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected whole numbers"),
        ("1,x", "expected whole numbers"),
        ("1,,2", "expected whole numbers"),
        ("1,2;", "expected whole numbers"),
        ("1,0", "at least 1"),
        ("1,2:int65", "no type 'int65'"),
        ("1,2:nn", "no type 'nn'"),
        ("x=1;x=2", "named twice"),
    ],
)
def test_shapes_that_are_none(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        input_shapes(text)


def test_types_and_several_inputs_are_those_that_run() -> None:
    def workload(shapes: str) -> Workload:
        return trace_built(nn.Identity, input_shapes(shapes))

    assert workload("2,8:float16").number_bytes == 2
    assert workload("2,8:float64").peak_bytes == 2 * 8 * 8
    assert workload("2,8:bool").peak_bytes == 2 * 8
