"""Arrays made inside a kernel can receive traced values, as they could in NumPy.

While a trace is active somewhere in the process, NumPy's creation functions are
replaced by wrappers. A wrapper does what the function does, unless the thread that
calls it is tracing, and the call comes from the user's code: then the new array is a
:class:`~nkipy.core.known_tensor.KnownTensor`.

Not all of NumPy goes through them (``from numpy import zeros``), and need not: a plain
array takes no traced value.
"""

from __future__ import annotations

import functools
import operator
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from typing import Any

import numpy as np

from nkipy.core._known_trees import holds_traced, operands
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.errors import NKIPyNotImplementedError
from nkipy.core.known_tensor import KnownTensor, adopt, compute
from nkipy.core.op_table import OPS, ORIGINALS
from nkipy.core.promotion import is_ours, literal_if_scalar, result_type
from nkipy.core.roles import Role, role_of_frame
from nkipy.core.tensor import NKIPyTensorRef

__all__ = ["installed"]

Function = Callable[..., Any]

_FRESH = (
    "zeros ones full empty zeros_like ones_like full_like empty_like arange linspace "
    "logspace geomspace eye identity tri copy fromfunction fromiter indices "
    "tril_indices triu_indices diag_indices fromfile fromstring loadtxt genfromtxt"
).split()
#: NumPy looks for no override in their second argument.
_FILLED = ("full", "full_like")
#: Their first argument is a shape, of which NumPy hides why it is none.
_SHAPED = ("zeros", "ones", "full", "empty")
_UNINITIALISED = ("empty", "empty_like")
#: Whether the function copies by default what is an array already.
_CONVERTING = {
    "array": True,
    "asarray": False,
    "asanyarray": False,
    "ascontiguousarray": False,
    "asfortranarray": False,
}
_AT_LEAST_1D = (np.ascontiguousarray, np.asfortranarray)
_ORDERS = {np.ascontiguousarray: "C", np.asfortranarray: "F"}


def _from_kernel() -> bool:
    """Whether the caller of the wrapper that asks is the user's code, traced."""
    if _active_ctx.get() is None:
        return False
    return role_of_frame(sys._getframe(2)) in (Role.USER, Role.HIDDEN)


# -- the wrappers ----------------------------------------------------------------------
def _fresh(name: str, original: Function) -> Function:
    clear = name in _UNINITIALISED

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        if name in _FILLED and holds_traced([*args[1:2], kwargs.get("fill_value")]):
            fill = _full_of_traced if name == "full" else OPS["full_like"]
            return fill(*args, **kwargs)
        if args and name in _SHAPED and type(args[0]) not in (int, tuple):
            if holds_traced(args[0]):
                operator.index(args[0])  # says what is wrong with it
        result = original(*args, **kwargs)
        if not _from_kernel() or isinstance(result, NKIPyTensorRef):
            return result
        if clear and isinstance(result, np.ndarray) and result.dtype != object:
            result.fill(0)  # whatever lay in memory must not become a constant
        return adopt(result)

    return create


def _full_of_traced(
    shape: Any, fill_value: Any, dtype: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """``np.full`` of a traced value, whose dtype the result has by default."""
    fill = _stacked(operands(fill_value))
    return OPS["full"](shape, fill, fill.dtype if dtype is None else dtype)


def _taking(name: str, original: Function) -> Function:
    """``np.take``, which looks for no override in its indices."""

    @functools.wraps(original)
    def take(*args: Any, **kwargs: Any) -> Any:
        indices = args[1] if len(args) > 1 else kwargs.get("indices")
        if holds_traced(indices):
            return OPS[name](*args, **kwargs)
        return original(*args, **kwargs)

    return take


def _converting(name: str, original: Function) -> Function:
    copies = _CONVERTING[name]

    @functools.wraps(original)
    def convert(*args: Any, **kwargs: Any) -> Any:
        if not _from_kernel():
            return original(*args, **kwargs)
        value = args[0] if args else kwargs.get("a", kwargs.get("object"))
        if holds_traced(value):
            return _convert_traced(original, copies, *args, **kwargs)
        if type(value) is KnownTensor:
            return compute(original, args, kwargs)
        result = original(*args, **kwargs)
        return adopt(result, others=(value,))  # what existed is not ours to trace

    return convert


def _sharing(name: str, original: Function) -> Function:
    """Functions that make an array of the memory of their first argument."""

    @functools.wraps(original)
    def share(*args: Any, **kwargs: Any) -> Any:
        if not args or type(args[0]) is not KnownTensor or not _from_kernel():
            return original(*args, **kwargs)
        return compute(original, args, kwargs)

    return share


def _requiring(name: str, original: Function) -> Function:
    """``np.require``, which asks for the order and the owner of memory."""

    @functools.wraps(original)
    def require(*args: Any, **kwargs: Any) -> Any:
        if not _from_kernel():
            return original(*args, **kwargs)
        value = args[0] if args else kwargs.get("a")
        if type(value) is KnownTensor:
            return compute(original, args, kwargs)
        if holds_traced(value):
            return _require_traced(original, *args, **kwargs)
        return original(*args, **kwargs)

    return require


def _require_traced(
    original: Function,
    a: Any,
    dtype: Any = None,
    requirements: Any = None,
    *,
    like: Any = None,
) -> Any:
    """``np.require`` of a traced array. It can be written, and is aligned.

    Raises:
        KeyError, ValueError: NumPy does not know the requirements, or they exclude each
            other.
        NotImplementedError: an argument of the kernel is to own its memory.
    """
    original(np.empty(0), None, requirements)  # says what is wrong with them
    wanted = {name[0].upper() for name in requirements or ()}
    order = next((o for o in "CF" if o in wanted), "A") if wanted else None
    made = _convert_traced(original, False, a, dtype, order=order)
    if "O" not in wanted:
        return made
    if made._base is not None:
        return made.copy(order)
    if made._name is not None:
        raise NKIPyNotImplementedError(
            f"whether {made!r}, an argument, owns its memory is not known while the "
            "kernel is traced, and so neither whether the result is a copy; take a "
            ".copy() of it",
            op="require",
            location=caller_location(),
        )
    return made


def _exchanging(name: str, original: Function) -> Function:
    """``np.from_dlpack``: of an array that a kernel has, a view of it."""

    @functools.wraps(original)
    def exchange(x: Any, /, **kwargs: Any) -> Any:
        if not isinstance(x, NKIPyTensorRef) or not _from_kernel():
            return original(x, **kwargs)
        return x.copy() if kwargs.get("copy") else x[...]

    return exchange


class _Indexed:
    """``np.r_``, ``np.mgrid`` and the like, which make arrays when they are indexed."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getitem__(self, key: Any) -> Any:
        if not _from_kernel():
            return self._original[key]
        return compute(self._original.__getitem__, (key,), {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _indexed(name: str, original: Any) -> Any:
    return _Indexed(original)


def _convert_traced(
    original: Function,
    copies: bool,
    value: Any,
    dtype: Any = None,
    *,
    copy: Any = np._NoValue,
    order: Any = None,
    ndmin: int = 0,
    **others: Any,
) -> Any:
    """``np.array`` of a traced array, or of lists that hold some."""
    value = operands(value)
    if isinstance(value, (list, tuple)):
        made = _stacked(value, _dtype_of_scalars(value))
    else:
        wanted = copies if copy is np._NoValue else copy  # None: only if need be
        made = OPS["copy"](value) if wanted else value
    order = _ORDERS.get(original, order)
    if dtype is not None or order is not None:
        target = made.dtype if dtype is None else dtype
        made = made.astype(target, order=order or "K", copy=False)
    if not made.shape and not made._is_zero_d_array():  # a scalar so far
        made = OPS["copy"](made)
        made._version = 1
    if original in _AT_LEAST_1D:
        ndmin = 1
    lead = max(0, ndmin - made.ndim)
    return made[(None,) * lead] if lead else made


def _dtype_of_scalars(value: Any) -> np.dtype | None:
    """The dtype of an array of these elements, if its scalars are weak beside them."""
    leaves = list(_elements(value))
    if any(is_ours(getattr(leaf, "dtype", None)) for leaf in leaves):
        return result_type(*leaves)
    return None


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _elements(part)
    else:
        yield value


def _stacked(value: Any, dtype: np.dtype | None = None) -> Any:
    """Nested sequences as one array, their weak scalars in the dtype if one is given.

    Raises:
        ValueError: they are ragged.
    """
    if not isinstance(value, (list, tuple)):
        return value if dtype is None else literal_if_scalar(value, dtype)
    parts = [_stacked(v, dtype) for v in value]
    shapes = {np.shape(p) for p in parts}
    if len(shapes) > 1:
        raise ValueError(
            "setting an array element with a sequence. The requested array has an "
            f"inhomogeneous shape: its elements have the shapes {sorted(shapes)}"
        )
    if not any(map(holds_traced, parts)):
        return np.array(parts)
    stacked = OPS["stack"](parts)
    in_order = stacked._is_c_contiguous()  # which stacking, unlike this, may not keep
    return stacked if in_order else OPS["copy"](stacked, "C")


def _random(name: str, original: Function) -> Function:
    @functools.wraps(original)
    def draw(*args: Any, **kwargs: Any) -> Any:
        if not _from_kernel():
            return original(*args, **kwargs)
        result = compute(original, args, kwargs)
        warnings.warn(
            f"np.random.{name} was called while a kernel is traced: the numbers drawn "
            "become constants of the program, which each call traces and compiles "
            "anew. Pass them to the kernel as an argument",
            UserWarning,
            stacklevel=2,
        )
        return result

    return draw


def _random_names() -> list[str]:
    """Functions of np.random that draw from its global state, and default_rng."""
    shared = np.random.mtrand._rand
    quiet = ("get_state", "set_state", "seed", "get_bit_generator", "set_bit_generator")
    names = [
        name
        for name, value in vars(np.random).items()
        if getattr(value, "__self__", None) is shared and name not in quiet
    ]
    return [*names, "default_rng"]


# -- installing them -------------------------------------------------------------------
def _warn_in_random(message: Any, category: Any = None, stacklevel: int = 1) -> None:
    """``warnings.warn``; an error for what would be shuffled wrongly.

    Generators swap elements of what is no ndarray as if they were no views.
    """
    if "shuffle" in str(message) and _active_ctx.get() is not None:
        raise NKIPyNotImplementedError(
            "an array of a kernel cannot be shuffled in place by a generator; use "
            "the generator's permutation(), or shuffle an array from outside",
            op="shuffle",
            location=caller_location(),
        )
    warnings.warn(message, category, stacklevel=stacklevel + 1)


#: What compiled modules call by the names `np` and `warnings` while the wrappers are in
#: place: no frame of theirs says that it is not the user who calls.
_PRISTINE = types.ModuleType("numpy")
_STRICT = types.SimpleNamespace(warn=_warn_in_random)
_Replacement = tuple[Any, str, Any, Any]  # module, name, what it has, what it gets


class _Hooks:
    """The wrappers, in place while at least one trace is active."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.modules = 0
        self.wrappers: list[_Replacement] = []
        self.in_compiled: list[_Replacement] = []

    def enter(self) -> None:
        with self.lock:
            self.active += 1
            if self.active > 1:
                return
            self.wrappers = self.wrappers or _make_wrappers()
            if self.modules != len(sys.modules):
                self.in_compiled = _in_compiled_modules()
                self.modules = len(sys.modules)
            for module, name, _, wrapper in (*self.wrappers, *self.in_compiled):
                setattr(module, name, wrapper)

    def exit(self) -> None:
        with self.lock:
            self.active -= 1
            if self.active:
                return
            for module, name, original, wrapper in (*self.wrappers, *self.in_compiled):
                if getattr(module, name) is wrapper:
                    setattr(module, name, original)


def _make_wrappers() -> list[_Replacement]:
    vars(_PRISTINE).update(vars(np))
    groups: list[tuple[Any, Callable[[str, Any], Any], list[str]]] = [
        (np, _fresh, _FRESH),
        (np, _converting, list(_CONVERTING)),
        (np, _taking, ["take"]),
        (np, _sharing, ["frombuffer", "asarray_chkfinite"]),
        (np, _requiring, ["require"]),
        (np, _exchanging, ["from_dlpack"]),
        (np, _indexed, ["r_", "c_", "mgrid", "ogrid"]),
        (np.lib.stride_tricks, _sharing, ["as_strided"]),
        (np.random, _random, _random_names()),
    ]
    wrappers = []
    for module, make, names in groups:
        for name in names:
            original = getattr(module, name)
            wrapper = make(name, original)
            ORIGINALS[wrapper] = original
            wrappers.append((module, name, original, wrapper))
    return wrappers


def _in_compiled_modules() -> list[_Replacement]:
    found: list[_Replacement] = []
    for module in list(sys.modules.values()):
        space = getattr(module, "__dict__", {})
        if not isinstance(space.get("__loader__"), ExtensionFileLoader):
            continue
        for name in ("np", "numpy"):
            if space.get(name) is np:
                found.append((module, name, np, _PRISTINE))
        if module.__name__.startswith("numpy.random.") and "warnings" in space:
            found.append((module, "warnings", warnings, _STRICT))
    return found


_hooks = _Hooks()


@contextmanager
def installed() -> Iterator[None]:
    """Within, arrays that the kernel makes can receive traced values.

    May be entered by several threads at once, and again while it is entered.
    """
    _hooks.enter()
    try:
        yield
    finally:
        _hooks.exit()
