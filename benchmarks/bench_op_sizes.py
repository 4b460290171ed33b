"""Every op record with long arguments: a warm simulated call, beside NumPy.

    python -m benchmarks.bench_op_sizes                  # what is below half
    python -m benchmarks.bench_op_sizes --size 1000      # with shorter arguments
    python -m benchmarks.bench_op_sizes --all sum tile   # these ops, whatever they are

Arguments are those of the record's samples, each dimension made longer by one factor.
Calls that NumPy refuses then, as their other arguments are for the smaller shape, are
left out, and so are those that take NumPy long. A ratio of 2.00 is twice as fast.

It ends after five minutes, in which two idle cores come to the last op; otherwise it
says how to go on from there. The last line counts what was measured.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench_kernels import LEAST_SECONDS
from benchmarks.timing import best, interleaved, micros
from nkipy.core import dtypes as dt
from nkipy.core import ops  # noqa: F401  (enters ops into the tables)
from nkipy.core.ops._registry import OPS, Op
from nkipy.runtime import simulate_jit

_SIZE = 100_000
DTYPES = (dt.float32, dt.int32)
#: What is shown.
_LEAST_SPEED = 0.5
#: Of NumPy's calls, and of one of ours that is measured more than once.
_MOST_SECONDS, _MOST_OF_OURS = 0.1, 0.5
#: Elements of results and of arguments, for each of the largest of those.
_MOST_GROWTH = 16


class Timed(NamedTuple):
    """One call: what it is of, and the least seconds of NumPy's and ours."""

    name: str
    elements: int
    dtype: np.dtype
    numpy: float
    ours: float

    @property
    def speed(self) -> float:
        return self.numpy / self.ours

    @property
    def counts(self) -> bool:
        return self.numpy >= LEAST_SECONDS

    def __str__(self) -> str:
        return (
            f"{self.speed:6.2f}  {micros(self.numpy):>10}  {micros(self.ours):>10}  "
            f"{self.elements:>9,}  {self.dtype!s:8}  {self.name}"
        )


def scaled(value: Any, factor: float) -> Any:
    """Arguments whose arrays are so many times as long, their elements repeated."""
    if isinstance(value, dict):
        return {key: scaled(x, factor) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        made = [scaled(x, factor) for x in value]
        return made if isinstance(value, list) else tuple(made)
    if not isinstance(value, np.ndarray):
        return value
    return np.resize(value, _longer(value, factor)) if value.size else value


def _longer(x: np.ndarray, factor: float) -> list[int]:
    return [max(round(d * factor), 1) if d > 1 else d for d in x.shape]


def arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays among arguments."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from arrays(inner)


def calls(op: Op, dtype: np.dtype, count: int) -> Iterator[tuple[str, Any, Any]]:
    """A few different samples' labels and arguments, for about so many elements."""
    kinds = set()
    for sample in () if op.samples is None else op.samples(dtype):
        given = list(arrays((sample.args, sample.kwargs)))
        x = max(given, key=lambda x: x.size, default=None)
        if x is None or x.size < 2 or sample.label == "special":
            continue
        kind = (len(x.shape), repr(_static((sample.args, sample.kwargs))))
        if kind in kinds:
            continue
        kinds.add(kind)
        long = sum(d > 1 for d in x.shape)
        factor = (count / x.size) ** (1 / long)
        if _most_elements(given, factor) > _MOST_GROWTH * count:
            continue  # a smaller one of more dimensions, or rows against columns
        label = f"{op.name} {sample.label}".strip()
        yield label, scaled(sample.args, factor), scaled(sample.kwargs, factor)


def _most_elements(given: Sequence[np.ndarray], factor: float) -> int:
    """Of the largest of arrays that are so many times as long, or of all against all
    others if they can be broadcast."""
    shapes = [tuple(_longer(x, factor)) for x in given]
    try:
        shapes.append(np.broadcast_shapes(*shapes))
    except ValueError:
        pass
    return max(map(prod, shapes))


def _static(value: Any) -> Any:
    """Arguments without the arrays' elements."""
    if isinstance(value, dict):
        return {key: _static(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_static(x) for x in value]
    return value.ndim if isinstance(value, np.ndarray) else value


def measure(
    op: Op, dtype: np.dtype, count: int, most: int, seconds: float
) -> Iterator[Timed]:
    """Time up to `most` calls of an op, for `seconds` each."""
    for label, args, kwargs in list(calls(op, dtype, count))[:most]:
        numpy = partial(_reference(op), *args, **kwargs)
        try:
            once = best(numpy, 0, 1)
        except Exception:  # whatever NumPy says to arguments that do not fit
            continue
        if once > _MOST_SECONDS or _elements(numpy()) > _MOST_GROWTH * count:
            continue
        simulated = partial(simulate_jit(_kernel(op)), args, kwargs)
        try:
            simulated()
        except (TypeError, ValueError, NotImplementedError):
            continue  # a restriction on static arguments
        start = time.perf_counter()
        simulated()
        warm = time.perf_counter() - start
        if warm > _MOST_OF_OURS:
            yield Timed(label, count, dtype, once, warm)
            continue
        took = interleaved({"ours": simulated, "numpy": numpy}, seconds)
        yield Timed(label, count, dtype, took.least("numpy"), took.least("ours"))


def _elements(value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return sum(map(_elements, value))
    return int(np.size(value))


def _reference(op: Op) -> Callable[..., Any]:
    function = op.numpy[0] if op.numpy else op.reference
    assert function is not None
    return function


def _kernel(op: Op) -> Callable[[Any, Any], Any]:
    def kernel(args: Any, kwargs: Any) -> Any:
        return op(*args, **kwargs)

    return kernel


def summary(measured: Sequence[Timed], seconds: float) -> str:
    """How many calls there were, and how fast those are that count."""
    speeds = [timed.speed for timed in measured if timed.counts]
    text = f"{len(measured)} calls in {seconds:.0f} s"
    if not speeds:
        return f"{text}, none of which takes NumPy {micros(LEAST_SECONDS)}"
    mean = math.exp(sum(map(math.log, speeds)) / len(speeds))
    return (
        f"{text}; of {len(speeds)} that take NumPy {micros(LEAST_SECONDS)} or longer "
        f"{sum(x >= 1 for x in speeds)} are as fast, "
        f"{sum(x < _LEAST_SPEED for x in speeds)} slower than half; "
        f"geometric mean {mean:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="show fast calls, too")
    parser.add_argument("--seconds", type=float, default=0.02, help="for each call")
    parser.add_argument("--samples", type=int, default=2, help="of an op, at the most")
    parser.add_argument("--size", type=int, action="append", help="elements")
    parser.add_argument("--minutes", type=float, default=5, help="for all of them")
    parser.add_argument("--start", default="", help="the first op, of those in order")
    parser.add_argument("names", nargs="*", help="ops; all of them if none")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    begun = time.perf_counter()
    measured: list[Timed] = []
    for name, op in sorted(OPS.items()):
        if name < options.start or (options.names and name not in options.names):
            continue
        if op.reference is None and not op.numpy:
            continue
        if time.perf_counter() - begun > options.minutes * 60:
            print(f"{options.minutes:g} minutes are over: go on with --start {name}")
            break
        for dtype in DTYPES:
            for count in options.size or (_SIZE,):
                given = (op, dtype, count, options.samples, options.seconds)
                for timed in measure(*given):
                    measured.append(timed)
                    is_slow = timed.speed < _LEAST_SPEED
                    if options.all or (is_slow and timed.counts):
                        print(timed, flush=True)
    print(summary(measured, time.perf_counter() - begun))


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
