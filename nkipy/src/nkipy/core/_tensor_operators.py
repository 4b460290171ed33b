"""Operators and methods of traced tensors that are ops of the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from nkipy.core.backend._source import caller_location
from nkipy.core.errors import NKIPyNotImplementedError, describe_call
from nkipy.core.op_table import OPS

NO_KEYWORDS: dict[str, Any] = {}  # never written


class Operators:
    """What :class:`~nkipy.core.tensor.NKIPyTensorRef` has of the tables below."""

    __slots__ = ()


_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "divmod": "divmod",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "invert"}
#: Methods of ndarray that are the function of the same name, and its other names.
_METHODS = (
    "all any argmax argmin argpartition argsort choose clip cumprod cumsum diagonal "
    "dot flatten max mean min prod ptp put ravel repeat round searchsorted "
    "squeeze std sum swapaxes take trace var view nonzero conjugate"
).split()
_METHOD_OPS = {"round": "round", "conjugate": "positive", "conj": "positive"}


def _forward(op: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: OPS[op].called((self, other), NO_KEYWORDS)


def _reflected(op: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: OPS[op].called((other, self), NO_KEYWORDS)


def _power(self: Any, other: Any) -> Any:
    # NumPy's ** 2 is a square, whose dtype for bool is not that of a power.
    if type(other) is int and other == 2 and self.dtype.kind == "b":
        return OPS["square"].called((self,), NO_KEYWORDS)
    return OPS["power"].called((self, other), NO_KEYWORDS)


def _in_place(op: str) -> Callable[[Any, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        if self._value.shape or self._is_zero_d_array():
            return OPS[op](self, other, out=self)
        return OPS[op](self, other)

    return apply


def _unary(op: str) -> Callable[[Any], Any]:
    return lambda self: OPS[op].called((self,), NO_KEYWORDS)


def _method(name: str, op: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = OPS.get(op)
        if found is None:
            return not_implemented(f"ndarray.{name}", (self, *args), kwargs)
        return found.called((self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As ``numpy.ndarray.{name}``."
    return method


def _install_operators() -> None:
    for name, op in _OPERATORS.items():
        setattr(Operators, f"__{name}__", _forward(op))
        setattr(Operators, f"__r{name}__", _reflected(op))
        if name != "divmod":
            setattr(Operators, f"__i{name}__", _in_place(op))
    for name, op in _COMPARISONS.items():
        setattr(Operators, f"__{name}__", _forward(op))
    for name, op in _UNARY.items():
        setattr(Operators, f"__{name}__", _unary(op))
    for name in (*_METHODS, "conj"):
        setattr(Operators, name, _method(name, _METHOD_OPS.get(name, name)))
    setattr(Operators, "__pow__", _power)  # noqa: B010 - as the others
    # Defining __eq__ after the class body leaves __hash__ alone; keep it explicit.
    Operators.__hash__ = None  # type: ignore[assignment]


_install_operators()

#: What to use instead of functions whose result's shape depends on values.
_ALTERNATIVES = {
    "nonzero": "its shape depends on values; use a boolean mask with np.where(c, x, y)",
    "flatnonzero": "its shape depends on values; use a mask with np.where(c, x, y)",
    "argwhere": "its shape depends on values; use a mask with np.where(c, x, y)",
    "unique": "its shape depends on values; np.sort keeps a static shape",
    "unique_values": "its shape depends on values; np.sort keeps a static shape",
    "compress": "its shape depends on values; use np.where(c, x, y)",
    "extract": "its shape depends on values; use np.where(c, x, y)",
    "trim_zeros": "its shape depends on values",
    "bincount": "pass minlength through np.sum(x == np.arange(n)[:, None], axis=1)",
    "union1d": "its shape depends on values",
    "intersect1d": "its shape depends on values",
    "setdiff1d": "its shape depends on values",
}


def not_implemented(name: str, args: Any, kwargs: dict[str, Any]) -> NoReturn:
    short = name.rpartition(".")[2]
    hint = _ALTERNATIVES.get(short)
    text = f"NumPy function '{name}' has not been implemented in NKIPy."
    raise NKIPyNotImplementedError(
        f"{text} {hint[0].upper() + hint[1:]}." if hint else text,
        op=short,
        received=describe_call(args, kwargs),
        location=caller_location(),
    )
