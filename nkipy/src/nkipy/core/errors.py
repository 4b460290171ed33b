"""What tracing raises: one family, each class also a builtin that callers expect.

The text of an error names the op, the reason, what the op received, and the line of
the user's program.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from nkipy.core.dtypes import HLO_NAMES
from nkipy.core.roles import role_of_frame
from nkipy.hlo.array_classes import other_meaning
from nkipy.hlo.ir import SourceLocation
from nkipy.hlo.notebook import hide_frames


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame runs what is not the user's code."""
    return bool(role_of_frame(frame))


class NKIPyError(Exception):
    """Base of all errors that nkipy raises on its own account.

    Attributes:
        reason: what is wrong, in one sentence.
        op: name of the op that refused, or None.
        received: shapes and dtypes of the op's arguments, as text.
        location: the user's source line, or None.
    """

    def __init__(
        self,
        reason: str,
        *,
        op: str | None = None,
        received: str = "",
        location: SourceLocation | None = None,
    ) -> None:
        self.reason = reason
        self.op = op
        self.received = received
        self.location = location
        super().__init__(reason)
        hide_frames(NKIPyError, _is_ours)

    def __str__(self) -> str:
        text = f"[{self.op}] {self.reason}" if self.op else self.reason
        if self.received:
            text += f"\n  received: {self.received}"
        if self.location is not None:
            text += f"\n  at {self.location}"
        return text


class NKIPyTypeError(NKIPyError, TypeError):
    """A dtype, or the kind of an argument, that an op cannot take."""


class NKIPyValueError(NKIPyError, ValueError):
    """An argument of the right kind with an unacceptable value, shapes included."""


class NKIPyIndexError(NKIPyError, IndexError):
    """An index out of range, or too many of them."""


class NKIPyAxisError(NKIPyError, np.exceptions.AxisError):
    """An axis out of range or given twice."""


class NKIPyOverflowError(NKIPyError, OverflowError):
    """A constant that does not fit its dtype."""


class NKIPyZeroDivisionError(NKIPyError, ZeroDivisionError):
    """A division by something that is known to be zero, where NumPy raises."""


class NKIPyNotImplementedError(NKIPyError, NotImplementedError):
    """Something of NumPy's that has no lowering; the text names the alternative."""


class NKIPyAttributeError(NKIPyNotImplementedError, AttributeError):
    """An attribute that ndarrays have, and traced arrays do not: hasattr says so."""


class ConcretizationError(NKIPyError, TypeError):
    """A traced value was used where Python needs its value, which is not known yet."""


class LeakedTracerError(NKIPyError, RuntimeError):
    """A traced value was used outside the trace that made it."""


_FAMILY: tuple[tuple[type[Exception], Callable[..., NKIPyError]], ...] = (
    (np.exceptions.AxisError, NKIPyAxisError),
    (IndexError, NKIPyIndexError),
    (OverflowError, NKIPyOverflowError),
    (ZeroDivisionError, NKIPyZeroDivisionError),
    (NotImplementedError, NKIPyNotImplementedError),
    (TypeError, NKIPyTypeError),
    (ValueError, NKIPyValueError),
)
#: Builtin errors that a lowering raises for a user's mistake.
USER_ERRORS = tuple(builtin for builtin, _ in _FAMILY)


def describe_op_error(
    error: Exception, op: str, received: str, location: SourceLocation | None
) -> NKIPyError:
    """The member of the family for `error`, raised while `op` was applied."""
    if isinstance(error, NKIPyError):
        kind: Callable[..., NKIPyError] = type(error)
        location = error.location or location
    else:
        kind = next(ours for builtin, ours in _FAMILY if isinstance(error, builtin))
    reason = error.reason if isinstance(error, NKIPyError) else str(error)
    return kind(reason, op=op, received=received, location=location)


def describe_value(value: Any) -> str:
    """A short text for an argument: ``float32[2,3]`` for arrays, else its repr."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and isinstance(dtype, np.dtype):
        if shape or not isinstance(value, np.generic):
            name = dtype.name if dtype in HLO_NAMES else str(dtype)
            return f"{name}[{','.join(map(str, shape))}]"
    if isinstance(value, (list, tuple)) and any(hasattr(v, "dtype") for v in value):
        inner = ", ".join(describe_value(v) for v in value[:8])
        return f"({inner}{', ...' if len(value) > 8 else ''})"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def describe_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments of a call, as text."""
    parts = [describe_value(a) for a in args]
    parts += [f"{k}={describe_value(v)}" for k, v in kwargs.items()]
    return ", ".join(parts)


def refuse_other_meaning(array: Any, what: str) -> None:
    """Refuse an array of a class that computes otherwise than an ndarray does.

    Raises:
        NKIPyTypeError: it is a matrix, a masked array, or of a class that overrides
            what ndarrays do.
    """
    problem = other_meaning(array)
    if problem is not None:
        raise NKIPyTypeError(f"{what} {problem}")
