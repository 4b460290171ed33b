"""Random numbers, and the state of what makes them.

The state is that of a core's engine, and stays from one instruction to the next. What
it is before a kernel sets it is not documented: here it is the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import no_psum_by_gpsimd, same_elements, same_partitions
from nkipy_nki.costs import cycles
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.generators import WORDS, uniform
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import ON_CHIP, MemoryRegion

__all__ = [
    "dropout",
    "rand2",
    "rand_get_state",
    "rand_set_state",
    "rng",
    "set_rng_seed",
]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = MemoryRegion.psum
_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
_RANDOM = (
    *("float8_e4m3", "float8_e5m2", "float16", "bfloat16", "float32", "tfloat32"),
    *_INTEGERS,
)
_FLOATS = (
    *("float32", "tfloat32", "bfloat16", "float16"),
    *("float8_e4m3", "float8_e4m3fn", "float8_e5m2"),
)


def _cost(made: Instruction, chip: Chip) -> float:
    """Cycles: documented of ``dropout``; the others are taken to be like it."""
    return cycles(max(view.free_size for _, view in made.views()))


def _bits(call: Call, name: str) -> np.ndarray:
    """New random bits for an operand's elements: (partitions, elements): uint32."""
    view: View = call.operands[name]
    generators = call.machine.generators_of(call.instruction.engine)
    return generators.bits(view.first_partition, view.partitions, view.free_size)


# -- rng -------------------------------------------------------------------------------
def _rng(call: Call) -> None:
    element = call.operands["dst"].dtype.element
    bits = _bits(call, "dst").astype(f"u{element.itemsize}")
    call.store("dst", bits.view(element))


def _rng_engine(made: Instruction, chip: Chip) -> str | None:
    if made.engine is Engine.gpsimd and chip.generation < 3:
        return "engine is gpsimd, which makes random bits from gen3 on"
    return None


def _rng_samples() -> Iterator[Sample]:
    for dtype in _INTEGERS:
        yield Sample({"dst": ((4, 5), dtype)}, label=dtype)
    yield Sample(
        {"dst": ((20, 2, 3), "uint32")},
        {"engine": Engine.gpsimd},
        label="GpSimd, several dimensions",
    )
    yield Sample(
        {"dst": ((3, 4), "uint16")}, regions={"dst": _PSUM}, chip="trn1", label="PSUM"
    )


def _rng_refused() -> Iterator[Sample]:
    tile = {"dst": ((4, 5), "uint32")}
    on_gpsimd = {"engine": Engine.gpsimd}
    yield Sample({"dst": ((4, 5), "float32")}, message="is float32")
    yield Sample(tile, on_gpsimd, regions={"dst": _PSUM}, message="does not reach")
    yield Sample(tile, on_gpsimd, chip="trn1", message="from gen3 on")
    yield Sample(tile, {"engine": Engine.scalar}, message="engine is scalar")
    yield Sample({"dst": ((129, 5), "uint32")}, message="129 partitions")


@instruction(
    *(Engine.vector, Engine.gpsimd),
    dst=writes(ON_CHIP, *_INTEGERS),
    rules=[_rng_engine, no_psum_by_gpsimd],
    meaning=_rng,
    cost=_cost,
    samples=_rng_samples,
    refused=_rng_refused,
)
def rng(
    dst: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Random bits: the lower ones of 32 for each element.

    Args:
        dst: of integers; in SBUF, and for the vector engine in PSUM too.
        engine: vector or, from gen3 on, gpsimd.
    """
    raise NotImplementedError


# -- rand2 -----------------------------------------------------------------------------
def _rand2(call: Call) -> None:
    low, high = call.number("min"), call.number("max")
    if not np.all(low < high):
        call.report("wrong-operand", "min is not less than max in every partition")
    values = uniform(_bits(call, "dst")) * (high - low) + low
    call.write("dst", np.clip(values, low, high))


def _rand2_problem(made: Instruction, chip: Chip) -> str | None:
    low, high = made.operands["min"], made.operands["max"]
    if not (isinstance(low, View) or isinstance(high, View)) and not low < high:
        return f"min is {low!r} and max is {high!r}: it must be less"
    return None


def _rand2_samples() -> Iterator[Sample]:
    between = {"min": -2.5, "max": 4}
    for dtype in _RANDOM:
        yield Sample({"dst": ((4, 6), dtype), **between}, chip="trn3", label=f"{dtype}")
    yield Sample(
        {
            "dst": ((3, 2, 4), "float32"),
            "min": np.array([[0], [1], [-1]], np.float32),
            "max": np.array([[0.5], [3], [1]], np.float32),
        },
        regions={"dst": _PSUM},
        chip="trn3",
        label="by partition, PSUM",
    )


def _rand2_refused() -> Iterator[Sample]:
    tile = {"dst": ((4, 6), "float32"), "min": 0.0, "max": 1.0}
    yield Sample(tile, chip="trn2", message="gen4")
    yield Sample({**tile, "min": 1.0}, chip="trn3", message="must be less")
    yield Sample(
        {**tile, "min": np.ones((4, 1), np.float32)}, chip="trn3", message="less than"
    )
    yield Sample(
        {**tile, "min": np.zeros((4, 2), np.float32)}, chip="trn3", message="[P, 1]"
    )
    yield Sample(
        {**tile, "dst": ((4, 6), "float8_e4m3fn")}, chip="trn3", message="e4m3fn"
    )


@instruction(
    Engine.vector,
    dst=writes(ON_CHIP, *_RANDOM),
    min=reads(ON_CHIP, "float32", scalar=True, vector=True),
    max=reads(ON_CHIP, "float32", scalar=True, vector=True),
    rules=[same_partitions, same_elements, _rand2_problem],
    meaning=_rand2,
    cost=_cost,
    samples=_rand2_samples,
    refused=_rand2_refused,
    since=4,
)
def rand2(dst: Any, min: Any, max: Any, name: str | None = None) -> Instruction:
    """Random numbers, evenly spread from `min` to `max`.

    Args:
        dst: they are made in float32, and rounded.
        min: a number, or [P, 1], float32.
        max: the same, and greater.
    """
    raise NotImplementedError


# -- dropout ---------------------------------------------------------------------------
def _dropout(call: Call) -> None:
    data = call.raw("data")
    data = data.reshape(data.shape[0], -1)
    dropped = uniform(_bits(call, "dst")) < call.number("prob")
    zero = np.zeros((), data.dtype)
    call.store("dst", np.where(dropped, zero, data))


def _dropout_problem(made: Instruction, chip: Chip) -> str | None:
    dst, data, prob = (made.operands[n] for n in ("dst", "data", "prob"))
    if dst.dtype != data.dtype:
        return f"dst is {dst.dtype.name}, and must be {data.dtype.name} as data is"
    if not isinstance(prob, View):
        return None if 0 <= prob <= 1 else f"prob is {prob!r}, and must be 0 to 1"
    if not data.dtype.is_float and prob.dtype.name != "float32":
        return f"prob is {prob.dtype.name}, and must be float32 as data is integers"
    return None


def _dropout_samples() -> Iterator[Sample]:
    x = np.arange(1, 25).reshape(4, 6)
    for dtype in (np.float32, ml_dtypes.bfloat16, np.int32, np.uint8):
        data = x.astype(dtype)
        yield Sample(
            {"dst": ((4, 6), data.dtype.name), "data": data, "prob": 0.5},
            label=data.dtype.name,
        )
    for prob in (0, 1.0):
        yield Sample(
            {"dst": ((4, 6), "float32"), "data": x.astype("float32"), "prob": prob},
            label=f"all or none, {prob}",
        )
    yield Sample(
        {
            "dst": ((4, 6), "float16"),
            "data": x.astype("float16").reshape(4, 2, 3),
            "prob": np.array([[0], [1], [0.25], [0.75]], np.float16),
        },
        regions={"data": _PSUM},
        label="by partition, PSUM",
    )


def _dropout_refused() -> Iterator[Sample]:
    x = np.ones((4, 6), np.float32)
    tile = {"dst": ((4, 6), "float32"), "data": x, "prob": 0.5}
    yield Sample({**tile, "prob": 1.5}, message="must be 0 to 1")
    yield Sample({**tile, "prob": float("nan")}, message="must be 0 to 1")
    yield Sample({**tile, "dst": ((4, 6), "bfloat16")}, message="must be float32")
    yield Sample({**tile, "prob": x[:, :2]}, message="[P, 1]")
    yield Sample({**tile, "prob": x[:3, :1]}, message="partitions")
    yield Sample(
        {
            "dst": ((4, 6), "int32"),
            "data": x.astype("int32"),
            "prob": x[:, :1].astype("float16"),
        },
        message="as data is integers",
    )


@instruction(
    Engine.vector,
    dst=writes(),
    data=reads(),
    prob=reads(ON_CHIP, *_FLOATS, scalar=True, vector=True),
    rules=[same_partitions, same_elements, _dropout_problem],
    meaning=_dropout,
    cost=_cost,
    samples=_dropout_samples,
    refused=_dropout_refused,
)
def dropout(dst: Any, data: Any, prob: Any, name: str | None = None) -> Instruction:
    """A tile of which each element is 0 with a probability, and as it was otherwise.

    What is kept is not scaled.

    Args:
        dst: of the dtype of `data`.
        data: the elements.
        prob: from 0, which keeps all, to 1: a number, or [P, 1] of floats; float32 if
            `data` is integers.
    """
    raise NotImplementedError


# -- the state -------------------------------------------------------------------------
def _set_seed(call: Call) -> None:
    element = call.raw("src_seeds").reshape(()).view(np.uint32)
    call.machine.generators_of(Engine.vector).seed(int(element[()]))


def _seed_problem(made: Instruction, chip: Chip) -> str | None:
    view = made.operands["src_seeds"]
    if view.shape != (1, 1):
        return f"src_seeds has the shape {list(view.shape)}, and must be [1, 1]"
    return None


def _seed_samples() -> Iterator[Sample]:
    for dtype in ("uint32", "int32", "float32"):
        yield Sample({"src_seeds": np.array([[7]], dtype)}, label=dtype)
    yield Sample(
        {"src_seeds": np.array([[7]], "int32")},
        regions={"src_seeds": _PSUM},
        label="PSUM",
    )


def _seed_refused() -> Iterator[Sample]:
    seed = np.array([[7]], "int32")
    yield Sample({"src_seeds": np.repeat(seed, 2, 1)}, message="must be [1, 1]")
    yield Sample({"src_seeds": seed.astype("int16")}, message="is int16")
    yield Sample({"src_seeds": 7}, message="must be a tensor")


@instruction(
    Engine.vector,
    src_seeds=reads(ON_CHIP, "uint32", "int32", "float32"),
    rules=[_seed_problem],
    meaning=_set_seed,
    cost=_cost,
    samples=_seed_samples,
    refused=_seed_refused,
)
def set_rng_seed(src_seeds: Any, name: str | None = None) -> Instruction:
    """Set the vector engine's generators by one number.

    Args:
        src_seeds: [1, 1], of 32 bits.
    """
    raise NotImplementedError


def _state_problem(made: Instruction, chip: Chip) -> str | None:
    """What is wrong with a tile of states, or with the engine that is asked."""
    if made.engine is Engine.vector and chip.generation < 4:
        return "engine is vector, whose state can be reached from gen4 on"
    words = WORDS[made.engine]
    for name, view in made.views():
        if len(view.shape) != 2 or view.shape[1] != words:
            return (
                f"{name} has the shape {list(view.shape)}, and must be [P, {words}] "
                f"for the engine {made.engine.name}"
            )
    return None


def _set_state(call: Call) -> None:
    view: View = call.operands["src_seeds"]
    generators = call.machine.generators_of(call.instruction.engine)
    lanes = slice(view.first_partition, view.first_partition + view.partitions)
    generators.words[lanes] = call.raw("src_seeds")


def _states(partitions: int, words: int) -> np.ndarray:
    return np.arange(partitions * words, dtype=np.uint32).reshape(partitions, words)


def _set_state_samples() -> Iterator[Sample]:
    yield Sample({"src_seeds": _states(128, 6)}, label="GpSimd")
    yield Sample(
        {"src_seeds": _states(4, 24)},
        {"engine": Engine.vector},
        chip="trn3",
        label="vector",
    )


def _set_state_refused() -> Iterator[Sample]:
    state = {"src_seeds": _states(4, 6)}
    on_vector = {"engine": Engine.vector}
    yield Sample(state, chip="trn1", message="gen3")
    yield Sample(state, on_vector, message="from gen4 on")
    yield Sample(state, on_vector, chip="trn3", message="[P, 24]")
    yield Sample({"src_seeds": _states(4, 5)}, message="[P, 6]")
    yield Sample({"src_seeds": state["src_seeds"].astype("int32")}, message="is int32")
    yield Sample(state, regions={"src_seeds": _PSUM}, message="is in psum")


@instruction(
    *(Engine.gpsimd, Engine.vector),
    src_seeds=reads(_SBUF, "uint32"),
    rules=[_state_problem],
    meaning=_set_state,
    cost=_cost,
    samples=_set_state_samples,
    refused=_set_state_refused,
    since=3,
)
def rand_set_state(
    src_seeds: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Set the state of an engine's generators, one for each partition.

    Args:
        src_seeds: uint32, [P, 6] for gpsimd, [P, 24] for vector.
        engine: gpsimd, or from gen4 on vector.
    """
    raise NotImplementedError


def _get_state(call: Call) -> None:
    view: View = call.operands["dst"]
    generators = call.machine.generators_of(call.instruction.engine)
    lanes = slice(view.first_partition, view.first_partition + view.partitions)
    call.store("dst", generators.words[lanes])


def _get_state_region(made: Instruction, chip: Chip) -> str | None:
    view = made.operands["dst"]
    if view.region is _PSUM and (chip.generation < 4 or made.engine is Engine.gpsimd):
        return "dst is in psum, and may be there from gen4 on, for the vector engine"
    return None


def _get_state_samples() -> Iterator[Sample]:
    yield Sample({"dst": ((20, 6), "uint32")}, label="GpSimd")
    yield Sample(
        {"dst": ((4, 24), "uint32")},
        {"engine": Engine.vector},
        regions={"dst": _PSUM},
        chip="trn3",
        label="vector, PSUM",
    )


def _get_state_refused() -> Iterator[Sample]:
    state = {"dst": ((4, 6), "uint32")}
    yield Sample(state, chip="trn1", message="gen3")
    yield Sample(state, {"engine": Engine.vector}, message="from gen4 on")
    yield Sample(state, regions={"dst": _PSUM}, message="dst is in psum")
    yield Sample({"dst": ((4, 24), "uint32")}, message="[P, 6]")
    yield Sample({"dst": ((4, 6), "int32")}, message="is int32")


@instruction(
    *(Engine.gpsimd, Engine.vector),
    dst=writes(ON_CHIP, "uint32"),
    rules=[_state_problem, _get_state_region],
    meaning=_get_state,
    cost=_cost,
    samples=_get_state_samples,
    refused=_get_state_refused,
    since=3,
)
def rand_get_state(
    dst: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Store the state of an engine's generators, one for each partition.

    Args:
        dst: uint32, [P, 6] for gpsimd, [P, 24] for vector; in SBUF, and for the vector
            engine in PSUM too.
        engine: gpsimd, or from gen4 on vector.
    """
    raise NotImplementedError
