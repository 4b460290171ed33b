"""``KnownTensor``: an array made inside a kernel, while its values are known.

NumPy computes functions of such arrays, as it does outside of a kernel, and the results
are known as well. A traced value that is stored into one, or into a view of it, makes
it and all that share its memory ordinary traced tensors, for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core._known_memory import Memory
from nkipy.core._known_trees import (
    PLAIN,
    SCALARS,
    Given,
    arrays_in,
    give,
    holds_traced,
    is_plain_index,
    operands,
)
from nkipy.core._memory_views import layout_of
from nkipy.core._tensor_operators import TensorArithmeticMixin
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.errors import NKIPyNotImplementedError, NKIPyValueError
from nkipy.core.op_table import NUMPY_TABLE
from nkipy.core.tensor import NKIPyTensorRef, layout_with
from nkipy.hlo.ir import HLOInstruction

__all__ = ["KnownTensor", "adopt", "compute", "make_traced"]

_new = object.__new__
_ndarray = np.ndarray


class KnownTensor(NKIPyTensorRef):
    """A NumPy array, as far as a kernel can tell; see the module's text.

    It is no ndarray, as a kernel's arguments are none. Whatever reads its memory gets
    the values. A reader that keeps the memory (an iterator, a memoryview, a plain array
    that shares it) must be gone before a traced value is stored.

    Attributes:
        _array: the values: the owner of the memory, or a view of it.
        _memory: the memory, and all other views of it.
    """

    __slots__ = ()
    _is_known = True
    _memory: Memory

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("known arrays are made by NumPy's functions inside a kernel")

    # -- as a traced tensor ------------------------------------------------------------
    @property
    def backend_tensor(self) -> HLOInstruction:
        """The values as a constant of the active trace."""
        return as_hlo_tensor(get_hlo_context(), self._array)

    @property
    def _ctx(self) -> Any:  # type: ignore[override]
        return _active_ctx.get()

    _value = backend_tensor
    _base = _view = _name = _laid = None
    _version = _seen = 0

    def _operand(self) -> Any:
        return self._array

    def _assign(self, value: HLOInstruction) -> None:
        _forget(self)
        self._assign(value)

    def _is_zero_d_array(self) -> bool:
        return True

    def _layout(self) -> np.ndarray:
        array = self._array  # which a layout may outlive
        return layout_with(array.shape, array.strides, array.itemsize)

    def _is_c_contiguous(self) -> bool:
        return self._array.flags.c_contiguous

    # -- NumPy's protocols -------------------------------------------------------------
    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        given_all = (inputs, kwargs)
        if holds_traced(given_all) or _follows_table(ufunc, given_all):
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        given: Given = {}
        plain = give(inputs, given)
        result = getattr(ufunc, method)(*plain, **give(kwargs, given))
        return adopt(result, given, given_all)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        if holds_traced((args, kwargs)) or _follows_table(func, (args, kwargs)):
            return super().__array_function__(func, types, args, kwargs)
        return compute(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array.view(), dtype, copy=copy)

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._array.view())

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.view().__dlpack__(**kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._array.view().__reduce_ex__(protocol)

    def __copy__(self) -> Any:
        return adopt(self._array.copy())

    def __deepcopy__(self, memo: Any) -> Any:
        return adopt(self._array.copy())

    # -- indexing ----------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Any:
        if not is_plain_index(index):
            if holds_traced(index):
                return super().__getitem__(index)
            index = operands(index)
        found = self._array[index]
        return self._taken(found) if type(found) is _ndarray else found

    def __setitem__(self, index: Any, value: Any) -> None:
        if not is_plain_index(index):
            if holds_traced(index):
                return super().__setitem__(index, value)
            index = operands(index)
        if type(value) not in PLAIN:
            if holds_traced(value):
                return super().__setitem__(index, value)
            value = operands(value)
        self._array[index] = value
        return None

    def __iter__(self) -> Iterator[Any]:
        if not self._array.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self._array.shape[0]))

    def _taken(self, found: np.ndarray) -> Any:
        """What an index has found: a view, or a new array."""
        memory = self._memory
        if found.base is memory.array and found.dtype in dt.HLO_NAMES:
            return _view(memory, found) if _active_ctx.get() is not None else found
        return adopt(found, {id(self._array): (self._array, self)})

    # -- what takes a class, or depends on who refers to the memory --------------------
    def view(self, dtype: Any = None, type: Any = None) -> Any:
        kinds = [k for k in (dtype, type) if _is_array_class(k)]
        if any(kind is not _ndarray for kind in kinds):
            raise NKIPyNotImplementedError(
                f"a view as {kinds[-1].__name__}: a kernel's arrays have no subclasses",
                op="view",
                location=caller_location(),
            )
        if dtype is None or _is_array_class(dtype):
            return adopt(self._array.view(), {0: (self._array, self)})
        return adopt(self._array.view(dtype), {0: (self._array, self)})

    def resize(self, *shape: Any, refcheck: bool = True) -> None:
        """In place, as NumPy's; if this is the only array of its memory."""
        if self._array is not self._memory.array or self._memory.is_shared():
            raise ValueError(
                "cannot resize an array that references or is referenced by another "
                "array in this way. Use np.resize"
            )
        self._array.resize(*shape, refcheck=False)

    @property
    def base(self) -> Any:
        """The array whose memory this is a view of, or None."""
        if self._array.base is None:
            return None
        return adopt(self._memory.array.view(), {0: (self._array, self)})

    @property
    def flat(self) -> Any:
        return self._array.view().flat

    @flat.setter
    def flat(self, value: Any) -> None:
        if holds_traced(value):
            self[...] = np.resize(value, self.shape)
        else:
            self._array.flat[:] = operands(value)

    def __repr__(self) -> str:
        return repr(self._array)

    def __str__(self) -> str:
        return str(self._array)


def _is_array_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, _ndarray)


# -- whatever else an ndarray has ------------------------------------------------------
def _method(name: str) -> Callable[..., Any]:
    concrete = getattr(_ndarray, name)
    traced = getattr(NKIPyTensorRef, name, None)

    def method(self: KnownTensor, *args: Any, **kwargs: Any) -> Any:
        if traced and name in _ARITHMETIC and self._array.dtype in _LOW:
            if _is_traced():
                return traced(self, *args, **kwargs)
        if args or kwargs:
            if holds_traced((args, kwargs)):
                if traced is None:
                    return _not_traced(name)
                return traced(self, *args, **kwargs)
            given: Given = {id(self._array): (self._array, self)}
            args, kwargs = give(args, given), give(kwargs, given)
            return adopt(concrete(self._array, *args, **kwargs), given, (args, kwargs))
        result = concrete(self._array)
        if type(result) in SCALARS:
            return result
        return adopt(result, {id(self._array): (self._array, self)})

    method.__name__ = name
    method.__doc__ = f"As ``numpy.ndarray.{name}``."
    return method


def _not_traced(name: str) -> Any:
    raise NKIPyNotImplementedError(
        f"ndarray.{name} of a traced value", op=name, location=caller_location()
    )


def _property(name: str) -> property:
    def read(self: KnownTensor) -> Any:
        found = getattr(self._array, name)
        if type(found) is not _ndarray:
            return found
        return adopt(found, {id(self._array): (self._array, self)})

    def write(self: KnownTensor, value: Any) -> None:
        setattr(self._array, name, operands(value))

    return property(read, write, doc=f"As ``numpy.ndarray.{name}``.")


def _keeping(name: str) -> property:
    return property(lambda self: getattr(self._array.view(), name))


def _operator(name: str) -> Callable[..., Any]:
    concrete, traced = getattr(_ndarray, name), getattr(NKIPyTensorRef, name)

    def method(self: KnownTensor, other: Any) -> Any:
        kind = type(other)
        if kind is KnownTensor:
            other = other._array
        elif kind not in PLAIN:
            if holds_traced(other):
                return traced(self, other)
            other = operands(other)
        if self._array.dtype in _LOW or getattr(other, "dtype", None) in _LOW:
            if _is_traced():
                return traced(self, other)
        result = concrete(self._array, other)
        return _fresh(result) if type(result) is _ndarray else adopt(result)

    return method


def _in_place(name: str) -> Callable[..., Any]:
    concrete, traced = getattr(_ndarray, name), getattr(NKIPyTensorRef, name)

    def method(self: KnownTensor, other: Any) -> Any:
        if holds_traced(other):
            _forget(self)
            return traced(self, other)
        result = concrete(self._array, operands(other))
        return self if result is self._array else result

    return method


def _unary(name: str) -> Callable[..., Any]:
    concrete = getattr(_ndarray, name)

    def method(self: KnownTensor) -> Any:
        return adopt(concrete(self._array))

    return method


# -- how it becomes traced -------------------------------------------------------------
def make_traced(out: Any) -> None:
    """Have what an op writes into, a tensor or a tuple of some, be traced.

    Raises:
        ConcretizationError: an array was not made in the active trace; or something
            outside of it refers to the memory.
        ValueError: it is read-only.
    """
    for part in out if isinstance(out, tuple) else (out,):
        if type(part) is KnownTensor:
            _forget(part)


def _forget(tensor: KnownTensor) -> None:
    if not tensor._array.flags.writeable:
        raise NKIPyValueError(
            "assignment destination is read-only", location=caller_location()
        )
    tensor._memory.forget()


# -- bfloat16 and fp8 ------------------------------------------------------------------
# NumPy has no rule for them. Ours, and sums in float32, are in the ops, so that these
# compute what is more than a movement of elements, and the results are traced.
_LOW = frozenset((dt.bfloat16, *dt.FP8))
_COMPUTING = frozenset(("binary", "unary", "linalg", "reduce", "statistics", "conv"))
_PROMOTING = (np.where, np.select, np.choose, np.interp)
_ARITHMETIC = frozenset("clip cumprod cumsum dot mean prod std sum trace var".split())


def _is_traced() -> bool:
    return _active_ctx.get() is not None


def _follows_table(function: Callable[..., Any], arguments: Any) -> bool:
    """Whether an op is to compute this function of known arrays."""
    if not _holds_low(arguments):
        return False
    op = NUMPY_TABLE.get(function)
    computes = op is not None and op.chapter in _COMPUTING
    return (computes or function in _PROMOTING) and _is_traced()


def _holds_low(values: Iterable[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind is KnownTensor or kind is _ndarray:
            if value.dtype in _LOW:
                return True
        elif kind is tuple or kind is list:
            if _holds_low(value):
                return True
        elif kind is dict and value and _holds_low(value.values()):
            return True
    return False


# -- results of NumPy's ----------------------------------------------------------------
def compute(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A function of NumPy's, of known and plain arrays."""
    given: Given = {}
    result = func(*give(args, given), **give(kwargs, given))
    if func is np.empty_like and isinstance(result, _ndarray):
        result.fill(0)
    return adopt(result, given, (args, kwargs))


def adopt(result: Any, given: Given | None = None, others: Any = ()) -> Any:
    """`result` with its plain arrays, in lists and tuples too, as known ones.

    Args:
        given: what stood for the known arrays among the arguments of the function that
            made the result. The result may be one of them, or a view.
        others: arguments of the function, nested or not. A plain array among them was
            there before, and it and its views stay plain.
    """
    kind = type(result)
    if kind is _ndarray:
        return _adopt_array(result, given or {}, others)
    if kind in SCALARS:
        return result
    if kind is list or kind is tuple:
        return kind([adopt(part, given, others) for part in result])
    if isinstance(result, tuple) and hasattr(kind, "_make"):
        return kind._make([adopt(part, given, others) for part in result])
    return result


def _adopt_array(result: np.ndarray, given: Given, others: Any) -> Any:
    same = given.get(id(result))
    if same is not None and same[0] is result:
        return same[1]
    if _active_ctx.get() is None or result.dtype not in dt.HLO_NAMES:
        return result
    if result.base is None:
        return result if _is_among(result, others) else _fresh(result)
    memories = [t._memory for _, t in given.values() if type(t) is KnownTensor]
    for memory in memories:
        if _rests_on(result, memory.array):
            return _within(memory, result)
    existed = [memory.array for memory in memories]
    if any(np.may_share_memory(a, result) for a in (*existed, *arrays_in(others))):
        return result
    own = result.copy(order="K")  # an array of ours owns its memory
    own.flags.writeable = result.flags.writeable
    return _fresh(own)


def _is_among(result: np.ndarray, others: Any) -> bool:
    return any(array is result for array in arrays_in(others))


def _rests_on(array: Any, owner: np.ndarray) -> bool:
    """Whether `owner` is among the bases of `array`."""
    while array is not None:
        if array is owner:
            return True
        array = getattr(array, "base", None)
    return False


def _within(memory: Memory, array: np.ndarray) -> Any:
    """`array`, which lies in the memory, as a view of it."""
    owner = memory.array
    if array.base is owner:
        return _view(memory, array)
    if array is owner:
        return _view(memory, owner.view())
    order = sorted(range(owner.ndim), key=lambda i: -owner.strides[i])
    octets = owner.transpose(order).reshape(-1).view(np.uint8)
    offset = layout_of(array).address - layout_of(owner).address
    try:  # a base of its own, such as as_strided makes, would hide who refers to it
        direct = np.ndarray(array.shape, array.dtype, octets, offset, array.strides)
    except ValueError:  # beyond the memory
        return array
    if direct.base is not owner:
        return array
    direct.flags.writeable = array.flags.writeable
    return _view(memory, direct)


def _view(memory: Memory, array: np.ndarray) -> KnownTensor:
    made = _new(KnownTensor)
    made._array = array
    made._memory = memory
    memory.add(made)
    return made


def _fresh(array: np.ndarray) -> Any:
    """An array that owns its memory, as a known one if a trace is active."""
    ctx: HLOTraceContext | None = _active_ctx.get()
    if ctx is None or array.dtype not in dt.HLO_NAMES:
        return array
    return _view(Memory(ctx, array), array)


# -- the members that an ndarray has besides -------------------------------------------
_UNARY = ("__neg__", "__pos__", "__abs__", "__invert__")
_SPECIAL = (
    "__bool__ __int__ __float__ __complex__ __index__ __len__ __contains__ __format__"
).split()
#: They go on to refer to the array that they are asked of.
_KEEPING = ("ctypes", "data")


def _complete() -> None:
    for name, member in vars(TensorArithmeticMixin).items():
        if name in _UNARY:
            setattr(KnownTensor, name, _unary(name))
        elif name.startswith("__i"):
            setattr(KnownTensor, name, _in_place(name))
        elif name.startswith("__") and callable(member):
            setattr(KnownTensor, name, _operator(name))
    for name in [*(n for n in vars(_ndarray) if n[0] != "_"), *_SPECIAL]:
        if name in vars(KnownTensor):
            continue
        if name in _KEEPING:
            setattr(KnownTensor, name, _keeping(name))
        elif callable(getattr(_ndarray, name)):
            setattr(KnownTensor, name, _method(name))
        else:
            setattr(KnownTensor, name, _property(name))


_complete()
