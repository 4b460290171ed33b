"""Every op record: tracing one call, and a warm simulated call, against NumPy."""

from __future__ import annotations

import copy
import sys
import warnings
from typing import Any

import numpy as np

from benchmarks.timing import Row, best, interleaved, micros, print_table
from nkipy.core import ops  # noqa: F401  (enters ops into the tables)
from nkipy.core.ops._registry import OPS, Op
from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit


def bench_op(op: Op) -> Row | None:
    """One row: the op's largest sample in its first dtype."""
    if op.samples is None or not op.dtypes or op.reference is None:
        return None
    sample = max(op.samples(op.dtypes[0]), key=lambda s: _size(s.args))

    def kernel(args: Any, kwargs: Any) -> Any:
        return op(*args, **kwargs)

    args, kwargs = copy.deepcopy(sample.args), copy.deepcopy(sample.kwargs)
    traced = best(lambda: trace_function(kernel, (args, kwargs), {}), 0.05)
    simulated = simulate_jit(kernel)
    took = interleaved(
        {
            "ours": lambda: simulated(args, kwargs),
            "numpy": lambda: op.reference(*args, **kwargs),  # type: ignore[misc]
        },
        seconds=0.1,
        calls=5,
    )
    own, peer = took.least("ours"), took.least("numpy")
    what = f"{op.name} (trace {micros(traced)})"
    return Row(
        what, micros(own), micros(peer), f"{took.ratio('ours', 'numpy'):.1f}", ""
    )


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return 0


def main(names: list[str] | None = None) -> None:
    warnings.simplefilter("ignore")
    chosen = [op for name, op in sorted(OPS.items()) if not names or name in names]
    with np.errstate(all="ignore"):
        rows = [row for op in chosen if (row := bench_op(op)) is not None]
    print_table("Op by op: warm simulated call (peer: NumPy)", rows)


if __name__ == "__main__":
    main(sys.argv[1:])
