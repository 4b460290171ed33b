"""Each opcode stands special values, of constants and of parameters, and agrees.

Nothing crashes, nothing hangs, in this process as in the child engine. Opcodes of
elements have a list of their own in ``test_folding.py``; this one has all the others.
Each sample of :mod:`tests.unit.hlo.samples` gets operands of every type that it takes,
each reduction every opcode that can be one. It is run in processes of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.instruction import callees_of, with_callees
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.opcodes import BINARY, OPCODES, CostKind
from nkipy.hlo.opcodes.cost import SCALAR
from nkipy_emulator.engine import XlaCpuEngine
from tests.support.engine import empty_results
from tests.support.engines import ENGINES, Run, run_apart, running
from tests.unit.emulator.test_folding import is_same, special_values
from tests.unit.hlo.sample import Sample, instruction, reducer, shapes_of
from tests.unit.hlo.samples import SAMPLES

#: Its main program runs what may crash.
THIS = "tests.unit.emulator.test_crash_proof"
#: Dtypes whose subnormal numbers are flushed on some paths and kept on others. Narrower
#: ones have none in what computes them, float32.
FLUSHED = {dt.float32, dt.bfloat16, dt.float64}
#: Opcodes that are in no module of these, and why.
EXEMPT = {"custom-call": "what it computes, the record of its target says"}
COLLECTIVES = {
    *("all-gather", "all-reduce", "all-to-all"),
    *("collective-broadcast", "collective-permute", "reduce-scatter"),
}
#: What XLA reduces over ranks with; it refuses others.
OF_RANKS = ("add", "multiply", "maximum", "minimum")
#: Of samples in a module; one with many takes XLA long to compile.
AT_ONCE = 24


def is_elementwise(opcode: str) -> bool:
    return OPCODES[opcode].cost.kind is CostKind.ELEMENTWISE and opcode != "iota"


LISTED = [s for s in SAMPLES if s.opcode not in EXEMPT and not is_elementwise(s.opcode)]


# ---------------------------------------------------------------- variants of a sample
def retyped(computation: HLOComputation, new: np.dtype) -> HLOComputation:
    """The same computation of `new` in place of float32."""
    made = HLOComputation(computation.name)
    values: dict[HLOInstruction, HLOInstruction] = {}
    for inst in computation.instructions:
        attributes = dict(inst.attributes)
        if inst.dtype == dt.float32 and "literal" in attributes:
            attributes["literal"] = attributes["literal"].astype(new)
        parts = inst.tuple_shapes and tuple(
            Shape(new if s.dtype == dt.float32 else s.dtype, s.dims)
            for s in inst.tuple_shapes
        )
        dtype = new if inst.dtype == dt.float32 else inst.dtype
        operands = tuple(values[o] for o in inst.operands)
        copy = HLOInstruction(
            inst.opcode, operands, inst.shape, dtype, attributes, None, parts, inst.name
        )
        values[inst] = copy
        made.instructions.append(copy)
    made.parameters = [values[p] for p in computation.parameters]
    made.root = values[computation.root]
    return made


def of_dtype(sample: Sample, name: str) -> Sample:
    new = dt.FROM_HLO_NAME[name]
    callees = callees_of(sample.attributes)
    attributes = sample.attributes
    if callees:
        attributes = with_callees(attributes, {c: retyped(c, new) for c in callees})
    operands = tuple(o.replace("f32", name) for o in sample.operands)
    result = sample.result.replace("f32", name)
    return replace(sample, operands=operands, result=result, attributes=attributes)


def is_valid(sample: Sample) -> bool:
    try:
        sample.build().verify()
    except HLOVerificationError:
        return False
    return True


def in_every_dtype(sample: Sample) -> Iterator[Sample]:
    for name in dt.FROM_HLO_NAME:
        variant = of_dtype(sample, name)
        if name == "f32" or (variant != sample and is_valid(variant)):
            yield variant


def with_every_reducer(sample: Sample) -> Iterator[Sample]:
    """The sample in every type, with every opcode that makes one scalar of two."""
    found = sample.attributes.get("to_apply")
    if found is None or len(found.parameters) != 2 or sample.opcode in ("call", "sort"):
        return
    reducers = BINARY
    if sample.opcode in COLLECTIVES:
        reducers = {opcode: BINARY[opcode] for opcode in OF_RANKS}
    for name, dtype in dt.FROM_HLO_NAME.items():
        for opcode, dtypes in reducers.items():
            attributes = {**sample.attributes, "to_apply": reducer(opcode, name)}
            variant = replace(of_dtype(sample, name), attributes=attributes)
            if dtype in dtypes and is_valid(variant):
                yield variant


# ---------------------------------------------------------------- operands
def fills(dtype: np.dtype) -> list[np.ndarray]:
    """Arrays to fill operands from: each special value alone, then all in turn.

    The first is subnormal, if there are such numbers. Where those pass decides whether
    they are flushed to zero, so that they are alone.
    """
    values = special_values(dtype)
    alone = [values[i : i + 1] for i in range(len(values))]
    if dt.is_float(dtype):
        tiny = float(ml_dtypes.finfo(dtype).tiny)
        alone.insert(0, np.array([tiny / 2]).astype(dtype))
    return [*alone, values]


def filled(shape: Shape, number: int) -> np.ndarray:
    """An array from the fill of that number; -1 is the one of all values in turn."""
    chosen = fills(shape.dtype)
    return np.resize(chosen[number % len(chosen)], shape.dims)


def is_endless(sample: Sample, arrays: Sequence[np.ndarray]) -> bool:
    """Whether the loop of the sample would count up from the least integer."""
    return sample.opcode == "while" and bool((arrays[0] < -100).any())


def flat_shapes(sample: Sample) -> list[Shape]:
    found = [shapes_of(text) for text in sample.operands]
    return [s for f in found for s in ([f] if isinstance(f, Shape) else f)]


# ---------------------------------------------------------------- modules
def agree(sample: Sample, computed: np.ndarray, folded: np.ndarray) -> bool:
    """Whether results are the same, or nearly zero both, in a dtype that is flushed.

    Functions by approximation may be what the computations of the opcode consist of.
    """
    inner = [i.opcode for c in callees_of(sample.attributes) for i in c.instructions]
    opcodes = [o for o in inner if OPCODES[o].cost.engine == SCALAR]
    same = is_same((*opcodes, sample.opcode)[0], computed, folded)
    if computed.dtype in FLUSHED:
        nearly = 64 * float(ml_dtypes.finfo(computed.dtype).tiny)
        parts = computed.astype(np.float64), folded.astype(np.float64)
        same |= np.maximum(*np.abs(parts)) < nearly
    return bool(same.all())


class Batch:
    """A module in which each sample is computed of parameters and of constants."""

    def __init__(self) -> None:
        self.module = HLOModule("crash_proof")
        self.inputs: list[np.ndarray] = []
        self.results: list[HLOInstruction] = []
        self.pairs: list[tuple[Sample, int]] = []
        self._own: dict[HLOComputation, HLOComputation] = {}

    def add(self, sample: Sample, number: int) -> None:
        arrays = [filled(shape, number) for shape in flat_shapes(sample)]
        if is_endless(sample, arrays):
            return
        parameters = [self._parameter(array) for array in arrays]
        constants = [self._constant(array) for array in arrays]
        computed, folded = (
            self._results(self._emit(sample, values))
            for values in (parameters, constants)
        )
        for pair in zip(computed, folded):
            self.results += pair
            self.pairs.append((sample, number))

    def _parameter(self, array: np.ndarray) -> HLOInstruction:
        self.inputs.append(array)
        name = f"x{len(self.inputs)}"
        return self.module.add_parameter(array.shape, array.dtype, name)

    def _constant(self, array: np.ndarray) -> HLOInstruction:
        literal = {"literal": array}
        return self._put(
            HLOInstruction("constant", (), array.shape, array.dtype, literal)
        )

    def _put(self, inst: HLOInstruction) -> HLOInstruction:
        return self.module.add_operation(inst)

    def _emit(self, sample: Sample, values: list[HLOInstruction]) -> HLOInstruction:
        left = list(values)
        operands = []
        for text in sample.operands:
            shape = shapes_of(text)
            if isinstance(shape, Shape):
                operands.append(left.pop(0))
                continue
            parts = tuple(left.pop(0) for _ in shape)
            operands.append(self._put(instruction("tuple", parts, text)))
        attributes = sample.attributes
        if callees := callees_of(attributes):
            own = {c: self._named_once(c) for c in callees}
            attributes = with_callees(attributes, own)
        made = (sample.opcode, tuple(operands), sample.result, attributes)
        return self._put(instruction(*made))

    def _named_once(self, computation: HLOComputation) -> HLOComputation:
        """A copy whose name no other computation of the module has."""
        if computation not in self._own:
            copy = retyped(computation, dt.float32)
            copy.name = f"{computation.name}_{len(self._own)}"
            self._own[computation] = copy
        return self._own[computation]

    def _results(self, inst: HLOInstruction) -> list[HLOInstruction]:
        if inst.tuple_shapes is None:
            return [inst]
        return [
            self._put(
                HLOInstruction(
                    "get-tuple-element", (inst,), s.dims, s.dtype, {"index": i}
                )
            )
            for i, s in enumerate(inst.tuple_shapes)
        ]

    def finish(self) -> HLOModule:
        some = [r for r in self.results if r.nbytes]
        self.module.set_results(some, [f"y{i}" for i in range(len(some))])
        return self.module

    def compare(self, outputs: Sequence[np.ndarray]) -> None:
        for i, (sample, number) in enumerate(self.pairs):
            computed, folded = outputs[2 * i : 2 * i + 2]
            text = f"{sample.label}, fill {number}: {computed}, of constants {folded}"
            assert agree(sample, computed, folded), text


def numbers_of(sample: Sample) -> range:
    """The fills of the operand whose type has most special values."""
    counts = [len(fills(shape.dtype)) for shape in flat_shapes(sample)]
    return range(-1, max(counts, default=0) - 1)


def batches(wanted: Sequence[tuple[Sample, int]]) -> Iterator[Batch]:
    for start in range(0, len(wanted), AT_ONCE):
        batch = Batch()
        for sample, number in wanted[start : start + AT_ONCE]:
            batch.add(sample, number)
        if batch.results:
            yield batch


def everything(opcode: str) -> list[tuple[Sample, int]]:
    """All that is to be tried of an opcode."""
    samples = [s for s in LISTED if s.opcode == opcode]
    variants = [v for s in samples for v in in_every_dtype(s)]
    reductions = [v for s in samples for v in with_every_reducer(s)]
    tried = [(v, n) for v in variants for n in numbers_of(v)]
    return [*tried, *((v, -1) for v in reductions)]


def try_all(wanted: Sequence[tuple[Sample, int]], run: Run) -> None:
    for batch in batches([w for w in wanted if w[0].operands]):
        batch.compare(run(batch.finish(), batch.inputs))


def run_on_two_ranks(
    module: HLOModule, inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    executable = XlaCpuEngine().compile(module, num_replicas=2)
    outputs = [empty_results(module) for _ in range(2)]
    executable.run_replicas([inputs, inputs], outputs)
    return outputs[0]


# ---------------------------------------------------------------- tests
OPCODES_HERE = sorted({s.opcode for s in LISTED})


def test_every_opcode_is_in_a_list():
    listed = {s.opcode for s in LISTED}
    elementwise = {opcode for opcode in OPCODES if is_elementwise(opcode)}
    assert set(OPCODES) == listed | elementwise | set(EXEMPT)
    assert not listed & (elementwise | set(EXEMPT))


def test_all_values_in_turn():
    run_apart(THIS, "inprocess", timeout=900)


@pytest.mark.slow
def test_all_values_in_turn_in_the_child():
    run_apart(THIS, "child", timeout=900)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("opcode", OPCODES_HERE)
@pytest.mark.parametrize("engine", ENGINES)
def test_each_value_in_each_type(engine, opcode):
    if engine == "child" and opcode in COLLECTIVES:
        pytest.skip("the child's ranks are the parent's to bring together")
    run_apart(THIS, engine, opcode, timeout=900)


def main(engine: str, *opcodes: str) -> None:
    everyone = {s.opcode for s in LISTED}
    wanted: list[Any] = [pair for opcode in opcodes for pair in everything(opcode)]
    if not opcodes:
        wanted = [(s, -1) for s in LISTED]
    assert set(opcodes) <= everyone
    shared = [w for w in wanted if w[0].opcode in COLLECTIVES]
    if engine == "inprocess":
        try_all(shared, run_on_two_ranks)
    alone = [w for w in wanted if w[0].opcode not in COLLECTIVES]
    with running(engine) as run:
        try_all(alone, run)


if __name__ == "__main__":
    main(*sys.argv[1:])
