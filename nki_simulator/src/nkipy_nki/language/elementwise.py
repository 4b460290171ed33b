"""Functions of each element of a tile, and of the elements of two tiles.

Each is an operation's token as well: its attribute `operation` is the record that
instructions take as ``op``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from nkipy_nki import isa
from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.isa.activation import activation
from nkipy_nki.isa.arithmetic import tensor_tensor
from nkipy_nki.isa.broadcasts import tensor_scalar
from nkipy_nki.language.tiles import (
    as_number,
    as_tile,
    new_tile,
    promoted,
    refuse,
    report_known_issue,
    require_same_shape,
    result_dtype,
)
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.running import current, kernel_line
from nkipy_nki.tensors import NkiTensor

__all__ = [
    "abs",
    "abs_max",
    "abs_min",
    "add",
    "arctan",
    "average",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bypass",
    "divide",
    "equal",
    "erf",
    "erf_dx",
    "exp",
    "fmod",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_sigmoid_dx",
    "gelu_apprx_tanh",
    "gelu_dx",
    "greater",
    "greater_equal",
    "invert",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mish",
    "mod",
    "multiply",
    "not_equal",
    "power",
    "prelu",
    "reciprocal",
    "relu",
    "right_shift",
    "rsqrt",
    "sigmoid",
    "sign",
    "silu",
    "silu_dx",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "tanh",
]


class OfOne(Protocol):
    """A function of the elements of a tile."""

    operation: Operation

    def __call__(self, x: Any, dtype: Any = None) -> NkiTensor: ...


class OfTwo(Protocol):
    """A function of the elements of two tiles, or of a tile and a number."""

    operation: Operation

    def __call__(self, x: Any, y: Any, dtype: Any = None) -> NkiTensor: ...


def token(operation: str) -> Callable[[Any], Any]:
    """Let a function be the token of an operation, too."""

    def mark(function: Any) -> Any:
        function.operation = OPERATIONS[operation]
        return function

    return mark


def _named(function: Any, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return token(name)(function)


class TruthTile(NkiTensor):
    """What a comparison gives. In Python it is true if no element is 0.

    So ``assert nl.equal(a, b)`` is a check in the simulator. A device cannot branch on
    elements, which a warning says.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        run = current("the truth of a tile")
        machine = run.executes
        if machine is None:
            return super().__bool__()
        run.findings.report(
            "would-not-compile",
            f"the truth of {self!r} is known at run time only: the simulator looks at "
            "its elements, and a device cannot",
            kernel_line(),
        )
        return bool(machine.memory.values(self).all())


# -- of two ----------------------------------------------------------------------------
_OF_TWO = """{about}

    Args:
        x: a tile, or a number.
        y: a tile of the same shape, or a number; one of the two is a tile.
        dtype: of the result; if None, {default}.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: neither is a tile, the shapes differ, or the instruction
            does not take such tiles.
    """


def of_two(name: str, x: Any, y: Any, dtype: Any) -> NkiTensor:
    """Apply an operation to two tiles, or to a tile and a number."""
    numbers = as_number(x), as_number(y)
    if numbers[0] is not None and numbers[1] is not None:
        raise refuse(name, f"x is {x!r} and y is {y!r}, and one must be a tile")
    if numbers[0] is not None:
        return _with_number(name, as_tile(y, name, "y"), numbers[0], dtype, True)
    first = as_tile(x, name, "x")
    if numbers[1] is not None:
        return _with_number(name, first, numbers[1], dtype, False)
    second = as_tile(y, name, "y")
    require_same_shape(name, x=first, y=second)
    made = new_tile(first.shape, result_dtype(dtype, first, second))
    tensor_tensor(made, first, second, OPERATIONS[name])
    return made


def _with_number(
    name: str, tile: NkiTensor, number: float, dtype: Any, reverse: bool
) -> NkiTensor:
    if name == "power" and not reverse:
        report_known_issue(
            "power",
            "an exponent that is a number is not supported on hardware: give a tile, "
            "or take nisa.tensor_scalar with nl.power",
        )
    made = new_tile(tile.shape, result_dtype(dtype, tile, number))
    tensor_scalar(made, tile, OPERATIONS[name], number, reverse)
    return made


def _arithmetic(name: str, about: str) -> OfTwo:
    def function(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
        return of_two(name, x, y, dtype)

    doc = _OF_TWO.format(about=about, default="that of the highest precision")
    return cast(OfTwo, _named(function, name, doc))


def _truth(name: str, about: str) -> OfTwo:
    """A function that gives 1 and 0, in the type of the tiles."""

    def function(x: Any, y: Any, dtype: Any = None) -> NkiTensor:
        if dtype is None:
            tiles = [as_tile(v, name) for v in (x, y) if as_number(v) is None]
            dtype = promoted(*tiles) if tiles else None
        made = of_two(name, x, y, dtype)
        return TruthTile(made.allocation, made.dtype, 0, made.shape, made.strides)

    doc = _OF_TWO.format(about=f"{about}: 1 where it is so, else 0.", default="theirs")
    return cast(OfTwo, _named(function, name, doc))


add = _arithmetic("add", "The sum.")
subtract = _arithmetic("subtract", "The difference ``x - y``.")
multiply = _arithmetic("multiply", "The product.")
divide = _arithmetic("divide", "The quotient ``x / y``; no chip is known to have it.")
power = _arithmetic(
    "power", "`x` to the power of `y`; of a tile and a number in simulators only."
)
maximum = _arithmetic("maximum", "The greater of the two.")
minimum = _arithmetic("minimum", "The lesser of the two.")
abs_max = _arithmetic("abs_max", "The greater magnitude; of gen4 and later.")
abs_min = _arithmetic("abs_min", "The lesser magnitude; of gen4 and later.")
mod = _arithmetic(
    "mod",
    "What is left of ``x / y``, with the sign of `y`; no chip is known to have it.",
)
fmod = _arithmetic(
    "fmod",
    "What is left of ``x / y``, with the sign of `x`; no chip is known to have it.",
)
bitwise_and = _arithmetic("bitwise_and", "Bits that both have.")
bitwise_or = _arithmetic("bitwise_or", "Bits that one of the two has.")
bitwise_xor = _arithmetic("bitwise_xor", "Bits that just one of the two has.")
left_shift = _arithmetic("left_shift", "Bits of `x`, `y` places higher.")
right_shift = _arithmetic("right_shift", "Bits of `x`, `y` places lower, behind zeros.")

equal = _truth("equal", "Whether ``x == y``")
not_equal = _truth("not_equal", "Whether ``x != y``")
less = _truth("less", "Whether ``x < y``")
less_equal = _truth("less_equal", "Whether ``x <= y``")
greater = _truth("greater", "Whether ``x > y``")
greater_equal = _truth("greater_equal", "Whether ``x >= y``")
logical_and = _truth("logical_and", "Whether neither is 0")
logical_or = _truth("logical_or", "Whether one is not 0")
logical_xor = _truth("logical_xor", "Whether just one is not 0")


# -- of one ----------------------------------------------------------------------------
_OF_ONE = """{about}

    Args:
        x: a tile.
        dtype: of the result; if None, that of `x`.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: `x` is no tile.
    """


def of_one(
    name: str, about: str, compute: Callable[[NkiTensor, DTypeRecord], NkiTensor]
) -> OfOne:
    """A function of the elements of a tile.

    Args:
        name: its own, and its operation's.
        about: what it gives, in a sentence.
        compute: makes a tile of a type of another.
    """

    def function(x: Any, dtype: Any = None) -> NkiTensor:
        tile = as_tile(x, name)
        return compute(tile, result_dtype(dtype, tile))

    return cast(OfOne, _named(function, name, _OF_ONE.format(about=about)))


def _activation(name: str, about: str) -> OfOne:
    def compute(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
        made = new_tile(tile.shape, dtype)
        activation(made, OPERATIONS[name], tile)
        return made

    return of_one(name, about, compute)


def _by_alu(name: str, about: str) -> OfOne:
    def compute(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
        made = new_tile(tile.shape, dtype)
        tensor_scalar(made, tile, OPERATIONS[name], None)
        return made

    return of_one(name, about, compute)


def _reciprocal(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    made = new_tile(tile.shape, dtype)
    isa.reciprocal(made, tile)
    return made


abs = _activation("abs", "The magnitude.")
arctan = _activation("arctan", "The arc tangent, documented from -pi/2 to pi/2.")
exp = _activation("exp", "The exponential function.")
log = _activation("log", "The natural logarithm, documented from 2^-64 to 2^64.")
rsqrt = _activation("rsqrt", "One by the square root.")
sign = _activation("sign", "-1, 0 or 1.")
sqrt = _activation("sqrt", "The square root.")
square = _activation("square", "The square.")
tanh = _activation("tanh", "The hyperbolic tangent.")
relu = _activation("relu", "What is greater than 0, else 0.")
sigmoid = _activation("sigmoid", "``1 / (1 + exp(-x))``.")
silu = _activation("silu", "``x * sigmoid(x)``.")
silu_dx = _activation("silu_dx", "The slope of ``silu``.")
gelu = _activation("gelu", "``x`` times the normal distribution function of it.")
gelu_dx = _activation("gelu_dx", "The slope of ``gelu``.")
gelu_apprx_sigmoid = _activation("gelu_apprx_sigmoid", "``x * sigmoid(1.702 * x)``.")
gelu_apprx_sigmoid_dx = _activation(
    "gelu_apprx_sigmoid_dx", "The slope of ``gelu_apprx_sigmoid``."
)
gelu_apprx_tanh = _activation("gelu_apprx_tanh", "``gelu``, by way of ``tanh``.")
mish = _activation("mish", "``x * tanh(softplus(x))``.")
softplus = _activation("softplus", "``log(1 + exp(x))``.")
erf = _activation("erf", "The error function.")
erf_dx = _activation("erf_dx", "The slope of ``erf``.")

invert = _by_alu("invert", "All bits the other way round.")
logical_not = _by_alu("logical_not", "1 where an element is 0, else 0.")


reciprocal = of_one("reciprocal", "``1 / x``, by the vector engine.", _reciprocal)


# -- operations without a function -----------------------------------------------------
prelu = OPERATIONS["prelu"]
bypass = OPERATIONS["bypass"]
average = OPERATIONS["average"]
