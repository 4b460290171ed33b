"""How far functions of float32 are from the truth, in units in the last place.

    python -m benchmarks.bench_accuracy

The truth has 200 bits. Numbers are drawn by their bits from the function's domain, so
that all magnitudes come, and evenly from where it is mostly used. Errors of results
that are subnormal, or beyond the largest number, are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import mpmath
import numpy as np

from benchmarks.bench_fast_calls import both, lower
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy_emulator import fast_calls

BITS = 200
COUNT = 2000
#: mpmath's names, and what it has no name for.
TRUTHS: dict[str, Callable[..., mpmath.mpf]] = {
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "arcsinh": mpmath.asinh,
    "arccosh": mpmath.acosh,
    "arctanh": mpmath.atanh,
    "arctan2": mpmath.atan2,
    "exp2": partial(mpmath.power, 2),
    "log2": partial(mpmath.log, b=2),
    "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
    "logaddexp2": lambda x, y: mpmath.log(2**x + 2**y, 2),
    "fmod": lambda x, y: mpmath.mpf(math.fmod(x, y)),  # has no rounding
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
}
#: Where a function is real, or does not overflow, and the interval of even numbers.
DOMAINS: dict[str, tuple[float, float]] = {
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctanh": (-1, 1),
    "arccosh": (1, 100),
    "log": (0, 10),
    "log2": (0, 10),
    "log10": (0, 10),
    "log1p": (-1, 10),
    "power": (0, 20),
    "sin": (-1000, 1000),
    "cos": (-1000, 1000),
    "tan": (-1000, 1000),
}
_ALL = np.finfo(np.float32)


def arguments(name: str) -> list[np.ndarray]:
    """Normal numbers from the function's domain, float32, a row for each operand."""
    rng = np.random.default_rng(0)
    low, high = DOMAINS.get(name, (-50, 50))
    found = []
    for _ in range(getattr(np, name).nin):
        bits = rng.integers(0, 1 << 32, 8 * COUNT, np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        least = max(low, -float(_ALL.max)) if low > -50 else -float(_ALL.max)
        most = high if high == 1 else float(_ALL.max)
        inside = (np.abs(x) >= _ALL.tiny) & (x > least) & (x < most)
        even = rng.uniform(low, high, COUNT).astype(np.float32)
        found.append(np.concatenate([x[inside][: COUNT // 2], even]))
    count = min(map(len, found))
    return [x[:count] for x in found]


def truth(name: str, values: list[np.ndarray]) -> list[mpmath.mpf | None]:
    """The function's values; None where they are too large, too small or not real."""
    function = TRUTHS.get(name) or getattr(mpmath, name)
    results: list[mpmath.mpf | None] = []
    for given in zip(*(x.tolist() for x in values)):
        value = None
        if max(map(abs, given)) < 1e30 or name not in _GROWING:
            try:
                value = function(*map(mpmath.mpf, given))
            except (OverflowError, ValueError, ZeroDivisionError):
                value = None
        real = isinstance(value, mpmath.mpf)
        counts = real and float(_ALL.tiny) <= abs(value) <= float(_ALL.max)
        results.append(value if counts else None)
    return results


#: Of large numbers their values have too many digits for any machine.
_GROWING = {"exp", "exp2", "expm1", "sinh", "cosh", "logaddexp", "logaddexp2", "power"}


def error(result: np.ndarray, true: list[mpmath.mpf | None]) -> float:
    """The greatest distance, in units in the last place of the truth."""
    worst = 0.0
    for got, value in zip(result.tolist(), true):
        if value is not None:
            unit = mpmath.ldexp(1, int(mpmath.floor(mpmath.log(abs(value), 2))) - 23)
            distance = abs(mpmath.mpf(got) - value) / unit
            worst = max(worst, float(distance) if got == got else float("inf"))
    return worst


def main() -> None:
    mpmath.mp.prec = BITS
    print("| function | NumPy | XLA's code | call of NumPy's loop |\n|---|---|---|---|")
    for name in sorted(fast_calls.known_functions()):
        values = arguments(name)
        module = HLOModule(name)
        given = [module.add_parameter(x.shape, dt.float32) for x in values]
        module.set_results([lower(HLOBuilder(module.entry), name, *given)])
        true = truth(name, values)
        with np.errstate(all="ignore"):
            errors = [error(getattr(np, name)(*values), true)]
        for _, call in both(module, tuple(values)):
            call()
            errors.append(error(call.args[1][0], true))
        print(f"| {name} | {' | '.join(f'{e:.2f}' for e in errors)} |", flush=True)


if __name__ == "__main__":
    main()
