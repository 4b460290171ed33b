"""Sends instructions that go over whole arrays to handlers where those are faster.

XLA moves rows element by element, makes running sums by way of windows, calls a library
for each of many small products, copies operands of larger ones, and loses NaN among
which it looks for extremes (:mod:`nkipy.hlo.rewrites.extremes`). The handlers
(``row_calls.h``, ``scan_calls.h``, ``small_products.h``, ``products.h``,
``fold_calls.h``, ``among_calls.h``, ``slide_calls.h``, and of counts ``plain_calls.h``)
give the same elements. Sums are
rounded as NumPy's are, or less often, and are in the same order however many threads
there are; those of products are NumPy's own (:mod:`nkipy_emulator.products`).

From how many elements on a call is faster stands in the table of
:mod:`nkipy_emulator.fast_calls`, measured by ``benchmarks.bench_array_calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.opcodes.windows import WindowDim, split_dim_labels
from nkipy.hlo.rewrites.base import (
    Place,
    combination,
    is_filled,
    literal_below,
    rewrite,
)
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator.fast_calls import FOLD, PRODUCTS, Mode, function_of, is_chosen
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.products import has_blas, product_of

Value = HLOInstruction
_SCANNED = (dt.float32, dt.float64, *dt.INTEGERS, dt.int64, dt.uint64)
#: The handler that slides a vector along another.
SLIDES = "nkipy_slide"
_COMBINATIONS = ("add", "multiply", "maximum", "minimum")
#: Those of bits, of integers and bool.
_OF_BITS = ("and", "or", "xor")
#: What an extreme is looked for from on.
_FIRST: Mapping[str, Callable[[np.dtype], Any]] = MappingProxyType(
    {"maximum": dt.lowest, "minimum": dt.highest}
)
#: NumPy's functions that are these of bool, or pass over NaN.
_LOGICAL = MappingProxyType({"and": "logical_and", "or": "logical_or"})
_OF_NUMBERS = MappingProxyType({"maximum": "fmax", "minimum": "fmin"})
_FOLDED = (dt.float32, dt.float64, *dt.INTEGERS, dt.int64, dt.uint64)
#: What changes nothing; others may count what they begin with as often as they like.
_NEUTRAL: Mapping[str, int] = MappingProxyType({"add": 0, "multiply": 1, "xor": 0})
_MULTIPLIED = (dt.float32, dt.float64, dt.int32, dt.uint32)
#: Elements of a row; XLA moves shorter ones as fast, where it does nothing else.
_LEAST_ROW = 32
_INDICES = (dt.int32, dt.uint32, dt.int64)
_SLID = (dt.float32, dt.float64)
#: Whose products are float32's.
_WIDENED = (dt.float16, dt.bfloat16)
_LOOKED_UP = (dt.float32, dt.float64, *dt.INTEGERS, dt.int64, dt.uint64, dt.bool_)
#: How many elements are looked up, and among how many. XLA compares fewer faster.
_LEAST_LOOKED_UP, _LEAST_TESTS = 64, 16
#: Rows, columns and terms of a small product; so has it ``small_products.h``.
_MOST_COLUMNS = 8
#: Multiplications of a small product; XLA writes out what has fewer.
_LEAST_MULTIPLICATIONS = 32


class _Call(NamedTuple):
    """What takes an instruction's place.

    Attributes:
        name: under which the table has it.
        work: elements, as the table counts them.
        target: the handler.
        config: its attributes.
        operands: what it reads; None is what the instruction reads.
        is_needed: whether XLA's code has other results, so that size does not matter.
    """

    name: str
    work: int
    target: str
    config: str
    operands: tuple[Value, ...] | None = None
    is_needed: bool = False


def send_array_operations(module: HLOModule, mode: Mode) -> HLOModule:
    """`module` with calls of handlers; itself if there are none.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where handlers are called.
    """
    calls = {} if mode == "never" else _calls(module, mode)
    return _sent(module, calls) if calls else module


def send_products(module: HLOModule, dots: Iterable[Value]) -> HLOModule:
    """A copy of `module` in which these go to the handler, unless it cannot do them."""
    return _sent(module, {d: call for d in dots if (call := _products(d)) is not None})


def _sent(module: HLOModule, calls: Mapping[Value, _Call]) -> HLOModule:
    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        call = calls.get(inst)
        if call is None:
            return None
        attributes = handler(call.target, call.config)
        b = place.builder
        if call.operands is not None:
            operands = tuple([place.values[x] for x in call.operands])
        if call.target == SLIDES:  # short floats are summed in float32
            operands = tuple([b.convert(x, inst.dtype) for x in operands])
        return b.emit("custom-call", operands, inst.shape, inst.dtype, attributes)

    result = rewrite(module, rule)
    eliminate_dead_code(result)  # what calls do otherwise
    return result


def _calls(module: HLOModule, mode: Mode) -> dict[Value, _Call]:
    calls: dict[Value, _Call] = {}
    for computation in (module.entry, *controlled(module)):
        for inst in computation.instructions:
            find = _FINDERS.get(inst.opcode)
            call = None if find is None else find(inst)
            if call is None:
                continue
            if call.is_needed or is_chosen(call.name, "any", call.work, mode):
                calls[inst] = call
    return calls


# -- rows -----------------------------------------------------------------------------
def _rows(inst: Value) -> _Call | None:
    """A gather of whole rows of the first axis, or of elements of an only one."""
    rows, indices = inst.operands
    a = inst.attributes
    rank, batch = len(rows.shape), len(indices.shape)
    if a["index_vector_dim"] == batch - 1 and indices.shape[-1] == 1:
        batch -= 1
    elif a["index_vector_dim"] != batch:
        return None
    if a["start_index_map"] != (0,) or a["collapsed_slice_dims"] != (0,):
        return None
    if a.get("operand_batching_dims") or indices.dtype not in _INDICES:
        return None
    if a["offset_dims"] != tuple(range(batch, batch + rank - 1)):
        return None
    if a["slice_sizes"] != (1, *rows.shape[1:]) or 0 in rows.shape:
        return None
    given = _counted_from_the_end(indices, rows.shape[0])
    config = f"rows = {rows.shape[0]} : i64, wraps = {int(given is not None)} : i64"
    is_short = prod(rows.shape[1:]) < _LEAST_ROW
    name, work = "elements gathered" if is_short else "rows", prod(inst.shape)
    return _Call(name, work, "nkipy_rows", config, (rows, given or indices))


def _counted_from_the_end(indices: Value, size: int) -> Value | None:
    """What `indices` are made of by adding `size` to negative ones, if they are."""
    while indices.opcode == "reshape":
        (indices,) = indices.operands
    if indices.opcode != "select":
        return None
    is_negative, moved, given = indices.operands
    if is_negative.opcode != "compare" or moved.opcode != "add":
        return None
    if is_negative.attributes["direction"] != "LT" or given.dtype == dt.uint32:
        return None
    (x, zero), (y, added) = is_negative.operands, moved.operands
    is_given = x is given and y is given
    return given if is_given and is_filled(zero, 0) and is_filled(added, size) else None


# -- folds -----------------------------------------------------------------------------
class _Folded(NamedTuple):
    """What a reduction does.

    Attributes:
        by: the opcode by which it combines elements.
        x: whose elements.
        sizes: how many there are before, along and behind the axes that go.
    """

    by: str
    x: Value
    sizes: tuple[int, int, int]


def _folded(inst: Value, start: Callable[[str], Any]) -> _Folded | None:
    """What is reduced along axes that are next to each other, from `start(by)` on."""
    if inst.opcode != "reduce" or len(inst.operands) != 2:
        return None
    x, first_value = inst.operands
    by, dimensions = combination(inst), inst.attributes["dimensions"]
    if by is None or 0 in x.shape or not dimensions:
        return None
    neutral = start(by)
    if neutral is None or not is_filled(first_value, neutral):
        return None
    first, end = dimensions[0], dimensions[-1] + 1
    if dimensions != tuple(range(first, end)):
        return None
    sizes = (prod(x.shape[:first]), prod(x.shape[first:end]), prod(x.shape[end:]))
    return _Folded(by, x, sizes)


def _fold(inst: Value) -> _Call | None:
    """The largest or smallest elements; sums and products of integers; any and all."""
    dtype = inst.dtype
    if dtype is None:
        return None
    if dtype == dt.bool_:
        folded = _folded(inst, {"and": True, "or": False}.get)
        return None if folded is None else _fold_call("bits", folded, _LOGICAL)
    if dtype not in _FOLDED:
        return None
    folded = _folded(inst, lambda by: _FIRST[by](dtype) if by in _FIRST else None)
    if folded is not None:
        return _fold_call("fold", folded)
    if dt.is_float(dtype):
        return None
    folded = _folded(inst, {"add": 0, "multiply": 1}.get)
    if folded is None:
        return None
    return _count(inst, folded) or _fold_call("sums of integers", folded)


def _fold_call(
    name: str, folded: _Folded, names: Mapping[str, str] | None = None
) -> _Call | None:
    by, x, sizes = folded
    assert x.dtype is not None
    function = function_of((names or {}).get(by, by), x.dtype)
    if function is None:
        return None
    config = f'function = "{function}", {_numbers(axes=sizes)}'
    return _Call(name, prod(x.shape), FOLD, config, (x,))


def _count(inst: Value, folded: _Folded) -> _Call | None:
    """How many elements are true."""
    by, x, sizes = folded
    if by != "add" or inst.dtype != dt.int32 or x.opcode != "convert":
        return None
    (holds,) = x.operands
    if holds.dtype != dt.bool_:
        return None
    config = _numbers(axes=sizes)
    return _Call("counts", prod(x.shape), "nkipy_count", config, (holds,))


def _reduction(inst: Value) -> _Call | None:
    return _among(inst) or _fold(inst)


# -- which elements are among others ---------------------------------------------------
def _among(inst: Value) -> _Call | None:
    """Whether any of some elements equals each of others."""
    folded = _folded(inst, {"or": False}.get)
    if folded is None or folded.x.opcode != "compare" or folded.sizes[2] != 1:
        return None
    compared = folded.x
    last = len(inst.shape)
    if compared.attributes["direction"] != "EQ" or last + 1 != len(compared.shape):
        return None
    x, tests = compared.operands
    if tests.opcode != "broadcast" or tests.attributes["dimensions"] != (last,):
        return None
    if x.opcode != "broadcast" or x.attributes["dimensions"] != tuple(range(last)):
        return None
    (x,), (tests,) = x.operands, tests.operands
    if x.dtype not in _LOOKED_UP or x.shape != inst.shape:
        return None
    count, others = prod(x.shape), prod(tests.shape)
    pays = count >= _LEAST_LOOKED_UP and others >= _LEAST_TESTS
    config = f"elements = {count} : i64"
    work = count * others if pays else 0
    return _Call("among", work, "nkipy_among", config, (x, tests))


# -- numbers that may be missing -------------------------------------------------------
def _extreme_of_numbers(inst: Value) -> _Call | None:
    """The largest or smallest elements but NaN; NaN where all are, as fmax has it."""
    nothing, nan, extreme = inst.operands
    dtype = inst.dtype
    if dtype not in (dt.float32, dt.float64) or not _is_nan(nan):
        return None
    folded = _folded(extreme, lambda by: _FIRST[by](dtype) if by in _FIRST else None)
    missing = _folded(nothing, {"and": True}.get)
    if folded is None or missing is None or folded.x.opcode != "select":
        return None
    is_missing, lowest, x = folded.x.operands
    if folded.sizes != missing.sizes or not is_filled(lowest, _FIRST[folded.by](dtype)):
        return None
    if not all(_tells_nan(mask, x) for mask in (is_missing, missing.x)):
        return None
    return _fold_call("fold", folded._replace(x=x), _OF_NUMBERS)


def _is_nan(value: Value) -> bool:
    literal = literal_below(value)
    return literal is not None and literal.size == 1 and bool(np.isnan(literal).all())


def _tells_nan(mask: Value, x: Value) -> bool:
    """Whether `mask` says where `x` is NaN."""
    is_compared = mask.opcode == "compare" and mask.operands == (x, x)
    return is_compared and mask.attributes["direction"] == "NE"


# -- combinations along an axis --------------------------------------------------------
def _scan(inst: Value) -> _Call | None:
    """Running sums, products, extremes or bits."""
    if len(inst.operands) != 2 or inst.dtype not in (*_SCANNED, dt.bool_):
        return None
    by = _known_combination(inst)
    along = [i for i, d in enumerate(inst.attributes["window"]) if d.size != 1]
    if by is None or len(along) != 1:
        return None
    if by in _NEUTRAL and not is_filled(inst.operands[1], _NEUTRAL[by]):
        return None  # the padding of each window counts
    (axis,) = along
    shape = inst.operands[0].shape
    plain = [WindowDim(1) for _ in shape]
    plain[axis] = WindowDim(shape[axis], pad_low=shape[axis] - 1)
    if tuple(inst.attributes["window"]) != tuple(plain):
        return None
    sizes = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    config = f'by = "{by}", {_numbers(axes=sizes)}'
    return _Call("scan", prod(shape), "nkipy_scan", config)


def _known_combination(inst: Value) -> str | None:
    """The opcode by which two elements are combined, if the handler does that."""
    of_bits = inst.dtype is None or not dt.is_float(inst.dtype)
    known = _COMBINATIONS if inst.dtype != dt.bool_ else ()
    known = (*known, *(_OF_BITS if of_bits else ()))
    by = combination(inst)
    return by if by in known else None


# -- products --------------------------------------------------------------------------
def _products(inst: Value) -> _Call | None:
    """Many products of small matrices, or products of any."""
    small = _small_products(inst)
    product = None if small is not None else product_of(inst)
    if product is None:
        return small
    assert inst.dtype is not None
    function = function_of("matmul", inst.dtype)
    config = f'function = "{function}", {_numbers(layout=product.layout)}'
    gains = has_blas() and not product.is_for_xla
    work = product.multiplications if gains else 0
    return _Call(product.kind, work, PRODUCTS, config, product.operands)


def _small_products(inst: Value) -> _Call | None:
    """Many products of matrices of a few elements."""
    left, right = (_side(inst, i, s) for i, s in enumerate(("lhs", "rhs")))
    if inst.dtype not in _MULTIPLIED or left is None or right is None:
        return None
    count, (m, k), n = prod(left.batch), left.sizes, right.sizes[0]
    if not left.batch or max(m, k, n) > _MOST_COLUMNS or min(m, n) < 2:
        return None
    if m * k * n < _LEAST_MULTIPLICATIONS:
        return None
    # The handler wants them as rows by terms, and terms by columns.
    turned = (int(left.terms_first), int(not right.terms_first))
    config = f"{_numbers(sizes=(count, m, k, n))}, {_numbers(turned=turned)}"
    return _Call("small products", count * m * n, "nkipy_small_products", config)


class _Side(NamedTuple):
    """An operand of a product: free elements by terms, in either order."""

    batch: tuple[int, ...]
    sizes: tuple[int, int]
    terms_first: bool


def _side(dot: Value, index: int, name: str) -> _Side | None:
    x, terms = dot.operands[index], dot.attributes[f"{name}_contracting_dims"]
    batch = dot.attributes[f"{name}_batch_dims"]
    first = len(batch)
    if x.dtype != dot.dtype or batch != tuple(range(first)) or len(terms) != 1:
        return None
    free = [i for i in range(first, len(x.shape)) if i != terms[0]]
    if len(free) != 1:
        return None
    sizes = (x.shape[free[0]], x.shape[terms[0]])
    return _Side(x.shape[:first], sizes, terms[0] < free[0])


def _numbers(**lists: tuple[int, ...]) -> str:
    ((name, numbers),) = lists.items()
    return f"{name} = array<i64: {', '.join(map(str, numbers))}>"


# -- vectors that slide along others ---------------------------------------------------
def _slide(inst: Value) -> _Call | None:
    """A convolution of one vector by another, as np.convolve and np.correlate are."""
    x, weights = inst.operands
    dtypes = {inst.dtype, x.dtype, weights.dtype}
    is_widened = inst.dtype == dt.float32 and dtypes <= {dt.float32, *_WIDENED}
    if inst.dtype not in _SLID or not (is_widened or len(dtypes) == 1):
        return None
    if 0 in inst.shape:
        return None
    window = inst.attributes["window"]
    if len(window) != 1 or any(prod(v.shape) != max(v.shape) for v in inst.operands):
        return None
    (along,) = window
    labels = split_dim_labels(inst.attributes["dim_labels"])
    sizes = [v.shape[part.index("0")] for v, part in zip((x, weights, inst), labels)]
    plain = WindowDim(
        *(along.size, 1, along.pad_low, along.pad_high),
        reverse=along.reverse,
    )
    if along != plain or sizes != [prod(v.shape) for v in (x, weights, inst)]:
        return None
    # Each result has a term: HLO's would be zero, and may be of more padding.
    if not 0 <= along.pad_low < along.size or not 0 <= along.pad_high < along.size:
        return None
    config = f"before = {along.pad_low} : i64, turned = {int(along.reverse)} : i64"
    work = prod(inst.shape) * along.size
    # XLA has a library multiply what is not finite with zeros beside the vector.
    is_needed = not along.reverse and along.pad_low + along.pad_high > 0
    return _Call("slides", work, SLIDES, config, is_needed=is_needed)


_FINDERS: Mapping[str, Callable[[Value], _Call | None]] = MappingProxyType(
    {
        "convolution": _slide,
        "gather": _rows,
        "reduce": _reduction,
        "select": _extreme_of_numbers,
        "reduce-window": _scan,
        "dot": _products,
    }
)
