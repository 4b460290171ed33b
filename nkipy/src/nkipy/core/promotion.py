"""Dtype rules. NumPy is asked about its own dtypes; its answer is narrowed to what the
device has. For bfloat16 and fp8, of which NumPy knows nothing, the rule is ours.

Our rule holds where one of them is among the operands. They and the other floats alone
decide (:func:`common_float`): integers, bools, Python's scalars, and NumPy's scalars of
64 bits, such as ``np.sqrt(64)``, take the dtype that those have. A ufunc then does what
it does for float32, with that dtype in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt

#: What a value contributes: its dtype; ``int`` or ``float`` for a Python scalar, which
#: is weak (NEP 50); the class of a NumPy scalar of 64 bits, which is weak beside
#: bfloat16 and fp8.
Kind = Any

#: The floats for which NumPy has no rule.
_OURS = frozenset((dt.bfloat16, *dt.FP8))
#: The weak kind that each NumPy scalar of 64 bits has beside them.
_WEAK: dict[Any, Kind] = {np.float64: float, np.int64: int, np.uint64: int}
_SCALARS = (int, float, np.int64, np.uint64)


class Loop(NamedTuple):
    """The dtypes in which a ufunc computes: one per input, one per output."""

    inputs: tuple[np.dtype, ...]
    outputs: tuple[np.dtype, ...]


def kind_of(value: Any) -> Kind:
    """What `value` contributes to promotion.

    Raises:
        TypeError: `value` is nothing that an array operation can take.
    """
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        return type(value) if type(value) in _WEAK else dtype
    if isinstance(value, bool):
        return dt.bool_
    if isinstance(value, int):
        return int
    if isinstance(value, float):
        return float
    raise TypeError(f"Unsupported or unrecognized type: {type(value).__name__}")


# -- our rule --------------------------------------------------------------------------
def is_ours(kind: Kind) -> bool:
    """Whether `kind` is bfloat16 or fp8, whose promotion is not NumPy's."""
    return isinstance(kind, np.dtype) and kind in _OURS


def common_float(dtypes: Iterable[np.dtype]) -> np.dtype:
    """The dtype of floats of which one at least is bfloat16 or fp8, in any order.

    float32 with any is float32, and so is bfloat16 with float16; of the rest, float16
    with fp8 is float16, and different ones are bfloat16.
    """
    found = {dt.narrow(d) for d in dtypes}
    if dt.float32 in found or found >= {dt.bfloat16, dt.float16}:
        return dt.float32
    if dt.float16 in found:
        return dt.float16
    return found.pop() if len(found) == 1 else dt.bfloat16


def common_dtype(*kinds: Kind) -> np.dtype:
    """The dtype that kinds of which one is ours promote to.

    Raises:
        TypeError: one has no counterpart on the device, as complex numbers have none.
    """
    dtypes = [dt.narrow(k) for k in kinds if isinstance(k, np.dtype)]
    return common_float(d for d in dtypes if dt.is_float(d))


def as_arrays(operands: Sequence[Any]) -> list[Any]:
    """The operands of a function of NumPy's that makes arrays of all of them first.

    So its scalars count with the dtypes of arrays; but beside bfloat16 and fp8, a
    scalar is weak in every function, and becomes an array of their common dtype.
    """
    if not any(is_ours(getattr(a, "dtype", None)) for a in operands):
        return [np.asarray(a) if isinstance(a, _SCALARS) else a for a in operands]
    dtype = common_dtype(*(kind_of(a) for a in operands if a is not None))
    return [literal_if_scalar(a, dtype) for a in operands]


def literal_if_scalar(value: Any, dtype: np.dtype) -> Any:
    """A weak scalar as an array of the dtype; anything else as it is.

    Raises:
        OverflowError: it would be NaN there.
    """
    return dt.literal(value, dtype) if isinstance(value, _SCALARS) else value


def can_cast(source: np.dtype, target: np.dtype, casting: Any = "safe") -> bool:
    """``np.can_cast`` of dtypes, where bfloat16 and fp8 are floats as all others.

    Safe is what loses nothing: fp8 to bfloat16 and float16, all of them to float32,
    bool to any, int8 and uint8 to bfloat16. Of the same kind are all floats.
    """
    if source == target or not (is_ours(source) or is_ours(target)):
        return np.can_cast(source, target, casting)
    if casting == "safe":
        return _is_exact(source, target)
    if casting == "same_kind":
        return np.can_cast(_stand_in(source), _stand_in(target), casting)
    return np.can_cast(dt.int8, dt.float32, casting)  # of two dtypes that differ


def _is_exact(source: np.dtype, target: np.dtype) -> bool:
    if source == dt.bool_:
        return True
    if not is_ours(source):
        return source in (dt.int8, dt.uint8) and target == dt.bfloat16
    if target.itemsize == 2 and dt.is_float(target):
        return source in dt.FP8
    return not is_ours(target) and np.can_cast(dt.float32, target, "safe")


def _stand_in(dtype: np.dtype) -> np.dtype:
    return dt.float32 if is_ours(dtype) else dtype


# -- ufuncs ----------------------------------------------------------------------------
_loops: dict[Any, Loop] = {}


def resolve_loop(
    ufunc: np.ufunc,
    kinds: tuple[Kind, ...],
    dtype: Any = None,
    casting: str = "same_kind",
    keep_uint32: bool = False,
) -> Loop:
    """The loop that `ufunc` takes for inputs of these kinds, narrowed.

    Args:
        ufunc: the ufunc.
        kinds: of its inputs.
        dtype: that of the results, if one was asked for.
        casting: which casts are allowed.
        keep_uint32: whether a uint32 that NumPy takes to int64 remains one. In int32,
            which int64 is narrowed to, a large one would be negative.

    Raises:
        TypeError: NumPy has no such loop, or its dtypes have no counterpart.
    """
    key = (ufunc, kinds, dtype, casting, keep_uint32)
    found = _loops.get(key)
    if found is None:
        found = _loops[key] = _resolve(ufunc, kinds, dtype, casting, keep_uint32)
    return found


def _resolve(
    ufunc: np.ufunc,
    kinds: tuple[Kind, ...],
    dtype: Any,
    casting: str,
    keep_uint32: bool,
) -> Loop:
    wanted = None if dtype is None else dt.as_dtype(dtype)
    if is_ours(wanted) or any(map(is_ours, kinds)):
        return _resolve_ours(ufunc, kinds, wanted, casting, keep_uint32)
    if all(isinstance(k, type) for k in kinds):  # scalars only
        kinds = tuple(np.dtype(k) for k in kinds)
    kinds = tuple(np.dtype(k) if k in _WEAK else k for k in kinds)
    resolved = _ask(ufunc, kinds, wanted, casting)
    narrowed = [dt.narrow(d) for d in resolved]
    if keep_uint32:
        _keep_uint32(narrowed, kinds, wanted)
    return Loop(tuple(narrowed[: ufunc.nin]), tuple(narrowed[ufunc.nin :]))


def _keep_uint32(
    narrowed: list[np.dtype], kinds: Sequence[Kind], wanted: np.dtype | None
) -> None:
    """Let each input that is a uint32 remain one, unless int32 was asked for."""
    for i, kind in enumerate(kinds):
        if kind == dt.uint32 and narrowed[i] == dt.int32 != wanted:
            narrowed[i] = dt.uint32


def _ask(
    ufunc: np.ufunc, kinds: tuple[Kind, ...], dtype: np.dtype | None, casting: str
) -> tuple[np.dtype, ...]:
    """NumPy's loop. Raises TypeError if it has none."""
    options: dict[str, Any] = {"casting": casting}
    if dtype is not None:
        options["signature"] = (None,) * ufunc.nin + (dtype,) * ufunc.nout
    return ufunc.resolve_dtypes(kinds + (None,) * ufunc.nout, **options)


def _resolve_ours(
    ufunc: np.ufunc,
    kinds: tuple[Kind, ...],
    dtype: np.dtype | None,
    casting: str,
    keep_uint32: bool,
) -> Loop:
    """The loop that `ufunc` has for float32, with the common dtype for all its floats.

    That is so for float64 too, which np.float_power has for whatever it is given.
    """
    given = dtype is not None and dt.is_float(dtype)
    common = dt.narrow(dtype) if given else common_dtype(*kinds)
    stand_in = None if dtype is None else _stand_in(dtype)
    resolved = _ask(ufunc, tuple(map(_beside_float32, kinds)), stand_in, casting)
    found = [common if dt.is_float(d) else dt.narrow(d) for d in resolved]
    if keep_uint32:
        _keep_uint32(found, kinds, dtype)
    loop = Loop(tuple(found[: ufunc.nin]), tuple(found[ufunc.nin :]))
    if dtype is not None or casting in ("no", "equiv"):
        _check_inputs(ufunc, kinds, loop.inputs, casting)
    return loop


def _beside_float32(kind: Kind) -> Kind:
    """`kind` as one with which float32 is float32, by NumPy's rule."""
    if not isinstance(kind, np.dtype):
        return _WEAK.get(kind, kind)
    if dt.is_float(kind):
        return dt.float32
    return int if dt.is_integer(kind) else kind


def _check_inputs(
    ufunc: np.ufunc, kinds: Sequence[Kind], inputs: Sequence[np.dtype], casting: str
) -> None:
    for kind, dtype in zip(kinds, inputs):
        if isinstance(kind, np.dtype) and not can_cast(kind, dtype, casting):
            raise TypeError(
                f"Cannot cast ufunc '{ufunc.__name__}' input from {kind.name} to "
                f"{dtype.name} with casting rule '{casting}'"
            )


def result_type(*values: Any) -> np.dtype:
    """``np.result_type`` of tensors, arrays, dtypes and Python scalars, narrowed.

    Raises:
        TypeError: there is no common dtype, or it has no counterpart.
    """
    kinds = [_as_kind(v) for v in values]
    if any(map(is_ours, kinds)):
        return common_dtype(*kinds)
    return dt.narrow(np.result_type(*(_for_numpy(v) for v in values)))


def _as_kind(value: Any) -> Kind:
    """The kind of a value, or of what names a dtype."""
    if isinstance(value, (type, str, np.dtype)):
        return np.dtype(value)
    return kind_of(value)


def float64_type(*values: Any) -> np.dtype:
    """The dtype of what NumPy computes in float64 whatever it is given, narrowed.

    Beside bfloat16 and fp8 it is their common dtype, as that of any float.

    Raises:
        TypeError: there is no common dtype, or it has no counterpart.
    """
    kinds = [_as_kind(v) for v in values]
    if any(map(is_ours, kinds)):
        return common_dtype(*kinds)
    return dt.narrow(np.result_type(*(_for_numpy(v) for v in values), np.float64))


def _for_numpy(value: Any) -> Any:
    dtype = getattr(value, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else value


def scalar_dtype(value: Any) -> np.dtype:
    """The dtype of a scalar that meets no array: bool, int32, float32, or its own.

    Raises:
        TypeError: not a scalar that can be traced.
    """
    if isinstance(value, np.generic):
        return dt.narrow(value.dtype)
    for kind, dtype in ((bool, dt.bool_), (int, dt.int32), (float, dt.float32)):
        if isinstance(value, kind):
            return dtype
    raise TypeError(f"Unsupported or unrecognized type: {type(value).__name__}")
