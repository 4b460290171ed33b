"""NumPy with nkipy's rule for bfloat16 and fp8: what a kernel should give there.

NumPy has no rule for them, and what it does with ml_dtypes' types differs from one
function to the next. Here a function of NumPy's that receives one of them computes in
float32, and its floats are rounded once, to the dtype that the guide's table gives. The
table is written down again, and nothing of it is taken from the tracer, so that the two
can be compared.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.core.tree import map_tree

__all__ = ["following_table", "table_dtype"]

_BF16, _F16, _F32 = (np.dtype(d) for d in (ml_dtypes.bfloat16, np.float16, np.float32))
_E4M3, _E4M3FN, _E5M2 = (
    np.dtype(d)
    for d in (ml_dtypes.float8_e4m3, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
_OURS = {_BF16, _E4M3, _E4M3FN, _E5M2}
#: What two different floats give, of which one is ours.
_TABLE = {
    **{frozenset((d, _F32)): _F32 for d in _OURS},
    frozenset((_BF16, _F16)): _F32,
    frozenset((_E4M3, _BF16)): _BF16,
    frozenset((_E4M3FN, _BF16)): _BF16,
    frozenset((_E5M2, _BF16)): _BF16,
    frozenset((_E4M3, _F16)): _F16,
    frozenset((_E4M3FN, _F16)): _F16,
    frozenset((_E5M2, _F16)): _F16,
    frozenset((_E4M3, _E4M3FN)): _BF16,
    frozenset((_E4M3, _E5M2)): _BF16,
    frozenset((_E4M3FN, _E5M2)): _BF16,
}
_WEAK = (bool, int, float, np.float64, np.int64, np.uint64)


def table_dtype(*operands: Any) -> np.dtype:
    """The dtype of a float that is computed of these, of which one is bfloat16 or fp8.

    Args:
        operands: arrays and scalars, or dtypes.
    """
    floats = set(_floats(operands))
    if {_F32, np.dtype(np.float64)} & floats:
        return _F32
    if len(floats) > 2:  # bfloat16 with float16 decides, else whichever there is
        floats = floats & {_BF16, _F16} or {_BF16}
    return floats.pop() if len(floats) == 1 else _TABLE[frozenset(floats)]


def _floats(operands: Iterable[Any]) -> Iterator[np.dtype]:
    for operand in operands:
        dtype = operand if isinstance(operand, np.dtype) else _dtype_of(operand)
        if dtype is not None and (dtype in _OURS or dtype.kind == "f"):
            yield dtype


def _dtype_of(value: Any) -> np.dtype | None:
    """The dtype that a value counts with; None of a scalar that is weak."""
    return None if isinstance(value, _WEAK) else getattr(value, "dtype", None)


def following_table(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, a kernel or a function of NumPy's, with the rule of nkipy's guide.

    Its array arguments, also those in lists, tuples, dicts and dataclasses, are arrays
    for which the rule holds, and so is whatever is computed of them, or made of their
    elements. An array that the function makes of nothing, or one that it captures, is
    NumPy's own, until it meets one of those. What it returns are NumPy's arrays.
    """

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = map_tree(_wrapped, (args, kwargs))
        with _making:
            return map_tree(_unwrapped, function(*args, **kwargs))

    return called


def involves_table(tree: Any) -> bool:
    """Whether an array in `tree`, or a dtype, is bfloat16 or fp8."""
    return any(_given(leaf) in _OURS or _is_ours(leaf) for leaf in _leaves(tree))


def _wrapped(path: Any, leaf: Any) -> Any:
    return leaf.view(_Array) if type(leaf) is np.ndarray else leaf


def _unwrapped(path: Any, leaf: Any) -> Any:
    return leaf.view(np.ndarray) if isinstance(leaf, _Array) else leaf


# -- calls of NumPy's functions --------------------------------------------------------
def _is_ours(value: Any) -> bool:
    return getattr(value, "dtype", None) in _OURS and not isinstance(value, type)


def _given(value: Any) -> np.dtype | None:
    """The dtype that `value` names, if it names one."""
    if isinstance(value, np.dtype):
        return value
    if isinstance(value, type) and issubclass(value, np.generic):
        return np.dtype(value)
    return None


def _operands_in(tree: Any) -> Iterator[Any]:
    """The leaves of `tree`; a list of nothing but numbers is an array."""
    leaves = list(_leaves(tree))
    if isinstance(tree, (list, tuple)) and leaves:
        if all(isinstance(leaf, (int, float)) for leaf in leaves):
            yield np.asarray(leaves)
            return
        for child in tree:
            yield from _operands_in(child)
    elif isinstance(tree, dict):
        for child in tree.values():
            yield from _operands_in(child)
    else:
        yield from leaves


def _leaves(tree: Any) -> Iterator[Any]:
    found: list[Any] = []
    map_tree(lambda path, leaf: found.append(leaf), tree)
    return iter(found)


#: Parameters that are no operands: the result has the dtype that it has without them.
_APART = frozenset(
    "initial ddof correction ord to_begin to_end left right fweights aweights "
    "constant_values end_values".split()
)
#: The same, of these functions only: elsewhere what is called so is an operand.
_APART_OF: dict[Any, frozenset[str]] = {
    np.gradient: frozenset(("varargs",)),
    np.interp: frozenset(("period",)),
    np.nanvar: frozenset(("mean",)),
    np.nanstd: frozenset(("mean",)),
}
#: Lists of operands, which are one by one what they are: not an array.
_LISTS = ("choicelist", "choices")


def _counting(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    """The operands among the arguments of a call."""
    try:
        given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
        given.update(given.pop("kwargs", {}))  # those of a method of a ufunc
    except (TypeError, ValueError):  # NumPy does not say
        given = {**{str(i): arg for i, arg in enumerate(args)}, **kwargs}
    apart = _APART | _APART_OF.get(function, frozenset())
    found: list[Any] = []
    for name, value in given.items():
        for part in value if name in _LISTS else (value,):
            found += _operands_in(part) if name not in apart else ()
    return found


def _plain(tree: Any) -> Any:
    return map_tree(_unwrapped, tree)


def _wide(tree: Any) -> Any:
    """`tree` with float32 in place of narrower floats: arrays, and dtypes of ours."""

    def widen(path: Any, leaf: Any) -> Any:
        if _given(leaf) in _OURS:
            return _F32
        is_half = isinstance(leaf, np.ndarray) and leaf.dtype == _F16
        return leaf.astype(_F32) if _is_ours(leaf) or is_half else leaf

    return map_tree(widen, _plain(tree))


def _decided(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> np.dtype | None:
    """The dtype of the floats that a call gives; None if it is NumPy's to decide."""
    if not involves_table((args, kwargs)):
        return None
    named = [kwargs["dtype"]] if isinstance(kwargs.get("dtype"), str) else []
    named += [d for d in map(_given, _leaves((args, kwargs))) if d is not None]
    if named:
        return np.dtype(named[0])
    operands = _counting(function, args, kwargs)
    return table_dtype(*operands) if any(_floats(operands)) else _F32


def _evaluate(
    function: Callable[..., Any], args: Any, kwargs: dict[str, Any], dtype: Any
) -> Any:
    """``function(*args, **kwargs)``, its floats rounded once to the dtype, if any."""
    if dtype is None:
        return map_tree(_made, function(*_plain(args), **_plain(kwargs)))
    with np.errstate(all="ignore"):
        result = function(*_wide(args), **_wide(kwargs))
        return map_tree(lambda path, leaf: _rounded(leaf, dtype), result)


def _without_out(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """The arguments, and apart from them the array that the result is to be in."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # NumPy does not say
        parameters = []
    found = [
        i
        for i, p in enumerate(parameters)
        if p.name == "out" and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    place = found[0] if found else len(args)
    if place < len(args):
        return (*args[:place], None, *args[place + 1 :]), kwargs, args[place]
    return args, kwargs, kwargs.pop("out", None)


def _rounded(value: Any, dtype: np.dtype) -> Any:
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    is_float = value.dtype.kind == "f" and (dtype in _OURS or dtype.kind == "f")
    return _made((), value.astype(dtype) if is_float else value)


def _scalar(value: np.generic) -> Any:
    """A scalar that NumPy makes of arrays, as a 0-d array, which has no rules apart.

    Those of ml_dtypes' have, and one of 64 bits would be weak.
    """
    return np.array(value).view(_Scalar)


def _made(path: Any, leaf: Any) -> Any:
    return _scalar(leaf) if isinstance(leaf, np.generic) else _wrapped(path, leaf)


def _require_cast(ufunc: np.ufunc, result: Any, out: Any, casting: Any) -> None:
    """Check that `out` can take the result, as NumPy's own ufuncs do.

    Among floats each cast is of the same kind.
    """
    for value, array in zip(result if isinstance(result, tuple) else (result,), out):
        given, kept = (_F32 if _is_ours(x) else x.dtype for x in (value, array))
        if not np.can_cast(given, kept, casting):
            raise TypeError(
                f"Cannot cast ufunc {ufunc.__name__!r} output from {value.dtype} to "
                f"{array.dtype} with casting rule {casting!r}"
            )


def _stored(result: Any, out: Any) -> Any:
    for value, array in zip(
        *((x if isinstance(x, tuple) else (x,)) for x in (result, out))
    ):
        if isinstance(array, _Scalar):
            raise TypeError("return arrays must be of ArrayType, but received a scalar")
        np.copyto(array.view(np.ndarray), _plain(value), casting="unsafe")
    return out[0] if isinstance(out, tuple) and len(out) == 1 else out


def _operands(
    ufunc: np.ufunc, inputs: tuple[Any, ...], dtype: np.dtype
) -> tuple[Any, ...]:
    """The operands of an element-wise ufunc in float32, with the values of `dtype`.

    Comparisons take arrays as they are: they are exact.
    """
    exact = ufunc.types[-1].endswith("?")
    dtype = dtype if dtype in _OURS or dtype.kind == "f" else _F32

    def convert(value: Any) -> Any:
        array = np.asarray(value)
        as_it_is = array.dtype.kind == "b" or (exact and not isinstance(value, _WEAK))
        if as_it_is or (ufunc is np.ldexp and array.dtype.kind in "iu"):
            return value
        return array.astype(dtype).astype(_F32)

    with np.errstate(all="ignore"):
        return tuple(map(convert, _plain(inputs)))


def _at(ufunc: np.ufunc, a: Any, indices: Any, *values: Any) -> None:
    wide = _wide(a)
    dtype = _decided(ufunc, (a, *values), {})
    if dtype is not None:
        values = _operands(ufunc, values, dtype)
    ufunc.at(wide, _plain(indices), *_plain(values))
    a.view(np.ndarray)[...] = wide.astype(a.dtype)


def _is_view_of_one(operands: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether einsum sums nothing of these, nor converts: then it gives a view."""
    operands = _wide(operands)
    arrays = [x for x in operands if isinstance(x, np.ndarray)]
    if len(arrays) != 1 or options.get("dtype") is not None:
        return False
    with np.errstate(all="ignore"):
        return np.may_share_memory(np.einsum(*operands, **options), arrays[0])


def _nan_to_num(
    x: Any,
    copy: bool = True,
    nan: Any = 0.0,
    posinf: Any = None,
    neginf: Any = None,
) -> Any:
    """NumPy's, which leaves our dtypes as they are; the extremes are those of `x`'s."""
    limits = ml_dtypes.finfo(x.dtype)
    posinf = float(limits.max) if posinf is None else posinf
    neginf = float(limits.min) if neginf is None else neginf
    replaced = np.nan_to_num(_wide(x), True, nan, posinf, neginf)
    result = _rounded(replaced, x.dtype)
    return result if copy else _stored(result, x)


def _piecewise(
    x: Any, condlist: Any, funclist: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """NumPy's, whose functions follow the table; what they give is cast to `x`'s."""

    def following(function: Any) -> Any:
        if not callable(function):
            return _plain(function)
        return lambda part, *a, **k: _plain(function(_wrapped((), part), *a, **k))

    functions = [following(f) for f in funclist]
    made = np.piecewise(_plain(x), _plain(condlist), functions, *args, **kwargs)
    return _wrapped((), made)


def _loses_nothing(source: np.dtype, target: np.dtype) -> bool:
    """Whether a cast of which one dtype is ours is safe, by the guide."""
    if target == source or target in (_F32, np.dtype(np.float64)):
        return source in _OURS
    if source in (_E4M3, _E4M3FN, _E5M2):
        return target in (_BF16, _F16)
    if source in (np.dtype(np.int8), np.dtype(np.uint8)):
        return target == _BF16
    return source == np.dtype(bool)


def _put_by_mask(function: Callable[..., Any], a: Any, mask: Any, values: Any) -> None:
    """NumPy's putmask or place, which cast arrays only safely, but any scalar."""
    given = values if isinstance(values, np.generic) else np.asarray(values)
    of_ours = _is_ours(a) or _is_ours(given)
    is_array = isinstance(given, np.ndarray) and not isinstance(values, _WEAK)
    if of_ours and is_array and not isinstance(values, _Scalar):
        if not _loses_nothing(given.dtype, a.dtype):
            raise TypeError(
                f"Cannot cast array data from {given.dtype.name} to {a.dtype.name} "
                "according to the rule 'safe'"
            )
    if of_ours:
        given = np.asarray(_plain(given)).astype(a.dtype)
    function(_plain(a), _plain(mask), _plain(given))


#: What makes views, writes, or takes no dtype from all of its arguments: NumPy's own
#: function does what is to be done.
_NATIVE = {
    *(np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis),
    *(np.squeeze, np.expand_dims, np.flip, np.fliplr, np.flipud, np.rot90, np.diagonal),
    *(np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.matrix_transpose),
    *(np.broadcast_to, np.broadcast_arrays, np.shape, np.ndim, np.size, np.real),
    *(np.atleast_1d, np.atleast_2d, np.atleast_3d, np.shares_memory, np.copyto),
    *(np.put, np.put_along_axis, np.fill_diagonal),
    *(
        np.insert,
        np.full_like,
        np.zeros_like,
        np.ones_like,
        np.empty_like,
        np.may_share_memory,
    ),
}


#: About neighbours among the numbers of a dtype, which float32 cannot stand in for.
_OF_THE_DTYPE = (np.nextafter, np.spacing)


class _Making:
    """Within, NumPy's functions that make arrays follow the table, which asks nobody.

    What is made of no array for which the rule holds is made as before, also in other
    threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._replaced: dict[str, tuple[Any, Any]] = {}

    def __enter__(self) -> None:
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                found = {name: getattr(np, name) for name in _MAKING}
                self._replaced = {n: (f, _making_of(f)) for n, f in found.items()}
                for name, (_, replacement) in self._replaced.items():
                    setattr(np, name, replacement)

    def __exit__(self, *exception: Any) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                for name, (original, replacement) in self._replaced.items():
                    if getattr(np, name) is replacement:
                        setattr(np, name, original)


#: They look for no override in what an array is made of.
_MAKING = ("array", "asarray", "ascontiguousarray", "asfortranarray", "full")
_making = _Making()


def _making_of(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(leaf, _Array) for leaf in _leaves((args, kwargs))):
            return original(*args, **kwargs)
        of_elements = args and isinstance(args[0], (list, tuple))
        if not of_elements or kwargs.get("dtype") is not None or len(args) > 1:
            return _wrapped((), original(*_plain(args), **_plain(kwargs)))
        of_ours = involves_table(args[0])
        dtype = table_dtype(*_leaves(args[0])) if of_ours else None
        return _evaluate(original, args, kwargs, dtype)

    return make


class _Array(np.ndarray):
    """An array for which nkipy's rule holds."""

    def __array_ufunc__(
        self,
        ufunc: np.ufunc,
        method: str,
        *inputs: Any,
        out: Any = None,
        **kwargs: Any,
    ) -> Any:
        if method == "at":
            return _at(ufunc, *inputs)
        dtype = _decided(getattr(ufunc, method), inputs, kwargs)
        if dtype is not None and ufunc in _OF_THE_DTYPE:
            inputs = tuple(np.asarray(x).astype(dtype) for x in _plain(inputs))
            return _made((), getattr(ufunc, method)(*inputs, **kwargs))
        elementwise = method in ("__call__", "outer")
        if dtype is not None and elementwise:
            inputs = _operands(ufunc, inputs, dtype)
        if out is not None and kwargs.get("where", True) is not True:
            kwargs["out"] = tuple(_wide(out))
        if out is not None and not elementwise:
            dtype = dtype and _dtype_of(out[0])
        casting = kwargs.get("casting", "same_kind")
        if "dtype" not in kwargs:  # then it is about the result alone
            kwargs.pop("casting", None)
        result = _evaluate(getattr(ufunc, method), inputs, kwargs, dtype)
        if out is None:
            return result
        _require_cast(ufunc, result, out, casting)
        return _stored(result, out)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        if func is np.result_type:
            return table_dtype(*(_given(a) or a for a in args))
        if func in _NATIVE:
            args = map_tree(_unshared, args)
            return map_tree(_wrapped, func(*_plain(args), **_plain(kwargs)))
        if func is np.nan_to_num and _is_ours(args[0] if args else kwargs["x"]):
            return _nan_to_num(*args, **kwargs)
        if func in (np.putmask, np.place):
            given = inspect.signature(func).bind(*args, **kwargs).arguments
            return _put_by_mask(func, *given.values())
        if func is np.piecewise:
            return _piecewise(*args, **kwargs)
        args, kwargs, out = _without_out(func, tuple(args), dict(kwargs))
        if func is np.einsum and out is None and _is_view_of_one(args, kwargs):
            return _wrapped((), func(*_plain(args), **_plain(kwargs)))
        dtype = _decided(func, args, kwargs)
        if out is None:
            return _evaluate(func, args, kwargs, dtype)
        # It is rounded once, when it is stored.
        return _stored(_evaluate(func, args, kwargs, dtype and _dtype_of(out)), out)

    def __getitem__(self, index: Any) -> Any:
        found = self.view(np.ndarray)[map_tree(_as_index, index)]
        return _made((), found)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(map_tree(_as_index, index), value)

    def sort(self, *args: Any, **kwargs: Any) -> None:
        self[...] = np.sort(self, *args, **kwargs)


class _Scalar(_Array):
    """An element, or the result of a full reduction: it cannot be written."""

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(f"{self.dtype.name} object does not support item assignment")


def _as_index(path: Any, leaf: Any) -> Any:
    """A scalar selects a view, an array of no dimension a copy."""
    return leaf.view(np.ndarray)[()] if isinstance(leaf, _Scalar) else leaf


def _unshared(path: Any, leaf: Any) -> Any:
    """A scalar has no memory that a view could share."""
    return leaf.copy() if isinstance(leaf, _Scalar) else leaf


def _of_copy(name: str) -> Callable[..., Any]:
    method = getattr(_Array, name)
    return lambda self, *args, **kwargs: method(
        self.view(_Array).copy(), *args, **kwargs
    )


for _name in "ravel reshape squeeze transpose".split():
    setattr(_Scalar, _name, _of_copy(_name))


def _in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(self, other)


for _operator in "add sub mul truediv floordiv mod pow matmul".split():
    _function = _in_place(getattr(operator, _operator))
    setattr(_Scalar, f"__i{_operator}__", _function)


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


for _name in (
    "all any argmax argmin argpartition argsort choose clip cumprod cumsum dot max "
    "mean min prod repeat round searchsorted std sum take trace var"
).split():
    setattr(_Array, _name, _method(_name))
