"""From how many elements on a call of NumPy's loops beats XLA's own code.

    python -m benchmarks.bench_fast_calls            # the table
    python -m benchmarks.bench_fast_calls --write    # into the emulator, which reads it

Each function runs alone, both ways, in turns. It has to win clearly: in a larger
program XLA computes a function in one loop with what stands around it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.timing import interleaved
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import COMPOSITIONS
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import fast_calls
from nkipy_emulator.engine import XlaCpuEngine

SIZES = (1 << 9, 1 << 10, 1 << 12, 1 << 14, 1 << 17, 1 << 20)
SHOWN = (1000, 10_000, 1_000_000)
#: By how much it has to be faster.
MARGIN = 1.3


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


def both(
    module: HLOModule, arguments: tuple[np.ndarray, ...]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A call without and one with NumPy's loops."""
    modes: tuple[fast_calls.FastCalls, ...] = ("never", "always")
    for mode in modes:
        executable = XlaCpuEngine(fast_calls=mode).compile(module)
        outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
        yield mode, partial(executable.run, arguments, outputs)


def measure(
    make: Callable[[int], tuple[HLOModule, tuple[np.ndarray, ...]]], seconds: float
) -> tuple[int | None, dict[int, float]]:
    """From where on it is faster, and how many times so at each size."""
    ratios = {}
    for size in sorted({*SIZES, *SHOWN}):
        took = interleaved(dict(both(*make(size))), seconds=seconds)
        ratios[size] = took.least("never") / took.least("always")
    least = None
    for size in reversed(SIZES):
        if ratios[size] < MARGIN:
            break
        least = size
    return least, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep the table")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each size")
    parser.add_argument("names", nargs="*", help="functions; all of them if none")
    options = parser.parse_args()
    known = sorted(fast_calls.known_functions())
    table = {name: dict(row) for name, row in fast_calls.table().items()}
    print("| function | from elements | " + " | ".join(f"{n:,}" for n in SHOWN) + " |")
    print("|---|---|" + "---|" * len(SHOWN))
    for name in options.names or known:
        least, ratios = measure(partial(function, name), options.seconds)
        table.pop(name, None)
        if least is not None:
            table[name] = {"float32": least}
        shown = " | ".join(f"{ratios[n]:.1f}" for n in SHOWN)
        print(f"| {name} | {least or 'never'} | {shown} |", flush=True)
    if options.write:
        text = json.dumps(dict(sorted(table.items())), indent=2)
        fast_calls.TABLE.write_text(text + "\n")


if __name__ == "__main__":
    main()
