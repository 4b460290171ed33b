"""Operators and methods of traced tensors that are ops of the registry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

from nkipy.core.backend._source import caller_location
from nkipy.core.errors import NKIPyNotImplementedError, NKIPyTypeError, describe_call
from nkipy.core.op_table import OPS

NO_KEYWORDS: dict[str, Any] = {}  # never written


_Method = Callable[..., Any]


# -- operators -------------------------------------------------------------------------
def _forward(op: str) -> _Method:
    return lambda self, other: OPS[op].called((self, other), NO_KEYWORDS)


def _reflected(op: str) -> _Method:
    return lambda self, other: OPS[op].called((other, self), NO_KEYWORDS)


def _in_place(op: str) -> _Method:
    def apply(self: Any, other: Any) -> Any:
        if self._value.shape or self._is_zero_d_array():
            return OPS[op](self, other, out=self)
        return OPS[op](self, other)

    return apply


def _binary(op: str) -> tuple[_Method, _Method, _Method]:
    """The operator, its reflection, and the one that assigns."""
    return _forward(op), _reflected(op), _in_place(op)


def _unary(op: str) -> _Method:
    return lambda self: OPS[op].called((self,), NO_KEYWORDS)


class TensorArithmeticMixin:
    """Python's operators, each of which is an op of the registry, as in NumPy."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as ndarray's: == is element-wise

    __add__, __radd__, __iadd__ = _binary("add")
    __sub__, __rsub__, __isub__ = _binary("subtract")
    __mul__, __rmul__, __imul__ = _binary("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _binary("divide")
    __floordiv__, __rfloordiv__, __ifloordiv__ = _binary("floor_divide")
    __mod__, __rmod__, __imod__ = _binary("remainder")
    __matmul__, __rmatmul__, __imatmul__ = _binary("matmul")
    __and__, __rand__, __iand__ = _binary("bitwise_and")
    __or__, __ror__, __ior__ = _binary("bitwise_or")
    __xor__, __rxor__, __ixor__ = _binary("bitwise_xor")
    __lshift__, __rlshift__, __ilshift__ = _binary("left_shift")
    __rshift__, __rrshift__, __irshift__ = _binary("right_shift")
    _power, __rpow__, __ipow__ = _binary("power")
    __divmod__, __rdivmod__ = _forward("divmod"), _reflected("divmod")

    __eq__, __ne__ = _forward("equal"), _forward("not_equal")
    __lt__, __le__ = _forward("less"), _forward("less_equal")
    __gt__, __ge__ = _forward("greater"), _forward("greater_equal")

    __neg__, __pos__ = _unary("negative"), _unary("positive")
    __abs__, __invert__ = _unary("abs"), _unary("invert")

    def __pow__(self: Any, other: Any) -> Any:
        # NumPy's ** 2 is a square, whose dtype for bool is not that of a power.
        if type(other) is int and other == 2 and self.dtype.kind == "b":
            return OPS["square"].called((self,), NO_KEYWORDS)
        return self._power(other)


# -- methods ---------------------------------------------------------------------------
#: Methods of ndarray that are the function of the same name, and its other names.
_METHODS = (
    "all any argmax argmin argpartition argsort choose clip cumprod cumsum diagonal "
    "dot flatten max mean min prod ptp put ravel repeat round searchsorted "
    "squeeze std sum swapaxes take trace var view nonzero conjugate"
).split()
_METHOD_OPS = {"round": "round", "conjugate": "conj"}


def _method(name: str, op: str) -> _Method:
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        found = OPS.get(op)
        if found is None:
            return not_implemented(f"ndarray.{name}", (self, *args), kwargs)
        return found.called((self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As ``numpy.ndarray.{name}``."
    return method


class TensorMethodsMixin:
    """Methods of ndarray that are ops of the registry: those of `_METHODS`."""

    __slots__ = ()


for _name in (*_METHODS, "conj"):
    setattr(TensorMethodsMixin, _name, _method(_name, _METHOD_OPS.get(_name, _name)))

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


def described(name: str, method: _Method) -> _Method:
    """`method`, whose arguments that do not fit are an error as of an op."""

    @functools.wraps(method)
    def called(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # raised inside of it
                raise
            reason = str(error).replace(method.__qualname__, name, 1)
            received = describe_call((self, *args), kwargs)
            raise NKIPyTypeError(
                reason, op=name, received=received, location=caller_location()
            ) from error

    return called


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
