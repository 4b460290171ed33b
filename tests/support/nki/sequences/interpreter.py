"""Plays a plan on bytes: loops over elements, by what the documents say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from tests.support.nki.numbers import ARITHMETIC, BITS
from tests.support.nki.sequences.memory import Memory, Seen, element
from tests.support.nki.sequences.plan import Loop, Place, Plan, Register, Step
from tests.support.nki.sequences.results import Near, problem, stored

__all__ = ["INSTRUCTIONS", "Interpreter", "Wrong"]

Result: TypeAlias = "Near | np.ndarray"
#: Of float32: half a unit in the last place, relative.
_HALF = 2.0**-24
#: How far functions may be off, relative; and near 0.
_FUNCTION, _TINY = 2e-6, 1e-37


class Wrong(AssertionError):
    """The simulator gave something else."""


class Interpreter:
    """A plan's state.

    Args:
        plan: what is played.
        values: of tensors that are filled, in order.
    """

    def __init__(self, plan: Plan, values: Sequence[np.ndarray] = ()) -> None:
        self.plan = plan
        self.memory = Memory(plan.tensors)
        self.registers: dict[str, int] = {}
        #: By engine and partition, what its reduce register holds, and how exactly.
        self.reduced: dict[tuple[str, int], tuple[float, float]] = {}
        filled = (tensor for tensor in plan.tensors if tensor.filled)
        for tensor, array in zip(filled, values):
            self.memory.store(self.see(Place(tensor.name)), array)

    def play(self, returned: Sequence[np.ndarray]) -> None:
        """Play the plan, and compare each step's results with the simulator's.

        Where the simulator may give several values, its own are gone on with.

        Raises:
            Wrong: it gave what it may not.
        """
        left = iter(returned)
        for number, step in enumerate(self.plan.steps):
            if isinstance(step, Register):
                self.set(step)
            elif isinstance(step, Loop):
                self.loop(step)
            else:
                for name, result in self.results(step).items():
                    seen = self.see(step.operands[name])
                    got = next(left)
                    if wrong := problem(result, got, seen.dtype):
                        raise Wrong(f"step {number}, {name}: {wrong}\n{step}")
                    self.memory.store(seen, got)
        assert next(left, None) is None

    def see(self, place: Place) -> Seen:
        return self.memory.see(place, self.registers)

    def set(self, step: Register) -> None:
        value = step.value
        if isinstance(value, Place):
            value = int(self.memory.elements(self.see(value)).reshape(()))
        self.registers[step.name] = value

    def loop(self, loop: Loop) -> None:
        for i in self.counts(loop):
            self.registers[loop.counter] = i
            for step in loop.body:
                for name, result in self.results(step).items():
                    seen = self.see(step.operands[name])
                    self.memory.store(seen, stored(result, seen.dtype))
        if loop.counts_down:
            left = self.see(Place(loop.counts_down))
            self.memory.store(left, np.zeros(left.shape, element(left.dtype)))

    def counts(self, loop: Loop) -> range:
        """What a loop's counter runs through."""
        if loop.counts_down:
            left = self.see(Place(loop.counts_down))
            return range(int(self.memory.elements(left).reshape(())))
        return range(loop.lower, self.registers.get(loop.upper, loop.upper))  # type: ignore[arg-type]

    def results(self, step: Step) -> dict[str, Result]:
        """What a step writes, by operand."""
        return INSTRUCTIONS[step.name](_Operands(self, step))


class _Operands:
    """What a step reads."""

    def __init__(self, interpreter: Interpreter, step: Step) -> None:
        self.memory = interpreter.memory
        self.registers = interpreter.registers
        self.reduced = interpreter.reduced
        self.told = step.told
        self.seen = {
            name: interpreter.see(given)
            for name, given in step.operands.items()
            if isinstance(given, Place)
        }
        self.given = step.operands

    def elements(self, name: str) -> np.ndarray:
        """Of shape (partitions, elements of one)."""
        found = self.memory.elements(self.seen[name])
        return found.reshape(found.shape[0], -1)

    def floats(self, name: str) -> list[list[float]]:
        """The values in float32."""
        found: list[list[float]] = self.elements(name).astype(np.float32).tolist()
        return found

    def whole(self, name: str) -> list[list[int]]:
        """Whole numbers as they are."""
        found: list[list[int]] = self.elements(name).astype(np.int64).tolist()
        return found

    def number(self, name: str, partitions: int) -> list[float]:
        """A number in float32, one for each partition."""
        if name in self.seen:
            return [row[0] for row in self.floats(name)]
        given = self.given.get(name)
        return [float(np.float32(0.0 if given is None else given))] * partitions

    def dtype(self, name: str) -> str:
        return self.seen[name].dtype

    def lanes(self, name: str) -> list[int]:
        """The partitions that a view is in."""
        seen = self.seen[name]
        tensor = self.memory.tensors[seen.tensor]
        size = math.prod(tensor.shape[1:]) * element(tensor.dtype).itemsize
        first = seen.at.reshape(seen.shape[0], -1)[:, 0]
        return [int(at) // size for at in first]

    def region(self, name: str) -> str:
        return self.memory.tensors[self.seen[name].tensor].region


INSTRUCTIONS: dict[str, Callable[[_Operands], dict[str, Result]]] = {}


def _plays(name: str) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        INSTRUCTIONS[name] = function
        return function

    return add


# -- arithmetic ------------------------------------------------------------------------
def single(value: float) -> float:
    """A number rounded to float32."""
    with np.errstate(all="ignore"):
        return float(np.float32(value))


def _of_two(choose: Callable[..., float]) -> Callable[..., float]:
    """Of two numbers one, or NaN if one is that."""

    def operation(a: float, b: float) -> float:
        return math.nan if math.isnan(a) or math.isnan(b) else choose(a, b)

    return operation


OPERATIONS = {
    **ARITHMETIC,
    "maximum": _of_two(max),
    "minimum": _of_two(min),
    "relu": lambda a: a if math.isnan(a) else max(a, 0.0),
    "sign": lambda a: a if math.isnan(a) else float((a > 0) - (a < 0)),
    "abs_max": _of_two(lambda a, b: max(abs(a), abs(b))),
    "abs_min": _of_two(lambda a, b: min(abs(a), abs(b))),
    "silu": lambda a: a / (1 + math.exp(-a)),
    "softplus": lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))),
    "erf": math.erf,
    "gelu_apprx_tanh": lambda a: (
        a / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))
    ),
}
WHOLE_32 = {"int32", "uint32"}


def _pair(name: str, a: float, b: float, is_reversed: bool = False) -> float:
    operation = OPERATIONS[name]
    if name in ("abs", "square", "relu"):
        return single(operation(a))
    return single(operation(b, a) if is_reversed else operation(a, b))


def _bits(name: str, a: int, b: int, width: int) -> int:
    if name == "invert":
        return BITS[name](a, 0, width)
    if name in ("left_shift", "right_shift") and b >= width:
        return 0
    return BITS[name](a, b, width)


def _as_bits(rows: list[list[int]], dtype: str) -> np.ndarray:
    """The lowest bits of numbers, as elements."""
    kind = element(dtype)
    unsigned = np.dtype(f"u{kind.itemsize}")
    limit = 1 << 8 * kind.itemsize
    wrapped = [[value % limit for value in row] for row in rows]
    return np.array(wrapped, unsigned).view(kind)


@_plays("tensor_tensor")
def _tensor_tensor(o: _Operands) -> dict[str, Result]:
    op, dst = o.told["op"], o.dtype("dst")
    names = ("dst", "data1", "data2")
    if op in BITS:
        width = 8 * element(o.dtype("data1")).itemsize
        rows = [
            [_bits(op, a % (1 << width), b % (1 << width), width) for a, b in zip(*row)]
            for row in zip(o.whole("data1"), o.whole("data2"))
        ]
        return {"dst": _as_bits(rows, dst)}
    exact = all(o.dtype(n) in WHOLE_32 for n in names)
    if exact and all(o.region(n) != "psum" for n in names) and "engine" not in o.told:
        pairs = zip(o.whole("data1"), o.whole("data2"))
        whole = [[int(ARITHMETIC[op](a, b)) for a, b in zip(*row)] for row in pairs]
        return {"dst": _as_bits(whole, dst)}
    return {
        "dst": Near(
            [
                [_pair(op, a, b) for a, b in zip(*row)]
                for row in zip(o.floats("data1"), o.floats("data2"))
            ]
        )
    }


@_plays("tensor_scalar")
def _tensor_scalar(o: _Operands) -> dict[str, Result]:
    told = o.told
    if told["op0"] in BITS:
        return {"dst": _tensor_scalar_bits(o)}
    rows = o.floats("data")
    for i in (0, 1):
        op = told.get(f"op{i}")
        if op is None:
            continue
        numbers = o.number(f"operand{i}", len(rows))
        back = told.get(f"reverse{i}", False)
        rows = [[_pair(op, a, s, back) for a in row] for row, s in zip(rows, numbers)]
    return {"dst": Near(rows)}


def _tensor_scalar_bits(o: _Operands) -> np.ndarray:
    width = 8 * element(o.dtype("data")).itemsize
    rows = [[a % (1 << width) for a in row] for row in o.whole("data")]
    for i in (0, 1):
        op = o.told.get(f"op{i}")
        if op is None:
            continue
        name = f"operand{i}"
        if name in o.seen:
            numbers = [row[0] % (1 << width) for row in o.whole(name)]
        else:
            numbers = [int(o.given.get(name) or 0) % (1 << width)] * len(rows)
        back = o.told.get(f"reverse{i}", False)
        rows = [
            [_bits(op, *((s, a) if back else (a, s)), width) for a in row]
            for row, s in zip(rows, numbers)
        ]
    return _as_bits(rows, o.dtype("dst"))


@_plays("scalar_tensor_tensor")
def _scalar_tensor_tensor(o: _Operands) -> dict[str, Result]:
    rows, others, told = o.floats("data"), o.floats("operand1"), o.told
    numbers = o.number("operand0", len(rows))
    first = told.get("reverse0", False)
    second = told.get("reverse1", False)
    return {
        "dst": Near(
            [
                [
                    _pair(told["op1"], _pair(told["op0"], a, s, first), b, second)
                    for a, b in zip(row, other)
                ]
                for row, other, s in zip(rows, others, numbers)
            ]
        )
    }


# -- functions -------------------------------------------------------------------------
EXACT_FUNCTIONS = ("copy", "square", "relu", "abs", "sign")


def _function(name: str, a: float) -> float:
    if math.isinf(a) and name in ("gelu", "gelu_apprx_tanh", "silu"):
        return max(a, 0.0)
    try:
        return OPERATIONS[name](a)
    except OverflowError:  # of exp, and in the denominator of sigmoid
        return math.inf if name == "exp" else 0.0


@_plays("activation")
def _activation(o: _Operands) -> dict[str, Result]:
    rows, op = o.floats("data"), o.told["op"]
    scales = o.number("scale", len(rows)) if "scale" in o.given else [1.0] * len(rows)
    biases = o.number("bias", len(rows))
    exact = op in EXACT_FUNCTIONS
    values = np.array(
        [
            [_function(op, single(single(a * s) + b)) for a in row]
            for row, s, b in zip(rows, scales, biases)
        ]
    )
    if exact:
        values = values.astype(np.float32).astype(np.float64)
    error = 0.0 if exact else _FUNCTION * np.maximum(np.abs(values), _TINY / _FUNCTION)
    if op.startswith("gelu"):  # of small differences near -5
        error = error + 1e-6
    made: dict[str, Result] = {"dst": Near(values, error)}
    if "reduce_cmd" in o.told:
        total = _registered(o, "scalar", "data", _sum(values, error))
        if "reduce_res" in o.seen:
            made["reduce_res"] = total
    return made


def _registered(o: _Operands, engine: str, tile: str, sums: Near) -> Near:
    """What an engine's registers hold after sums were set, or added, there."""
    made = []
    for lane, value, off in zip(o.lanes(tile), sums.values.flat, sums.error.flat):
        if o.told["reduce_cmd"] == "reduce":
            before, was_off = o.reduced[engine, lane]
            value = before + value
            off += was_off + abs(value) * _HALF
        o.reduced[engine, lane] = float(value), float(off)
        made.append(o.reduced[engine, lane])
    return Near([[value] for value, _ in made], [[off] for _, off in made])


def _sum(values: np.ndarray, error: Any = 0.0) -> Near:
    """Sums along the last axis, in any order."""
    size = np.abs(values)
    off = (size * (values.shape[-1] * _HALF) + error).sum(-1, keepdims=True)
    off[_overflows(size)] = math.inf
    return Near(values.sum(-1, keepdims=True), off)


def _overflows(sizes: np.ndarray) -> np.ndarray:
    """Where a sum of numbers of such sizes may become infinite on the way."""
    finite = np.where(np.isfinite(sizes), sizes, 0).sum(-1, keepdims=True)
    return finite > float(np.finfo(np.float32).max) / 2


# -- reductions ------------------------------------------------------------------------
def _reduce(op: str, rows: list[list[float]]) -> Near:
    values = np.array(rows, np.float64)
    if op == "add":
        return _sum(values)
    made = []
    for row in rows:
        total = row[0]
        for value in row[1:]:
            total = OPERATIONS[op](total, value)
        made.append([total])
    return Near(made)


@_plays("tensor_reduce")
def _tensor_reduce(o: _Operands) -> dict[str, Result]:
    shape = o.seen["data"].shape
    first = min(o.told["axis"])
    count = math.prod(shape[first:])
    op = o.told["op"]
    if op in BITS:
        width = 8 * element(o.dtype("data")).itemsize
        whole = np.array(o.whole("data"), object).reshape(-1, count).tolist()
        made = []
        for row in whole:
            total = row[0]
            for value in row[1:]:
                total = BITS[op](total, value, width)
            made.append([total])
        return {"dst": _as_bits(made, o.dtype("dst")).reshape(-1)}
    near = _reduce(op, np.array(o.floats("data")).reshape(-1, count).tolist())
    values = -near.values if o.told.get("negate") else near.values
    return {"dst": Near(values.reshape(-1), near.error.reshape(-1))}


@_plays("tensor_partition_reduce")
def _tensor_partition_reduce(o: _Operands) -> dict[str, Result]:
    near = _reduce(o.told["op"], np.array(o.floats("data")).T.tolist())
    return {"dst": Near(near.values.reshape(-1), near.error.reshape(-1))}


@_plays("tensor_scalar_reduce")
def _tensor_scalar_reduce(o: _Operands) -> dict[str, Result]:
    dst = _tensor_scalar(o)["dst"]
    assert isinstance(dst, Near)
    return {"dst": dst, "reduce_res": _reduce(o.told["reduce_op"], dst.values.tolist())}


@_plays("tensor_tensor_scan")
def _tensor_tensor_scan(o: _Operands) -> dict[str, Result]:
    rows = list(zip(o.floats("data0"), o.floats("data1")))
    made = []
    for (row0, row1), state in zip(rows, o.number("initial", len(rows))):
        line = []
        for a, b in zip(row0, row1):
            state = _pair(o.told["op1"], _pair(o.told["op0"], a, state), b)
            line.append(state)
        made.append(line)
    return {"dst": Near(made)}


@_plays("tensor_scalar_cumulative")
def _tensor_scalar_cumulative(o: _Operands) -> dict[str, Result]:
    rows = o.floats("src")
    made = []
    for row, number in zip(rows, o.number("imm0", len(rows))):
        state = {"add": 0.0, "multiply": 1.0, "maximum": -math.inf}[o.told["op1"]]
        line = []
        for a in row:
            state = _pair(o.told["op1"], _pair(o.told["op0"], a, number), state)
            line.append(state)
        made.append(line)
    return {"dst": Near(made)}


@_plays("exponential")
def _exponential(o: _Operands) -> dict[str, Result]:
    rows = o.floats("src")
    numbers = o.number("max_value", len(rows))
    values = np.array(
        [
            [_function("exp", single(a - most)) for a in row]
            for row, most in zip(rows, numbers)
        ]
    )
    return {"dst": Near(values, _FUNCTION * np.abs(values) + _TINY)}


@_plays("max8")
def _max8(o: _Operands) -> dict[str, Result]:
    rows = np.array(o.floats("src"))
    # Which of NaN is greater, no document says.
    error = np.isnan(rows).any(1, keepdims=True) * np.full(8, math.inf)
    error = np.where(np.isnan(error), 0, error)
    return {"dst": Near([sorted(row)[:-9:-1] for row in rows.tolist()], error)}


# -- choices ---------------------------------------------------------------------------
@_plays("select_reduce")
def _select_reduce(o: _Operands) -> dict[str, Result]:
    rows, predicate = o.floats("on_true"), o.whole("predicate")
    numbers = o.number("on_false", len(rows))
    back = o.told.get("reverse_pred", False)
    made = [
        [a if (p != 0) != back else s for a, p in zip(*row)]
        for *row, s in zip(rows, predicate, numbers)
    ]
    return {"dst": Near(made), "reduce_res": _reduce("maximum", made)}


@_plays("range_select")
def _range_select(o: _Operands) -> dict[str, Result]:
    rows, told = o.floats("on_true_tile"), o.told
    low, high = (o.number(f"bound{i}", len(rows)) for i in (0, 1))
    lowest = float(np.finfo(np.float32).min)

    def fits(place: int, p: int) -> bool:
        first = ARITHMETIC[told["comp_op0"]](place, low[p])
        return bool(first and ARITHMETIC[told["comp_op1"]](place, high[p]))

    start = told["range_start"]
    return {
        "dst": Near(
            [
                [a if fits(start + i, p) else lowest for i, a in enumerate(row)]
                for p, row in enumerate(rows)
            ]
        )
    }


@_plays("nc_n_gather")
def _nc_n_gather(o: _Operands) -> dict[str, Result]:
    data, indices = o.elements("data"), o.whole("indices")
    made = [[row[i] for i in places] for row, places in zip(data, indices)]
    return {"dst": np.array(made, data.dtype)}


# -- copies ----------------------------------------------------------------------------
@_plays("dma_transpose")
def _dma_transpose(o: _Operands) -> dict[str, Result]:
    converted = _converted(o, "src")
    if isinstance(converted, Near):
        return {"dst": Near(converted.values.T)}
    return {"dst": np.ascontiguousarray(converted.T)}


@_plays("register_store")
def _register_store(o: _Operands) -> dict[str, Result]:
    return {"dst": Near([[float(o.registers[o.told["src"]])]])}


def _converted(o: _Operands, name: str) -> Result:
    """Elements as they are if the types are equal; else what float32 makes of them."""
    if o.dtype(name) == o.dtype("dst"):
        return o.memory.elements(o.seen[name])
    return Near(o.memory.elements(o.seen[name]).astype(np.float32).astype(np.float64))


@_plays("assign")
@_plays("tensor_copy")
@_plays("dma_copy")
def _copy(o: _Operands) -> dict[str, Result]:
    return {"dst": _converted(o, "src")}


@_plays("memset")
def _memset(o: _Operands) -> dict[str, Result]:
    return {"dst": Near(np.full(o.seen["dst"].shape, float(o.given["value"])))}


@_plays("tensor_copy_predicated")
def _tensor_copy_predicated(o: _Operands) -> dict[str, Result]:
    made = o.elements("dst").copy()
    if "src" in o.seen:
        source = o.elements("src")
    else:
        number = Near(np.full(made.shape, float(o.given["src"])))
        source = stored(number, o.dtype("dst"))
    predicate = o.whole("predicate")
    for p, i in np.ndindex(*made.shape):
        if (predicate[p][i] != 0) != o.told.get("reverse_pred", False):
            made[p, i] = source[p, i]
    return {"dst": made}


@_plays("nc_stream_shuffle")
def _nc_stream_shuffle(o: _Operands) -> dict[str, Result]:
    made, source = o.elements("dst").copy(), o.elements("src")
    for p in range(len(made)):
        row = o.told["shuffle_mask"][p % 32]
        if row != 255:
            made[p] = source[p // 32 * 32 + row]
    return {"dst": made}


# -- places ----------------------------------------------------------------------------
def _affine(o: _Operands) -> list[list[int]]:
    pattern, told = o.told["pattern"], o.told
    rows = []
    for p in range(o.seen["dst"].shape[0]):
        row = []
        for place in np.ndindex(*(count for _, count in pattern)):
            value = told.get("offset", 0) + p * told.get("channel_multiplier", 0)
            row.append(value + sum(i * step for i, (step, _) in zip(place, pattern)))
        rows.append(row)
    return rows


@_plays("iota")
def _iota(o: _Operands) -> dict[str, Result]:
    return {"dst": Near(np.array(_affine(o), np.float32).astype(np.float64))}


@_plays("affine_select")
def _affine_select(o: _Operands) -> dict[str, Result]:
    compare = ARITHMETIC[o.told["cmp_op"]]
    other = single(o.told["on_false_value"])
    return {
        "dst": Near(
            [
                [a if compare(value, 0) else other for a, value in zip(*row)]
                for row in zip(o.floats("on_true_tile"), _affine(o))
            ]
        )
    }


# -- products --------------------------------------------------------------------------
@_plays("nc_matmul")
def _nc_matmul(o: _Operands) -> dict[str, Result]:
    left, right = (np.array(o.floats(n)) for n in ("stationary", "moving"))
    if o.told.get("perf_mode") == "double_row":
        left, right = (m.reshape(2 * m.shape[0], -1) for m in (left, right))
    products = left.T[:, None, :] * right.T[None]
    values, sizes = products.sum(-1), np.abs(products)
    error = sizes.sum(-1) * ((len(left) + 1) * _HALF)
    before = np.array(o.floats("dst"))
    added = _added(o)
    values = np.where(added, before + values, values)
    error = error + np.where(added, np.abs(values) * _HALF, 0)
    error = np.where(np.isfinite(error), error, 0)
    error[_overflows(sizes)[..., 0]] = math.inf
    return {"dst": Near(values, error)}


def _added(o: _Operands) -> np.ndarray:
    """Which elements a product is added to."""
    wanted = o.told.get("accumulate")
    seen = o.seen["dst"]
    marks = o.memory.marks(seen).reshape(seen.shape[0], -1)
    return marks if wanted is None else np.full(marks.shape, wanted)


@_plays("nc_transpose")
def _nc_transpose(o: _Operands) -> dict[str, Result]:
    return {"dst": np.ascontiguousarray(o.elements("data").T)}
