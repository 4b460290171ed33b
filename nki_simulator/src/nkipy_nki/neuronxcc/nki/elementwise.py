"""Functions of each element, which are operations' tokens as well; and operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nkipy_nki.checking import told
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.indices import broadcast_shapes
from nkipy_nki.neuronxcc.nki.issuing import (
    PSUM,
    in_sbuf,
    made,
    on_chip,
    promoted,
)
from nkipy_nki.neuronxcc.nki.state import reducing
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile, stretched
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.running import kernel_line

__all__: list[str] = []

_TRUTHS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal") + (
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
)


def binary(name: str, x: Any, y: Any, dtype: Any = None, mask: Any = None) -> Fresh:
    """An operation of two tiles that broadcast, or of a tile and a number.

    Args:
        name: of the operation.
        x: a tile, or a number.
        y: the same; one of the two is a tile.
        dtype: of the result.
        mask: where it is computed.
    """
    operation = OPERATIONS[name]
    numbers = as_number(x), as_number(y)
    if not isinstance(x, Tile) and not isinstance(y, Tile):
        raise NkiValidationError(
            f"nl.{name} of {told(x)} and {told(y)}: one must be a tile"
            f"\n  at {kernel_line()}"
        )
    element = promoted(x, y) if dtype is None else find_dtype(dtype)
    if numbers[0] is not None or numbers[1] is not None:
        reverse = numbers[0] is not None
        tile = _reached(
            on_chip(y if reverse else x, f"nl.{name}: an operand"), operation
        )
        number: Any = numbers[0] if reverse else numbers[1]
        if not operation.is_bitvec:
            number = float(number)
        return made(
            "tensor_scalar",
            tuple(tile.tile_shape),
            element,
            {"data": tile, "operand0": number},
            mask,
            op0=operation,
            reverse0=reverse,
        )
    left = _reached(on_chip(x, f"nl.{name}: x"), operation)
    right = _reached(on_chip(y, f"nl.{name}: y"), operation)
    if left.buffer is PSUM and right.buffer is PSUM:
        right = in_sbuf(right)
    shape = broadcast_shapes(tuple(left.tile_shape), tuple(right.tile_shape))
    pair = {"data1": stretched(left, shape), "data2": stretched(right, shape)}
    return made("tensor_tensor", shape, element, pair, mask, op=operation)


def _reached(tile: Tile, operation: Operation) -> Tile:
    """A tile where the engine that has the operation reaches it."""
    return in_sbuf(tile) if operation.alu_engine is Engine.gpsimd else tile


def unary(name: str, x: Any, dtype: Any = None, mask: Any = None) -> Fresh:
    """An operation of one tile: by an activation function, or by the ALU."""
    tile, operation = on_chip(x, f"nl.{name}: x"), OPERATIONS[name]
    element = tile.dtype if dtype is None else find_dtype(dtype)
    shape = tuple(tile.tile_shape)
    if name == "reciprocal":
        return made("reciprocal", shape, element, {"data": tile}, mask)
    if "activation" in operation.since:
        return made(
            "activation",
            shape,
            element,
            {"data": tile},
            mask,
            op=operation,
        )
    return made(
        "tensor_scalar",
        shape,
        element,
        {"data": tile, "operand0": None},
        mask,
        op0=operation,
    )


# -- the functions ---------------------------------------------------------------------
def _of_two(name: str) -> Callable[..., Fresh]:
    truth = "uint8" if name in _TRUTHS else None

    def function(x: Any, y: Any, *, dtype: Any = truth, mask: Any = None) -> Fresh:
        return binary(name, x, y, _boolean(dtype), mask)

    return function


def _of_one(name: str) -> Callable[..., Fresh]:
    truth = "uint8" if name in _TRUTHS else None

    def function(x: Any, *, dtype: Any = truth, mask: Any = None) -> Fresh:
        return unary(name, x, _boolean(dtype), mask)

    return function


def _boolean(dtype: Any) -> Any:
    """Python's bool, and NumPy's, are stored as bytes."""
    return "uint8" if dtype is bool else dtype


def negative(x: Any, *, dtype: Any = None, mask: Any = None) -> Fresh:
    """``-x``."""
    return binary(
        "multiply", x, -1.0, dtype or on_chip(x, "nl.negative: x").dtype, mask
    )


_DOC = """{name} of each element.

    Args:
        x: a tile{other}.
        dtype: of the result; if None, that of the operands with the highest precision.
        mask: where it is computed.

    Returns:
        A new tile.
    """


def _functions() -> dict[str, Any]:
    """A function for each operation that has one, by name."""
    found: dict[str, Any] = {"negative": negative}
    for name, operation in OPERATIONS.items():
        if operation.since.keys() <= {"language", "special"} or name == "prelu":
            continue
        one = operation.arity == 1
        function: Any = _of_one(name) if one else _of_two(name)
        other = "" if one else " or a number; and y, the same"
        function.__name__ = function.__qualname__ = name
        function.__doc__ = _DOC.format(name=name, other=other)
        function.operation = operation
        found[name] = function
    return found


FUNCTIONS = _functions()


# -- operators -------------------------------------------------------------------------
_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "mod": "mod",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
}
_COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}


def _add_operators() -> None:
    for method, name in _OPERATORS.items():
        setattr(Tile, f"__{method}__", _operator(name, False))
        setattr(Tile, f"__r{method}__", _operator(name, True))
        setattr(Tile, f"__i{method}__", _in_place(name))
    for method, name in _COMPARISONS.items():
        setattr(Tile, f"__{method}__", _operator(name, False))
    others = {"hash": object.__hash__, "neg": negative, "invert": FUNCTIONS["invert"]}
    for method, function in others.items():
        setattr(Tile, f"__{method}__", function)


def _operator(name: str, swap: bool) -> Callable[[Tile, Any], Any]:
    def apply(self: Tile, other: Any) -> Any:
        if not isinstance(other, Tile) and as_number(other) is None:
            return NotImplemented
        return FUNCTIONS[name](*((other, self) if swap else (self, other)))

    return apply


def _in_place(name: str) -> Callable[[Tile, Any], Tile]:
    def apply(self: Tile, other: Any) -> Tile:
        with reducing(name):
            _update(name, self, other)
        return self

    return apply


def _update(name: str, tile: Tile, other: Any) -> None:
    """Let a tile be what an operation gives of it and another."""
    adds = name == "add" and isinstance(other, Fresh) and other.accumulates
    same = adds and tuple(other.tile_shape) == tuple(tile.tile_shape)
    if same and tile.buffer is PSUM:
        other.add_to(tile)
        return
    result = binary(name, tile, other, tile.dtype)
    if tuple(result.tile_shape) != tuple(tile.tile_shape):
        raise NkiValidationError(
            f"what is computed has the shape {list(result.shape)}, and the tile that "
            f"it is to be put in {list(tile.shape)}\n  at {kernel_line()}"
        )
    result.put(tile)


_add_operators()
