"""XLA computes of constants what it computes of parameters with the same values.

The opcodes of elements are asked in processes of their own, some in each, since XLA
ended it for some of them: the last that standard error names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.opcodes.cost import SCALAR
from nkipy.hlo.opcodes.elementwise import BINARY, DIRECTIONS, UNARY
from tests.support.engines import Run, run_apart, running

#: Its main program runs what may crash.
THIS = "tests.unit.emulator.test_folding"
#: Those that the quick run has; the slow one has all.
QUICK = ("atan2", "count-leading-zeros")
#: Of opcodes in a module; one with many takes XLA long to compile.
AT_ONCE = 16
#: Over how many processes the slow run divides the opcodes.
PROCESSES = 6


class Case(NamedTuple):
    """An opcode with one operand type."""

    opcode: str
    dtype: np.dtype
    operands: int
    result: np.dtype
    attributes: dict[str, Any]


def special_values(dtype: np.dtype) -> np.ndarray:
    """Zeros, ones, extremes, infinities, NaN. No subnormals, which may be flushed."""
    if dtype == dt.bool_:
        return np.array([False, True])
    if dt.is_integer(dtype):
        info = np.iinfo(dtype)
        signed = {-1, -2, -7} if info.min else set()
        extremes = {info.min, info.min + 1, info.max, info.max - 1}
        return np.array(sorted({0, 1, 2, 3, 7} | extremes | signed), dtype)
    info = ml_dtypes.finfo(dtype)
    ends = [float(info.max), -float(info.max), float(info.tiny)]
    values = [0.0, -0.0, 1, -1, 0.5, 2, -3, 3.75, np.inf, -np.inf, np.nan, *ends]
    return np.array(values).astype(dtype)


def cases() -> Iterator[Case]:
    """Every opcode that computes elements, with every type of its operands."""
    for table, operands in ((UNARY, 1), (BINARY, 2)):
        for opcode, dtypes in table.items():
            for dtype in dtypes:
                yield Case(opcode, dtype, operands, dtype, {})
    for dtype in sorted(OPCODES["is-finite"].dtypes, key=str):
        yield Case("is-finite", dtype, 1, dt.bool_, {})
    for dtype in dt.HLO_NAMES:
        for direction in DIRECTIONS:
            yield Case("compare", dtype, 2, dt.bool_, {"direction": direction})
        for result in dt.HLO_NAMES:
            yield Case("convert", dtype, 1, result, {})
        yield Case("select", dtype, 3, dtype, {})
        yield Case("clamp", dtype, 3, dtype, {})
    for dtype in sorted(OPCODES["reduce-precision"].dtypes, key=str):
        bits = {"exponent_bits": 4, "mantissa_bits": 3}
        yield Case("reduce-precision", dtype, 1, dtype, bits)


def operands_of(case: Case) -> list[np.ndarray]:
    """All combinations of special values."""
    values = special_values(case.dtype)
    axes = [values] * case.operands
    if case.opcode == "select":
        axes[0] = special_values(dt.bool_)
    arrays = [grid.reshape(-1).copy() for grid in np.meshgrid(*axes)]
    if case.opcode == "clamp":  # between bounds that have none between them: undefined
        kept = ~(arrays[0] > arrays[2])
        arrays = [array[kept] for array in arrays]
    return arrays


def add_case(module: HLOModule, builder: HLOBuilder, case: Case) -> list[np.ndarray]:
    """Have results of parameters, of constants, and of constants that a call gets.

    Each is of all combinations, and of one scalar everywhere.
    """
    arrays = operands_of(case)
    zero = [np.zeros_like(array) for array in arrays]
    for given in (arrays, zero):
        first = len(module.parameters)
        parameters = [
            module.add_parameter(a.shape, a.dtype, f"x{first + i}")
            for i, a in enumerate(given)
        ]
        constants = [builder.constant(a) for a in given]
        for operands in (parameters, constants):
            module.results.append(compute(builder, case, operands))
        called = HLOComputation(f"called{len(module.results)}")
        inner = [called.add_parameter(a.shape, a.dtype) for a in given]
        called.root = compute(HLOBuilder(called), case, inner)
        result = (arrays[0].shape, case.result, {"to_apply": called})
        module.results.append(builder.emit("call", tuple(constants), *result))
    return [*arrays, *zero]


def compute(
    builder: HLOBuilder, case: Case, operands: list[HLOInstruction]
) -> HLOInstruction:
    result = (operands[0].shape, case.result, case.attributes)
    return builder.emit(case.opcode, tuple(operands), *result)


def is_same(opcode: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where elements are equal, and zeros have one sign. NaN is like NaN.

    Functions by approximation differ in the last digits from one loop to another.
    """
    if not dt.is_float(x.dtype):
        return x == y
    is_approximate = OPCODES[opcode].cost.engine == SCALAR
    epsilon = float(ml_dtypes.finfo(x.dtype).eps) if is_approximate else 0.0
    x, y = x.astype(np.float64), y.astype(np.float64)
    equal = np.isclose(x, y, rtol=4 * epsilon, atol=0) & (
        np.signbit(x) == np.signbit(y)
    )
    return equal | (np.isnan(x) & np.isnan(y))


def compare_together(group: list[Case], run: Run) -> None:
    """Run a module with these opcodes, and look for results that differ."""
    module = HLOModule("folding")
    builder = HLOBuilder(module.entry)
    inputs = [a for case in group for a in add_case(module, builder, case)]
    module.set_results(module.results, [f"y{i}" for i in range(len(module.results))])
    outputs = run(module, inputs)
    for i, case in enumerate(group):
        for k in (1, 2, 4, 5):
            computed, folded = outputs[6 * i + k // 3 * 3], outputs[6 * i + k]
            different = np.flatnonzero(~is_same(case.opcode, computed, folded))
            at = [a[different[:3]] for a in operands_of(case)]
            text = f"{case}: {computed[different[:3]]} but of constants "
            assert not different.size, f"{text}{folded[different[:3]]} at {at}"


def compare_opcode(opcode: str, run: Run) -> None:
    chosen = [case for case in cases() if case.opcode == opcode]
    for start in range(0, len(chosen), AT_ONCE):
        compare_together(chosen[start : start + AT_ONCE], run)


ALL = sorted({case.opcode for case in cases()})


def test_every_opcode_of_elements_is_among_them():
    others = {"iota", "copy"}  # without operands; without anything to compute
    elementwise = {n for n, o in OPCODES.items() if o.cost.kind is CostKind.ELEMENTWISE}
    assert elementwise - others <= set(ALL)


def test_some_opcodes_of_constants():
    run_apart(THIS, "inprocess", *QUICK, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PROCESSES))
@pytest.mark.parametrize(
    "engine", ["inprocess", pytest.param("child", marks=pytest.mark.exhaustive)]
)
def test_each_opcode_of_constants(engine, part):
    run_apart(THIS, engine, *ALL[part::PROCESSES], timeout=300)


def main(engine: str, *opcodes: str) -> None:
    with running(engine) as run:
        for opcode in opcodes:
            print(opcode, file=sys.stderr, flush=True)
            compare_opcode(opcode, run)


if __name__ == "__main__":
    main(*sys.argv[1:])
