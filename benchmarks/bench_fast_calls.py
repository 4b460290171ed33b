"""From how many elements on a call of NumPy's loops beats XLA's own code.

    python -m benchmarks.bench_fast_calls            # the table
    python -m benchmarks.bench_fast_calls --write    # into the emulator, which reads it

Each function runs alone, both ways and in NumPy, in turns; the table says how many
times as fast as NumPy XLA's code is, and the call. It has to win clearly: in a larger
program XLA computes a function in one loop with what stands around it. The last column
says from how many elements on what has no XLA in it (``element_programs``,
``handler_programs``) is as fast.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench_kernels import least_seconds
from nkipy.core.ops.reduce.extremes import arg_extreme
from nkipy.core.ops.reduce.folds import MAXIMUM
from nkipy.core.ops.sorting.sorting import argsort_along, sort_along
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import COMPOSITIONS, INTEGER_COMPOSITIONS
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import fast_calls, order_calls
from nkipy_emulator.element_programs import element_program
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.fast_calls import ALONE
from nkipy_emulator.handler_programs import handler_program

#: Makes a module of so many elements, and its arguments.
Make = Callable[[int], "tuple[HLOModule, tuple[np.ndarray, ...]]"]
SIZES = (1 << 9, 1 << 10, 1 << 12, 1 << 14, 1 << 17, 1 << 20)
SHOWN = (1000, 10_000, 1_000_000)
#: By how much it has to be faster, unless code of XLA's is in a loop of its own, too.
MARGIN = 1.3
#: What a program without XLA, which need not be compiled, may lose.
MARGIN_ALONE = 0.8


def lower(b: HLOBuilder, name: str, *operands: Value) -> Value:
    """A function of NumPy's in HLO."""
    if name in COMPOSITIONS:
        return COMPOSITIONS[name](b, *operands)
    opcodes = {function: opcode for opcode, function in fast_calls.OPCODES.items()}
    x = operands[0]
    return b.emit(opcodes[name], operands, x.shape, x.dtype)


def arguments(name: str, count: int) -> tuple[np.ndarray, ...]:
    """Numbers from the function's domain, float32."""
    rng = np.random.default_rng(0)
    low = 1 if name == "arccosh" else 0
    given = range(getattr(np, name).nin)
    return tuple(rng.uniform(low, low + 0.99, count).astype("f4") for _ in given)


def function(name: str, count: int) -> tuple[HLOModule, tuple[np.ndarray, ...]]:
    """A module of one element-wise function, and arguments for it."""
    values = arguments(name, count)
    module = HLOModule(name)
    given = [module.add_parameter(v.shape, v.dtype) for v in values]
    module.set_results([lower(HLOBuilder(module.entry), name, *given)])
    return module, values


def divisor(
    name: str, dtype: np.dtype, count: int
) -> tuple[HLOModule, tuple[np.ndarray, ...]]:
    """A module of gcd or lcm, and integers for it."""
    rng = np.random.default_rng(0)
    most = min(np.iinfo(dtype).max, 1_000_000)
    values = tuple(rng.integers(1, most, count).astype(dtype) for _ in range(2))
    module = HLOModule(name)
    x, y = (module.add_parameter(v.shape, v.dtype) for v in values)
    made = INTEGER_COMPOSITIONS[name](HLOBuilder(module.entry), x, y)
    module.set_results([made])
    return module, values


class Along(NamedTuple):
    """What is done along an axis of two.

    Attributes:
        numpy: as NumPy does it.
        lower: in HLO.
        axis: the axis.
        skipped: dtypes that HLO has none of.
    """

    numpy: Callable[..., Any]
    lower: Callable[[HLOBuilder, Value], Value]
    axis: int = -1
    skipped: tuple[np.dtype, ...] = ()


ALONG: dict[str, Along] = {
    "sort": Along(
        partial(np.sort, axis=-1),
        lambda b, x: sort_along(b, (x,), (), 1)[0],
        skipped=dt.FP8,  # sorted as float32
    ),
    "argsort": Along(
        partial(np.argsort, axis=-1, kind="stable"),
        lambda b, x: argsort_along(b, (x,), 1),
        skipped=dt.FP8,
    ),
    "argmax": Along(
        partial(np.argmax, axis=-1), lambda b, x: arg_extreme(b, MAXIMUM, x, 1)
    ),
    "argmax of columns": Along(
        partial(np.argmax, axis=0), lambda b, x: arg_extreme(b, MAXIMUM, x, 0), 0
    ),
}


def along_axis(
    name: str, dtype: np.dtype, count: int
) -> tuple[HLOModule, tuple[np.ndarray, ...]]:
    """A module of one of them, and its argument.

    Rows have 1000 elements at most; there are as many columns as rows.
    """
    rng = np.random.default_rng(0)
    values: np.ndarray = rng.integers(0, 2 if dtype == dt.bool_ else 100, count)
    if dt.is_float(dtype):
        values = rng.standard_normal(count)
    rows = isqrt(count) if ALONG[name].axis == 0 else max(count // 1000, 1)
    array = values[: count // rows * rows].reshape(rows, -1).astype(dtype)
    module = HLOModule("along")
    x = module.add_parameter(array.shape, array.dtype)
    module.set_results([ALONG[name].lower(HLOBuilder(module.entry), x)])
    return module, (array,)


def both(
    module: HLOModule, arguments: tuple[np.ndarray, ...]
) -> Iterator[tuple[str, partial[None]]]:
    """A call without and one with NumPy's loops; one without XLA if that can be."""
    modes: tuple[fast_calls.FastCalls, ...] = ("never", "always")
    for mode in modes:
        executable = XlaCpuEngine(fast_calls=mode).compile(module)
        outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
        yield mode, partial(executable.run, arguments, outputs)
    elements = element_program(module)
    handlers = handler_program(module, mode="always")
    if elements is not None or handlers is not None:
        alone = (
            DirectExecutable(module, "elements", elements)
            if elements is not None
            else DirectExecutable(module, "handlers", handlers)
        )
        outputs = [alone.empty(r.shape, r.dtype) for r in module.results]
        yield ALONE, partial(alone.run, arguments, outputs)


class Measured(NamedTuple):
    """One row of the table.

    Attributes:
        least: from how many elements on a call is faster; None if never.
        alone: from how many elements on it is as fast without XLA; None if never.
        speeds: how many times as fast as NumPy XLA's code is, and the call, by size.
    """

    least: int | None
    alone: int | None
    speeds: dict[int, tuple[float, float]]


def measure(
    make: Make,
    numpy: Callable[..., Any],
    seconds: float,
    sizes: Sequence[int] = SIZES,
    margin: float = MARGIN,
) -> Measured:
    """Time it both ways, and NumPy, at all sizes, and at those that are shown."""
    speeds = {}
    alone = {}
    is_known = False
    for size in sorted({*sizes, *SHOWN}):
        module, values = make(size)
        calls = {"numpy": partial(numpy, *values), **dict(both(module, values))}
        took = least_seconds(calls, seconds)
        peer = took["numpy"]
        code, call = took["never"], took["always"]
        speeds[size] = peer / code, peer / call
        has_alone = ALONE in calls
        is_known = is_known or has_alone
        # What may take long has XLA in it anyway.
        alone[size] = min(code, call) / took[ALONE] if has_alone else MARGIN_ALONE
    gains = {size: call / code for size, (code, call) in speeds.items()}
    least_alone = _least(alone, sizes, MARGIN_ALONE) if is_known else None
    return Measured(
        _least(gains, sizes, margin),
        1 if least_alone == sizes[0] else least_alone,
        speeds,
    )


def _least(
    gains: Mapping[int, float], sizes: Sequence[int], margin: float
) -> int | None:
    """The size from which on all gains reach the margin."""
    least = None
    for size in reversed(sizes):
        if gains[size] < margin:
            break
        least = size
    return least


def rows(names: Sequence[str]) -> Iterator[tuple[str, str, Make, Callable[..., Any]]]:
    """A name, a dtype, what makes modules, and what NumPy does."""
    for name in names:
        if name in ALONG:
            for dtype in order_calls.ORDERED:
                if dtype not in ALONG[name].skipped:
                    make = partial(along_axis, name, dtype)
                    yield name, str(dtype), make, ALONG[name].numpy
        elif name in INTEGER_COMPOSITIONS:
            for dtype in dt.INTEGERS:
                make = partial(divisor, name, dtype)
                yield name, str(dtype), make, getattr(np, name)
        else:
            yield name, "float32", partial(function, name), getattr(np, name)


def enter(
    table: dict[str, dict[str, int]], name: str, key: str, least: int | None
) -> None:
    """Put a number into the table, or take what is there out of it."""
    row = table.setdefault(name, {})
    row.pop(key, None)
    if least is not None:
        row[key] = least


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each size")
    parser.add_argument("names", nargs="*", help="functions; all of them if none")
    options = parser.parse_args()
    known = [
        *sorted(fast_calls.known_functions()),
        *INTEGER_COMPOSITIONS,
        *ALONG,
    ]
    table = {name: dict(row) for name, row in fast_calls.table().items()}
    columns = [
        "function",
        "dtype",
        "from elements",
        *(f"{n:,}" for n in SHOWN),
        "alone",
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, dtype, make, numpy in rows(options.names or known):
        least, alone, speeds = measure(make, numpy, options.seconds)
        is_of_floats = name in fast_calls.known_functions()
        enter(table, name, dtype, least)
        enter(table, name, ALONE if is_of_floats else f"{dtype} {ALONE}", alone)
        shown = " | ".join(f"{speeds[n][0]:.2f} → {speeds[n][1]:.2f}" for n in SHOWN)
        cells = (name, dtype, least or "never", shown, alone or "never")
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    if options.write:
        kept = {name: row for name, row in sorted(table.items()) if row}
        fast_calls.TABLE.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
