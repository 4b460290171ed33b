"""Registers of the sequencers, as a kernel has them.

What a register holds is known when the program runs, not when it is made: a kernel
cannot branch on it, only give it to what takes registers.
"""

from __future__ import annotations

from typing import Any, NoReturn

from nkipy_nki.emitting import emit
from nkipy_nki.program import Register
from nkipy_nki.records import INSTRUCTIONS
from nkipy_nki.running import current, invalid, kernel_line

__all__ = ["BITS", "NkiScalar", "VirtualRegister", "new_register"]

#: By the type of a register, how many it has.
BITS = {"int32": 32, "int64": 64}

_WAYS_OUT = (
    "its value is known when the program runs, not when it is made: use nl.fori_loop "
    "or nl.while_loop for loops, and the register itself as an index (nl.ds(register, "
    "size)) or a scalar_offset"
)


class VirtualRegister:
    """A register of 32 bits.

    Attributes:
        register: what the program calls it.
    """

    __slots__ = ("register",)

    def __init__(self, register: Register) -> None:
        self.register = register

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.register.id}>"

    def _refuse(self, what: str) -> NoReturn:
        text = f"{what} of a register, {self!r}, cannot be: {_WAYS_OUT}"
        raise TypeError(f"{text}\n  at {kernel_line()}")

    def __bool__(self) -> bool:
        self._refuse("the truth")

    def __int__(self) -> int:
        self._refuse("int()")

    def __index__(self) -> int:
        self._refuse("range() or an index of Python's")

    def __float__(self) -> float:
        self._refuse("float()")


def _refusal(method: str) -> Any:
    def refuse(self: VirtualRegister, *others: Any) -> NoReturn:
        self._refuse(f"{method}, which a scalar of nisa.scalar_load has,")

    refuse.__name__ = method
    return refuse


for _name in ("add", "sub", "mul", "floordiv", "mod", "truediv"):
    setattr(VirtualRegister, f"__{_name}__", _refusal(f"__{_name}__"))
    setattr(VirtualRegister, f"__r{_name}__", _refusal(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos"):
    setattr(VirtualRegister, f"__{_name}__", _refusal(f"__{_name}__"))
VirtualRegister.__hash__ = object.__hash__  # type: ignore[method-assign]


class NkiScalar(VirtualRegister):
    """A whole number of 32 or 64 bits that wraps; arithmetic makes instructions.

    The other operand is an int, or a scalar of as many bits. Scalars of 64 bits are
    added, subtracted and multiplied only. Scalars can be compared, but what comes of it
    cannot be used.
    """

    __slots__ = ()

    @property
    def dtype(self) -> str:
        """``"int32"`` or ``"int64"``."""
        return self.register.dtype

    def __add__(self, other: Any) -> NkiScalar:
        return _computed("add", self, other)

    def __radd__(self, other: Any) -> NkiScalar:
        return _computed("add", other, self)

    def __sub__(self, other: Any) -> NkiScalar:
        return _computed("subtract", self, other)

    def __rsub__(self, other: Any) -> NkiScalar:
        return _computed("subtract", other, self)

    def __mul__(self, other: Any) -> NkiScalar:
        return _computed("multiply", self, other)

    def __rmul__(self, other: Any) -> NkiScalar:
        return _computed("multiply", other, self)

    def __floordiv__(self, other: Any) -> NkiScalar:
        return _computed("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> NkiScalar:
        return _computed("floor_divide", other, self)

    def __mod__(self, other: Any) -> NkiScalar:
        return _computed("mod", self, other)

    def __rmod__(self, other: Any) -> NkiScalar:
        return _computed("mod", other, self)

    def __neg__(self) -> NkiScalar:
        return _computed("subtract", 0, self)

    def __pos__(self) -> NkiScalar:
        return _computed("add", self, 0)

    def __lt__(self, other: Any) -> NkiScalar:
        return _compared("less", self, other)

    def __le__(self, other: Any) -> NkiScalar:
        return _compared("less_equal", self, other)

    def __gt__(self, other: Any) -> NkiScalar:
        return _compared("greater", self, other)

    def __ge__(self, other: Any) -> NkiScalar:
        return _compared("greater_equal", self, other)

    def __eq__(self, other: object) -> Any:
        return _compared("equal", self, other)

    def __ne__(self, other: object) -> Any:
        return _compared("not_equal", self, other)

    __hash__ = None  # type: ignore[assignment]


def new_register(kind: type[VirtualRegister], dtype: str = "int32") -> Any:
    """A new register of the current run."""
    return kind(current("a register").register(dtype))


class _Comparison(NkiScalar):
    """What comes of a comparison, which nothing takes."""

    __slots__ = ()

    @property
    def register(self) -> Register:  # type: ignore[override]
        """Nothing can be told to read it."""
        raise invalid(
            "the result of a comparison of scalars cannot be used, as the compiler "
            "does not support it: compute a condition in a tile, and load it with "
            "register_load"
        )

    def __init__(self) -> None:
        pass

    def __repr__(self) -> str:
        return "<a comparison of scalars>"


def _computed(op: str, left: Any, right: Any) -> NkiScalar:
    """A new scalar, with what an instruction computes of two.

    Raises:
        NkiValidationError: an operand is neither a scalar nor an int, both differ in
            their bits, or there is no such operation on 64 bits.
    """
    dtype = _common_dtype(op, left, right)
    result: NkiScalar = new_register(NkiScalar, dtype)
    _emit_scalar_op(op, result.register, left, right)
    return result


def _compared(op: str, left: Any, right: Any) -> NkiScalar:
    """What cannot be used; the comparison itself is an instruction."""
    dtype = _common_dtype(op, left, right)
    result = current("a comparison of scalars").register(dtype)
    _emit_scalar_op(op, result, left, right)
    return _Comparison()


def _emit_scalar_op(op: str, result: Register, left: Any, right: Any) -> None:
    operands = {"dst": result, "left": left, "right": right}
    emit(INSTRUCTIONS["scalar_op"], operands, {"op": op}, None)


def _common_dtype(op: str, left: Any, right: Any) -> str:
    """The type of two operands of which at least one is a scalar."""
    for operand in (left, right):
        if isinstance(operand, bool) or not isinstance(operand, (int, NkiScalar)):
            raise invalid(
                f"arithmetic of a scalar takes another or an int, not {operand!r}"
            )
    dtypes = sorted({o.register.dtype for o in (left, right) if not isinstance(o, int)})
    if len(dtypes) > 1:
        raise invalid(
            f"{op} of an int32 and an int64 scalar: load both from tiles of one type"
        )
    (dtype,) = dtypes
    if dtype == "int64" and op not in ("add", "subtract", "multiply"):
        raise invalid(
            f"{op} of int64 scalars: those are added, subtracted and multiplied only"
        )
    bits = BITS[dtype]
    for operand in (left, right):
        if isinstance(operand, int) and not -(1 << bits - 1) <= operand < 1 << bits - 1:
            raise invalid(f"{op}: {operand} does not fit in an {dtype}")
    return dtype
