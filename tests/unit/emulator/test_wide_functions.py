"""Functions of float32 that are computed in float64, against NumPy's of float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.compositions import COMPOSITIONS
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import simulate_jit
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.fast_calls import OPCODES, FastCalls
from nkipy_emulator.wide_functions import widen_functions

NAMES = [
    *("tanh", "expm1", "log1p", "arccos", "sinh", "arcsinh", "arccosh", "arctanh"),
    *("log2", "log10", "logaddexp", "logaddexp2", "hypot"),
]
SPECIAL = [
    *(0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 2.0, 1024.0, 1000.0),
    *(1e-30, -1e-30, 3e38, -3e38, 88.0, -88.0, 0.5, 8.5, 1e-7, 1e7),
]
TINY = float(np.finfo(np.float32).tiny)


def module_of(name: str, *shape: int) -> HLOModule:
    module = HLOModule(name)
    b = HLOBuilder(module.entry)
    count = getattr(np, name).nin
    xs = [module.add_parameter(shape, dt.float32, f"x{i}") for i in range(count)]
    if name in COMPOSITIONS:
        made = COMPOSITIONS[name](b, *xs)
    else:
        (opcode,) = [o for o, function in OPCODES.items() if function == name]
        made = b.unary(opcode, *xs)
    module.set_results([made])
    return module


def run(
    module: HLOModule, *values: np.ndarray, fast_calls: FastCalls = "never"
) -> np.ndarray:
    (result,) = module.results
    out = np.empty(result.shape, np.float32)
    XlaCpuEngine(fast_calls=fast_calls).compile(module).run(values, [out])
    return out


def values(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = np.concatenate(
        [rng.normal(0, size, 200) for size in (1e-20, 1e-3, 1, 30, 1e20)]
    )
    first = np.concatenate([SPECIAL, drawn])
    if getattr(np, name).nin == 1:
        return [first.astype(np.float32)]
    pairs = [(x, y) for x in SPECIAL for y in SPECIAL]
    pairs += list(zip(drawn, rng.permutation(drawn)))
    pairs += [(x, -x) for x in drawn]
    return [np.array(x, np.float32) for x in zip(*pairs)]


@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_float64_rounded(name):
    require_rounded(name, values(name), "never")


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2", "hypot"])
def test_parts_of_large_ones_are_not_left_to_loops_of_float32(name):
    given = [np.resize(x, 20_000) for x in values(name)]
    require_rounded(name, given, "auto")


def require_rounded(name: str, given: list[np.ndarray], fast_calls: FastCalls) -> None:
    with np.errstate(all="ignore"):
        wide = getattr(np, name)(*(x.astype(np.float64) for x in given))
        true = wide.astype(np.float32)
    got = run(module_of(name, given[0].size), *given, fast_calls=fast_calls)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(true))
    finite = np.isfinite(true) & (np.abs(true) >= TINY)
    distance = np.abs(got[finite].astype(np.float64) - wide[finite])
    assert (distance <= 0.505 * np.spacing(np.abs(true[finite]))).all()
    others = ~np.isnan(true) & ~finite
    np.testing.assert_allclose(got[others], true[others], rtol=0, atol=TINY)
    zero = true == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(true[zero]))


def test_powers_of_the_base_are_exact():
    twos = 2.0 ** np.arange(-126, 128, dtype=np.float32)
    tens = np.float32([float(f"1e{i}") for i in range(11)])
    got = run(module_of("log2", twos.size), twos)
    np.testing.assert_array_equal(got, np.arange(-126, 128))
    np.testing.assert_array_equal(run(module_of("log10", 11), tens), np.arange(11))


def test_what_needs_no_more_digits_is_left():
    module = module_of("arctan", 4)
    assert widen_functions(module) is module
    wide: Any = widen_functions(module_of("logaddexp", 4))
    assert [i.dtype for i in wide.results] == [dt.float32]
    opcodes = [i.opcode for i in wide.entry.instructions if i.dtype == dt.float32]
    assert opcodes == ["parameter", "parameter", "convert"]


def test_within_a_reduction():
    x = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 12)

    def reduced(x: Any) -> Any:
        return np.logaddexp.reduce(np.tanh(x) * 2, axis=1)

    got = simulate_jit(reduced)(x)
    np.testing.assert_allclose(got, reduced(x.astype(np.float64)), rtol=3e-7)
