"""``NKIPyTensorRef``: what a kernel's arrays are while it is traced.

A tensor is a variable: it holds the instruction that computes its present value, and a
store replaces that instruction. A *view* (a basic index, a transpose, a reshape of
contiguous data) has a base; it recomputes its value after the base has changed, and a
store into it is a store into the base. So mutation is as real as in NumPy, while the
program stays free of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core._tensor_operators import (
    NO_KEYWORDS,
    TensorArithmeticMixin,
    TensorMethodsMixin,
    described,
    not_implemented,
)
from nkipy.core._tensor_unknown import Unknown, refusing_to_be_set
from nkipy.core.backend import _active_ctx
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import (
    HLOTraceContext,
    as_hlo_tensor,
    get_hlo_context,
    leaked,
)
from nkipy.core.errors import (
    ConcretizationError,
    NKIPyNotImplementedError,
    NKIPyValueError,
)
from nkipy.core.op_table import NUMPY_TABLE, OPS, original
from nkipy.core.promotion import can_cast
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction

__all__ = [
    "NO_KEYWORDS",
    "NKIPyTensorRef",
    "TensorArithmeticMixin",
    "UnknownOrder",
    "View",
    "as_base",
    "as_operand",
    "as_tensor",
    "store_out",
    "tensor_of",
]

_new = object.__new__


class View(NamedTuple):
    """How a view relates to its base.

    Attributes:
        read: makes the view's value from the base's.
        write: makes the base's value from its former one and the view's new one; None
            for a view that is read-only in NumPy.
        layout: the same view of a NumPy array.
        key: equal for two views that select the same elements of a base, or None.
        ordered: whether its axes lie in memory in C order if the base's do, perhaps
            with gaps between elements.
    """

    read: Callable[[HLOBuilder, HLOInstruction], HLOInstruction]
    write: Callable[[HLOBuilder, HLOInstruction, HLOInstruction], HLOInstruction] | None
    layout: Callable[[np.ndarray], np.ndarray]
    key: Any = None
    ordered: bool = False


class UnknownOrder(NamedTuple):
    """In the place of a layout: in which order NumPy's result lies is not known.

    Attributes:
        op: the op that has made the tensor.
    """

    op: str

    def error(self) -> NKIPyNotImplementedError:
        """What to raise where it matters."""
        return NKIPyNotImplementedError(
            f"in which order NumPy lays out the result of {self.op} in memory is not "
            "known here, and so neither whether a reshape or ravel of it is a view or "
            "a copy; take a .copy() of the result, which is in C order, and reshape "
            "that",
            location=caller_location(),
        )


class NKIPyTensorRef(TensorArithmeticMixin, TensorMethodsMixin, Unknown):
    """A traced tensor: shape and dtype known, value not.

    It answers NumPy's protocols, so that NumPy functions, operators and indexing work
    on it; each appends HLO instructions to the trace that it belongs to.

    Args:
        backend_tensor: an instruction of the active trace.
        name: a name for messages, by custom the parameter's.

    Raises:
        RuntimeError: no trace is active.
    """

    __slots__ = (
        "_ctx",
        "_value",
        "_base",
        "_view",
        "_seen",
        "_version",
        "_name",
        "_laid",
        "_array",  # the last ones are a KnownTensor's
        "_memory",
        "__weakref__",
    )
    __array_priority__ = 1000.0
    #: What an NKI kernel calls that is called with a tensor.
    __nki_kernel__ = "nkipy.core.nki_op:call_kernel"
    _array: np.ndarray
    _memory: Any
    #: Whether it is a :class:`~nkipy.core.known_tensor.KnownTensor` still.
    _is_known = False

    def __init__(self, backend_tensor: HLOInstruction, name: str | None = None) -> None:
        self._ctx: HLOTraceContext = get_hlo_context()
        self._value = backend_tensor
        self._base: NKIPyTensorRef | None = None
        self._view: View | None = None
        self._seen: Any = 0
        self._version = 0
        self._name = name
        self._laid: np.ndarray | UnknownOrder | None = None

    @staticmethod
    def _wrap(ctx: HLOTraceContext, value: HLOInstruction) -> NKIPyTensorRef:
        return tensor_of(ctx, value)

    def _make_view(self, view: View) -> NKIPyTensorRef:
        """A tensor that shares this one's elements, as `view` selects them."""
        made = self._wrap(self._ctx, view.read(self._ctx, self.backend_tensor))
        if self.shape or view.write is None or self._is_zero_d_array():
            made._share(self, view)
        return made

    def _share(self, base: NKIPyTensorRef, view: View) -> None:
        """Become a view of `base`; our value is what it selects at present."""
        self._base, self._view = base, view
        while base._base is not None:
            base = base._base
        self._seen = base._version  # of a known one, what it had been read from

    def _operand(self) -> Any:
        """This tensor as ops take it."""
        return self

    # -- value and store ---------------------------------------------------------------
    def _root(self) -> NKIPyTensorRef:
        root = self
        while root._base is not None:
            root = root._base
        return root

    @property
    def backend_tensor(self) -> HLOInstruction:
        """The instruction that computes the present value."""
        base = self._base
        if base is not None:
            while base._base is not None:
                base = base._base
            if base._is_known:
                self._read_known()
            elif base._version != self._seen:
                assert self._base is not None and self._view is not None
                self._value = self._view.read(self._ctx, self._base.backend_tensor)
                self._seen = base._version
        return self._value

    def _read_known(self) -> None:
        """Read a base anew whose values are known, and may have changed unnoticed."""
        if _active_ctx.get() is not self._ctx:
            return
        assert self._base is not None and self._view is not None
        source = self._base.backend_tensor  # one instruction for equal values
        if source is not self._seen:
            self._value = self._view.read(self._ctx, source)
            self._seen = source

    def _assign(self, value: HLOInstruction) -> None:
        """Replace the value, in the base too. `value` has this shape and dtype.

        Raises:
            ValueError: the tensor is a read-only view.
        """
        if self._base is None:
            self._value = value
            self._version += 1
            return
        assert self._view is not None
        if self._view.write is None:
            raise ValueError("assignment destination is read-only")
        old = self._base.backend_tensor
        self._base._assign(self._view.write(self._ctx, old, value))
        self._value = value
        self._seen = self._root()._version

    def _is_zero_d_array(self) -> bool:
        """Whether NumPy has a 0-d array here: a full reduction, or an element, is
        a scalar there, and so an operator like += makes a new one."""
        if self._base is not None or self._version > 0:
            return True
        return self._value.is_parameter and self._name is not None  # no copy of one

    @property
    def _is_mutated(self) -> bool:
        return self._root()._version > 0

    def _layout(self) -> np.ndarray:
        """An array of this shape and strides, whose values are never read.

        Raises:
            NotImplementedError: the strides are not known.
        """
        laid = self._laid
        if laid is None:
            if self._base is None:
                return _contiguous_layout(self.shape, self.dtype.itemsize)
            assert self._view is not None
            laid = self._laid = self._view.layout(self._base._layout())
        if type(laid) is UnknownOrder:
            raise laid.error()
        assert isinstance(laid, np.ndarray)
        return laid

    def _known_layout(self) -> np.ndarray | None:
        """As `_layout`; None if the strides are not known."""
        try:
            return self._layout()
        except NotImplementedError:
            return None

    def _is_in_c_order(self) -> bool:
        """Whether the axes lie in C order, there being gaps or not: without asking."""
        tensor = self
        while tensor._base is not None and tensor._laid is None:
            assert tensor._view is not None
            if not tensor._view.ordered:
                return False
            tensor = tensor._base
        return tensor._laid is None and not tensor._is_known

    def _is_c_contiguous(self) -> bool:
        """Whether the elements certainly lie in C order, and without gaps."""
        if self._base is None and self._laid is None:
            return True
        layout = self._known_layout()
        return layout is not None and layout.flags.c_contiguous

    # -- properties --------------------------------------------------------------------
    @property
    def name(self) -> str:
        return self._name or self._value.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def dtype(self) -> np.dtype:
        return self._value.dtype

    @property
    def ndim(self) -> int:
        return len(self._value.shape)

    @property
    def size(self) -> int:
        size = 1
        for d in self._value.shape:
            size *= d
        return size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis, as NumPy's array has."""
        if self._base is None and self._laid is None:
            return _contiguous_strides(self.shape, self.dtype.itemsize)
        return self._layout().strides

    @property
    def T(self) -> NKIPyTensorRef:
        return OPS["transpose"](self)

    @property
    def mT(self) -> NKIPyTensorRef:
        return OPS["matrix_transpose"](self)

    @property
    def real(self) -> NKIPyTensorRef:
        return self

    @property
    def imag(self) -> NKIPyTensorRef:
        return OPS["imag"](self)

    def __repr__(self) -> str:
        label = f" {self._name!r}" if self._name else ""
        dims = ",".join(map(str, self.shape))
        return f"<traced{label} {self.dtype.name}[{dims}]>"

    # -- NumPy's protocols -------------------------------------------------------------
    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        if method == "__call__":
            op = NUMPY_TABLE.get(ufunc)
            if op is not None:
                return op.called(inputs, kwargs)
        else:
            op = OPS.get(f"ufunc.{method}")
            if op is not None:
                return op(ufunc, *inputs, **kwargs)
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        return not_implemented(name, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        # A creation function with like= is what tracing has put in its place.
        op = NUMPY_TABLE.get(original(func))
        if op is not None:
            return op.called(args, kwargs)
        module = func.__module__.removeprefix("numpy").lstrip(".")
        name = f"{module}.{func.__name__}" if module else func.__name__
        return not_implemented(name, args, kwargs)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[NKIPyTensorRef]:
        if not self.shape:
            raise ConcretizationError(
                f"iteration over a 0-d array: {self!r}", location=caller_location()
            )
        return (self[i] for i in range(self.shape[0]))

    def __round__(self, ndigits: int | None = None) -> NKIPyTensorRef:
        if self.shape:  # the text is Python's, for what has no such method
            raise TypeError("type numpy.ndarray doesn't define __round__ method")
        rounded = OPS["round"](self, ndigits or 0)
        return rounded if ndigits is not None else rounded.astype(np.int32)

    # -- indexing ----------------------------------------------------------------------
    def __getitem__(self, index: Any) -> NKIPyTensorRef:
        return OPS["getitem"].called((self, index), NO_KEYWORDS)

    def __setitem__(self, index: Any, value: Any) -> None:
        OPS["setitem"](self, index, value)

    def __delitem__(self, index: Any) -> NoReturn:
        raise NKIPyValueError(
            "cannot delete array elements", location=caller_location()
        )

    # -- methods with a signature of their own -----------------------------------------
    def transpose(self, *axes: Any) -> NKIPyTensorRef:
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
            return OPS["transpose"](self, axes[0])
        return OPS["transpose"](self, axes or None)

    def reshape(
        self, *shape: Any, order: str = "C", copy: Any = None
    ) -> NKIPyTensorRef:
        if len(shape) == 1:
            shape = shape[0]
        return OPS["reshape"](self, shape, order=order, copy=copy)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: str = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> NKIPyTensorRef:
        return OPS["astype"](self, dtype, order=order, casting=casting, copy=copy)

    def copy(self, order: str = "C") -> NKIPyTensorRef:
        if not self.shape and not self._is_zero_d_array():  # a scalar, as NumPy's is
            return self._wrap(self._ctx, self.backend_tensor)
        return OPS["copy"](self, order)

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        return OPS["compress"](condition, self, axis, out)

    def fill(self, value: Any) -> None:
        self[...] = value

    def sort(
        self, axis: int = -1, kind: Any = None, order: Any = None, **stable: Any
    ) -> None:
        self[...] = OPS["sort"](self, axis, kind, order, **stable)

    def partition(
        self, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None
    ) -> None:
        self[...] = OPS["partition"](self, kth, axis, kind, order)

    @property
    def device(self) -> str:
        """As NumPy's arrays say; where the program runs is not known here."""
        return "cpu"

    def __array_namespace__(self, *, api_version: Any = None) -> Any:
        return np.empty(0).__array_namespace__(api_version=api_version)

    def __copy__(self) -> NKIPyTensorRef:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> NKIPyTensorRef:
        return self.copy("K")


for _name in (
    "transpose reshape astype copy compress fill sort partition item tolist tobytes "
    "tofile dump dumps"
).split():
    setattr(NKIPyTensorRef, _name, described(_name, getattr(NKIPyTensorRef, _name)))
for _name in (
    "shape dtype ndim size itemsize nbytes strides T mT real imag device base ctypes "
    "data flags"
).split():
    setattr(NKIPyTensorRef, _name, refusing_to_be_set(_name, NKIPyTensorRef))


@lru_cache(maxsize=1024)
def _contiguous_layout(shape: tuple[int, ...], itemsize: int) -> np.ndarray:
    return layout_with(shape, _contiguous_strides(shape, itemsize), itemsize)


def layout_with(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int
) -> np.ndarray:
    """An array of this shape and strides, of whose memory there is but one element."""
    # Of bytes: as_strided does not know ml_dtypes.
    memory = np.empty((), np.dtype((np.void, itemsize)))
    return np.lib.stride_tricks.as_strided(memory, shape, strides)


@lru_cache(maxsize=1024)
def layout_in_order(
    shape: tuple[int, ...], itemsize: int, axes: tuple[int, ...]
) -> np.ndarray | None:
    """A layout of `shape` without gaps, `axes` from the slowest to the fastest.

    None for C order, which tensors have if nothing is said.
    """
    if axes == tuple(range(len(axes))):
        return None
    whole = _contiguous_layout(tuple([shape[axis] for axis in axes]), itemsize)
    return whole.transpose(sorted(range(len(axes)), key=axes.__getitem__))


def _contiguous_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides, step = [], itemsize
    for d in reversed(shape):
        strides.append(step)
        step *= max(d, 1)
    return tuple(reversed(strides))


def tensor_of(ctx: HLOTraceContext, value: HLOInstruction) -> NKIPyTensorRef:
    """A new tensor of this value. A function, as calling one takes least."""
    made = _new(NKIPyTensorRef)
    made._ctx = ctx
    made._value = value
    made._base = made._view = made._name = made._laid = None
    made._seen = made._version = 0
    return made


# -- helpers for ops -------------------------------------------------------------------
def as_operand(value: Any) -> Any:
    """`value` as something with a dtype, or a Python scalar: lists become arrays.

    Raises:
        TypeError: a list or other object that holds no numbers.
    """
    if type(value) is NKIPyTensorRef:  # as most are
        return value
    if isinstance(value, (list, tuple)):
        if _holds_tensor(value):
            return OPS["stack"]([as_operand(v) for v in value])
        value = np.asarray(value)
    return as_traced(value)


def as_traced(value: Any) -> Any:
    """`value`; the plain array instead, if it is a tensor whose values are known."""
    return value._operand() if isinstance(value, NKIPyTensorRef) else value


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(v) for v in value)
    return isinstance(value, NKIPyTensorRef)


def as_tensor(value: Any, dtype: Any = None) -> NKIPyTensorRef:
    """`value` as a tensor of the active trace; itself if it is one of `dtype`.

    Raises:
        LeakedTracerError: it belongs to another trace.
        TypeError: it is nothing that an array operation can take.
    """
    ctx = get_hlo_context()
    value = as_operand(value)
    if isinstance(value, NKIPyTensorRef) and (dtype is None or value.dtype == dtype):
        if value._ctx is not ctx:
            raise leaked(value)
        return value
    return NKIPyTensorRef._wrap(ctx, as_hlo_tensor(ctx, value, dtype))


def as_base(value: Any) -> NKIPyTensorRef:
    """`value` as a tensor that can have views: itself also if its values are known.

    Raises:
        LeakedTracerError: it belongs to another trace.
        TypeError: it is nothing that an array operation can take.
    """
    if isinstance(value, NKIPyTensorRef) and value._is_known:
        return value
    return as_tensor(value)


def store_out(
    ctx: HLOTraceContext,
    result: HLOInstruction,
    out: Any,
    where: Any = True,
    casting: Any = "same_kind",
) -> NKIPyTensorRef:
    """Store `result` into `out` where `where` holds, as ufuncs do.

    Args:
        out: the tensor to write, or None for a new one, which is zero where `where`
            does not hold (NumPy leaves it uninitialised there).

    Raises:
        TypeError: the cast is not allowed by `casting`, or `out` cannot be written.
        ValueError: `result` does not broadcast to the shape of `out`.
    """
    assert result.dtype is not None
    made = out is None
    if made and where is True:
        return NKIPyTensorRef._wrap(ctx, result)
    if made:
        shape = np.broadcast_shapes(result.shape, np.shape(where))
        out = NKIPyTensorRef._wrap(ctx, ctx.full(shape, 0, result.dtype))
    if not isinstance(out, NKIPyTensorRef):
        raise TypeError(
            "out= must be a traced array: a parameter, the result of an op, or an "
            f"array made inside the kernel, but received {type(out).__name__}"
        )
    if out._ctx is not ctx:
        raise leaked(out)
    if not can_cast(result.dtype, out.dtype, casting):
        raise TypeError(
            f"cannot cast the result from {result.dtype.name} to {out.dtype.name} with "
            f"casting rule '{casting}'"
        )
    if np.broadcast_shapes(result.shape, out.shape) != out.shape:
        raise ValueError(
            f"non-broadcastable output operand with shape {out.shape} doesn't match "
            f"the broadcast shape {result.shape}"
        )
    value = ctx.broadcast_to(ctx.convert(result, out.dtype), out.shape)
    if where is not True:
        mask = as_hlo_tensor(ctx, as_operand(where))
        if mask.dtype != dt.bool_:
            raise TypeError(f"where= must be boolean, but received {mask.dtype}")
        mask = ctx.broadcast_to(mask, out.shape)
        value = ctx.select(mask, value, out.backend_tensor)
    if made:  # without axes, a scalar
        return NKIPyTensorRef._wrap(ctx, value)
    out._assign(value)
    return out
