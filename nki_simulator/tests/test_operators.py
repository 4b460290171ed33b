"""Operations: found by what kernels write, computed element by element."""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.operators import KINDS, OPERATIONS, Operation, as_bits, find_operation

BINARY: dict[str, Callable[[float, float], float]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "maximum": max,
    "minimum": min,
    "abs_max": lambda x, y: max(abs(x), abs(y)),
    "abs_min": lambda x, y: min(abs(x), abs(y)),
    "logical_and": lambda x, y: float(x != 0 and y != 0),
    "logical_or": lambda x, y: float(x != 0 or y != 0),
    "logical_xor": lambda x, y: float((x != 0) != (y != 0)),
    "equal": lambda x, y: float(x == y),
    "not_equal": lambda x, y: float(x != y),
    "greater_equal": lambda x, y: float(x >= y),
    "greater": lambda x, y: float(x > y),
    "less_equal": lambda x, y: float(x <= y),
    "less": lambda x, y: float(x < y),
    "power": lambda x, y: abs(x) ** y if x else 0.0**y,
    "divide": lambda x, y: x / y,
    "mod": lambda x, y: x % y,
    "fmod": math.fmod,
}
UNARY: dict[str, Callable[[float], float]] = {
    "logical_not": lambda x: float(x == 0),
    "abs": abs,
    "square": lambda x: x * x,
    "relu": lambda x: max(x, 0.0),
    "rsqrt": lambda x: 1 / math.sqrt(abs(x)),
    "reciprocal": lambda x: 1 / x,
    "ceil": math.ceil,
    "floor": math.floor,
    "trunc": math.trunc,
    "negative": lambda x: -x,
    "cos": math.cos,
    "tan": math.tan,
}
NUMBERS = (0.0, 1.0, -1.0, 2.5, -2.5, 3.0, -0.75, 7.25)


def of_kind(kind: str) -> set[str]:
    return {name for name, o in OPERATIONS.items() if kind in o.since}


def test_every_operation_is_tried() -> None:
    tried = BINARY.keys() | UNARY.keys()
    assert of_kind("arithmetic") | of_kind("language") == tried
    assert {k for o in OPERATIONS.values() for k in o.since} == KINDS.keys()


@pytest.mark.parametrize("name", BINARY)
def test_two_numbers(name: str) -> None:
    above = name in ("power",)  # roots of negative numbers are none
    zero = name not in ("power", "divide", "mod", "fmod")
    left = [abs(x) if above else x for x in NUMBERS]
    right = [y for y in NUMBERS if zero or y]
    if above:
        left = [x for x in left if x]
    made = OPERATIONS[name](
        np.array(left, np.float32)[:, None], np.array(right, np.float32)
    )
    assert made.dtype == np.float32 and OPERATIONS[name].arity == 2
    expected = [[BINARY[name](x, y) for y in right] for x in left]
    np.testing.assert_allclose(made, expected, rtol=1e-6)


@pytest.mark.parametrize("name", UNARY)
def test_one_number(name: str) -> None:
    x = [abs(v) if name == "rsqrt" else v for v in NUMBERS if v]
    made = OPERATIONS[name](np.array(x, np.float32))
    assert made.dtype == np.float32 and OPERATIONS[name].arity == 1
    np.testing.assert_allclose(made, [UNARY[name](v) for v in x], rtol=1e-6, atol=1e-6)


def test_comparisons_with_nan_hold_as_in_ieee() -> None:
    nan, one = np.array([np.nan], np.float32), np.array([1], np.float32)
    for name in ("equal", "less", "less_equal", "greater", "greater_equal"):
        assert OPERATIONS[name](nan, one).tolist() == [0.0]
    assert OPERATIONS["not_equal"](nan, nan).tolist() == [1.0]


# -- bits ------------------------------------------------------------------------------
WIDTHS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
BITS: dict[str, Callable[[int, int, int], int]] = {
    "bitwise_and": lambda x, y, width: x & y,
    "bitwise_or": lambda x, y, width: x | y,
    "bitwise_xor": lambda x, y, width: x ^ y,
    "left_shift": lambda x, y, width: x << y if y < width else 0,
    "right_shift": lambda x, y, width: x >> y if y < width else 0,
    "invert": lambda x, y, width: ~x,
}


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("name", BITS)
def test_bits(name: str, dtype: str) -> None:
    """Shifts are logical: what comes in is 0, of negative numbers as well."""
    assert of_kind("bitvec") == BITS.keys()
    element = np.dtype(dtype)
    width = 8 * element.itemsize
    mask = (1 << width) - 1
    x = [0, 1, mask, mask >> 1, 1 << (width - 1), 0x55]
    y = [0, 1, 3, width - 1, width, 0x7F]
    arrays = [np.array([as_bits(v, element) for v in values]) for values in (x, y)]
    made = OPERATIONS[name](*arrays[: OPERATIONS[name].arity])
    assert made.dtype == element
    expected = [BITS[name](a, b, width) & mask for a, b in zip(x, y)]
    assert [int(v) & mask for v in made] == expected


def test_a_shift_by_a_negative_number_leaves_nothing() -> None:
    x, places = np.array([-1], np.int32), np.array([-1], np.int32)
    assert OPERATIONS["left_shift"](x, places).tolist() == [0]
    assert OPERATIONS["right_shift"](x, places).tolist() == [0]


def test_numbers_as_bits() -> None:
    assert as_bits(0xFFFFFFFF, np.dtype(np.int32)) == -1
    assert as_bits(-1, np.dtype(np.uint8)) == 255
    assert as_bits(0x1FF, np.dtype(np.uint8)) == 255


# -- reducing --------------------------------------------------------------------------
REDUCING = [o for o in OPERATIONS.values() if o.reduces and o.name != "average"]


def test_what_reduces_is_as_documented() -> None:
    names = "add subtract multiply maximum minimum logical_and logical_or logical_xor "
    names += "bitwise_and bitwise_or bitwise_xor"
    assert {o.name for o in REDUCING} == set(names.split())


@pytest.mark.parametrize("operation", REDUCING, ids=repr)
def test_reductions(operation: Operation) -> None:
    rng = np.random.default_rng(8)
    if operation.is_bitvec:
        array = rng.integers(-99, 99, (3, 4, 5), dtype=np.int32)
        pairs: Callable[[Any, Any], Any] = lambda x, y: BITS[operation.name](x, y, 32)  # noqa: E731
    else:
        array = rng.integers(-2, 3, (3, 4, 5)).astype(np.float32)
        pairs = BINARY[operation.name]
    for axis in (0, -1, (1, 2), (2, 0), (0, 1, 2)):
        made = operation.reduce(array, axis)
        gone = [a % 3 for a in ((axis,) if isinstance(axis, int) else axis)]
        kept = [a for a in range(3) if a not in gone]
        assert made.shape == tuple(array.shape[a] for a in kept)
        assert made.dtype == array.dtype
        for index in np.ndindex(made.shape):
            place: list[Any] = [slice(None)] * 3
            for at, i in zip(kept, index):
                place[at] = i
            row = array[tuple(place)].reshape(-1).tolist()
            assert made[index] == functools.reduce(pairs, row), (axis, index)


@pytest.mark.parametrize("operation", REDUCING, ids=repr)
def test_identities_change_nothing(operation: Operation) -> None:
    assert operation.identity is not None
    if operation.is_bitvec:
        x = np.array([0, 5, -7], np.int32)
        start = as_bits(int(operation.identity), x.dtype)
    else:
        x = np.array([0, 1, 1] if "logical" in operation.name else [0, 2, -3], "f4")
        start = np.float32(operation.identity)
    assert operation(x, start).tolist() == x.tolist()


def test_the_average() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert OPERATIONS["average"].reduce(array, 0).tolist() == [4, 5, 6, 7]
    with pytest.raises(NkiValidationError, match="average"):
        OPERATIONS["average"](array, array)


def test_sums_depend_on_values_and_shape_alone() -> None:
    array = np.random.default_rng(9).normal(size=(40, 7, 90)).astype(np.float32)
    other = np.asfortranarray(array)
    for axis in (0, 1, 2, (0, 2)):
        first = OPERATIONS["add"].reduce(array, axis)
        assert OPERATIONS["add"].reduce(other, axis).tobytes() == first.tobytes()


def test_what_does_not_reduce_says_what_does() -> None:
    with pytest.raises(NkiValidationError, match="nl.power does not reduce.*maximum"):
        OPERATIONS["power"].reduce(np.ones(3, np.float32))


# -- tokens ----------------------------------------------------------------------------
def nl_function(name: str) -> Callable[[], None]:
    def function() -> None: ...

    function.operation = OPERATIONS[name]  # type: ignore[attr-defined]
    return function


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ("add", "arithmetic", "add"),
        ("max", "arithmetic", "maximum"),
        (OPERATIONS["exp"], "activation", "exp"),
        (nl_function("gelu"), "activation", "gelu"),
        (np.add, "arithmetic", "add"),
        (np.max, "arithmetic", "maximum"),
        (np.min, "arithmetic", "minimum"),
        (np.maximum, "arithmetic", "maximum"),
        (np.sum, "arithmetic", "add"),
        (np.abs, "arithmetic", "abs"),
        (np.abs, "activation", "abs"),
        (np.bitwise_and, "bitvec", "bitwise_and"),
        (np.invert, "bitvec", "invert"),
        (np.exp, "activation", "exp"),
        (np.copy, "activation", "copy"),
        (np.mean, "special", "average"),
        (np.logical_and, ("bitvec", "arithmetic"), "logical_and"),
        (np.power, "arithmetic", "power"),
        (np.true_divide, "arithmetic", "divide"),
        (np.mod, "arithmetic", "mod"),
    ],
)
def test_what_kernels_write_for_an_operation(
    given: Any, kind: str | tuple[str, ...], name: str
) -> None:
    assert find_operation(given, kind) is OPERATIONS[name]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (np.exp, "arithmetic", "nl.exp, an activation function.*arithmetic.*subtract"),
        ("gelou", "activation", "'gelou' and must be an activation function.*gelu"),
        (max, "arithmetic", "built-in function max.*maximum"),
        (np.add, "bitvec", "nl.add, an arithmetic.*bitwise_and, .*left_shift"),
        (None, ("arithmetic", "bitvec"), "None.*arithmetic.* or a bitwise"),
        (3, "activation", "op is 3 and"),
        (np.float32, "activation", "float32"),
        ([], "arithmetic", r"\[\]"),
    ],
)
def test_what_is_no_operation(
    given: Any, kind: str | tuple[str, ...], message: str
) -> None:
    with pytest.raises(NkiValidationError, match=message):
        find_operation(given, kind)


def test_who_has_what_since_when() -> None:
    """The documents' tables of operators and of activation functions."""
    late = {n for n, o in OPERATIONS.items() if o.since.get("arithmetic") == 4}
    assert late == {"abs_max", "abs_min", "square", "relu"}
    alone = {n: o.alu_engine for n, o in OPERATIONS.items() if o.alu_engine}
    assert alone == {"power": Engine.gpsimd, "rsqrt": Engine.gpsimd}
    assert OPERATIONS["square"].since["activation"] == 2
    assert not OPERATIONS["divide"].compiles and OPERATIONS["add"].compiles


def test_records_are_one_of_each() -> None:
    add = OPERATIONS["add"]
    assert repr(add) == "nl.add" and pickle.loads(pickle.dumps(add)) is add
    names = [*OPERATIONS, *(a for o in OPERATIONS.values() for a in o.aliases)]
    assert len(names) == len(set(names))
