"""Tensors as a kernel has them: views, and what makes views of views."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from nkipy_nki import access_patterns, gathering, indexing, views
from nkipy_nki.assigning import copy_into
from nkipy_nki.capacity import check_tile, size_problem
from nkipy_nki.dtypes import DTypeRecord, tensor_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.memory import Memory
from nkipy_nki.program import Allocation, Dynamic, View, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, invalid, kernel_line

__all__ = ["NkiTensor", "Shape", "new_tensor"]


class Shape(tuple[int, ...]):
    """Counts of elements along each dimension: a tuple that a list can equal."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is list:
            return list(self) == other
        return tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        if type(other) is list:
            return list(self) != other
        return tuple.__ne__(self, other)

    __hash__ = tuple.__hash__


class _Lease:
    """Held by all views that a kernel has of a tile, whose bytes go with the last one.

    What a program keeps are views of their own.
    """

    __slots__ = ("__weakref__", "_allocation", "_memory")

    def __init__(self, allocation: Allocation, memory: Memory) -> None:
        self._allocation = allocation
        self._memory = memory

    def __del__(self) -> None:
        self._memory.release(self._allocation)


class NkiTensor(View):
    """A tensor, or a view of one: nothing is copied. Views of a subclass are of it.

    On the chip, dimension 0 is that of partitions. It is never moved, split, merged or
    taken away, and a view has at least two dimensions; in HBM, at least one.

    Attributes:
        shape: how many elements there are along each dimension.
        strides: from one element to the next along each, in elements.
        offset: where the first element lies in the tensor, in elements.
        dtype: the element type.
    """

    __slots__ = ("_lease",)

    def __init__(
        self,
        allocation: Allocation,
        dtype: DTypeRecord,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dynamic: Dynamic | None = None,
    ) -> None:
        self.allocation = allocation
        self.dtype = dtype
        self.offset = offset
        self.shape = Shape(shape)
        self.strides = strides
        self.dynamic = dynamic
        self._lease = allocation.lease and allocation.lease()

    # -- what it is --------------------------------------------------------------------
    @property
    def name(self) -> str:
        """What the kernel called the tensor, or ""."""
        return self.allocation.name

    @property
    def buffer(self) -> MemoryRegion:
        """Where the tensor lies."""
        return self.allocation.region

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def data(self) -> NkiTensor:
        """The tensor itself, as that of a grid of tiles is what it selects."""
        return self

    def is_contiguous(self) -> bool:
        """Whether its elements lie side by side, in the order of the indices."""
        return views.is_contiguous(self)

    def is_indirect(self) -> bool:
        """Whether a register, or a tensor's elements, say where it lies."""
        return self.dynamic is not None

    def get_pattern(self) -> list[list[int]]:
        """``[stride, count]`` of each dimension, as :meth:`ap` takes it."""
        return access_patterns.pattern_of(self)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<tensor{name} {list(self.shape)} {self.dtype} in {self.buffer.value}>"

    # -- views -------------------------------------------------------------------------
    def __getitem__(self, given: Any) -> NkiTensor:
        return indexing.index(self, given)

    def __setitem__(self, given: Any, value: Any) -> None:
        copy_into(indexing.index(self, given), value)

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> NkiTensor:
        """The elements ``start:end:step`` of dimension `dim`."""
        return indexing.slice_dim(self, dim, start, end, step)

    def select(self, dim: int, index: Any) -> NkiTensor:
        """One element of dimension `dim`, which goes away.

        Args:
            dim: any dimension; that of partitions stays, with one element.
            index: an int; or a register or a tensor of one integer.
        """
        return indexing.select(self, dim, index)

    def vector_select(self, dim: int, index: Any) -> NkiTensor:
        """Elements of dimension 0 by a tile of indices; in HBM, and once only."""
        return gathering.vector_select(self, dim, index)

    def permute(self, dims: Sequence[int]) -> NkiTensor:
        """The dimensions in the order in which `dims` names them."""
        return views.permute(self, dims)

    def broadcast(self, dim: int, size: int) -> NkiTensor:
        """Dimension `dim`, which has one element, with that `size` times."""
        return views.broadcast(self, dim, size)

    def broadcast_to(self, shape: Sequence[int]) -> NkiTensor:
        """Each dimension of one element as often as `shape`, of equal rank, says."""
        return views.broadcast_to(self, shape)

    def expand_dim(self, dim: int) -> NkiTensor:
        """A new dimension `dim` of one element."""
        return views.expand_dim(self, dim)

    def squeeze_dim(self, dim: int) -> NkiTensor:
        """Without dimension `dim`, which has one element."""
        return views.squeeze_dim(self, dim)

    def reshape_dim(self, dim: int, shape: Sequence[int]) -> NkiTensor:
        """Dimension `dim` as several."""
        return views.reshape_dim(self, dim, shape)

    def flatten_dims(self, start_dim: int, end_dim: int) -> NkiTensor:
        """Dimensions from `start_dim` to `end_dim`, which is among them, as one."""
        return views.flatten_dims(self, start_dim, end_dim)

    def reshape(self, shape: Sequence[int]) -> NkiTensor:
        """Another shape of as many elements; refused if it needs a copy."""
        return views.reshape(self, shape)

    def rearrange(
        self,
        src: Sequence[Any],
        dst: Sequence[Any],
        sizes: Mapping[str, int] | None = None,
    ) -> NkiTensor:
        """Split, order and merge dimensions, which `src` and `dst` name."""
        return views.rearrange(self, src, dst, sizes)

    def view(self, dtype: Any) -> NkiTensor:
        """The same bytes as another element type: the last dimension scales."""
        return views.reinterpret(self, dtype)

    reinterpret_cast = view

    def ap(
        self,
        pattern: Sequence[Sequence[int]],
        offset: int | None = None,
        scalar_offset: Any = None,
        vector_offset: Any = None,
        indirect_dim: int = 0,
        dtype: Any = None,
    ) -> NkiTensor:
        """A view of the tensor's bytes by ``[stride, count]`` of each dimension.

        Args:
            pattern: in elements. On the chip, the first stride is the number of
                elements of a partition.
            offset: in elements, added to where this view begins.
            scalar_offset: a register, or a tensor of one element: the index along
                `indirect_dim` where the pattern begins.
            vector_offset: in HBM, a tile of such indices, one for each index of the
                first dimension, whose stride they replace.
            indirect_dim: a dimension of this tensor.
            dtype: what the bytes are read as.
        """
        return access_patterns.access(
            self, pattern, offset, scalar_offset, vector_offset, indirect_dim, dtype
        )

    def indirect(self, index: Any, num_elem: int | None = None) -> NkiTensor:
        """`num_elem` elements of each partition, by a tile of indices."""
        return gathering.indirect(self, index, num_elem)

    # -- what it is not ----------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse_numpy(ufunc)

    def _refuse_numpy(self, ufunc: Any) -> NoReturn:
        name = getattr(ufunc, "__name__", ufunc)
        self._refuse(f"a tensor is no array: use nl.{name} instead of np.{name}")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("a tensor is no array: its elements are known at run time only")

    def __bool__(self) -> bool:
        way = "its elements are known at run time only; nl.where chooses by them"
        self._refuse(f"a tensor has no truth value: {way}")

    def __len__(self) -> int:
        self._refuse("len() of a tensor: use t.shape[0]")

    def __iter__(self) -> Any:
        self._refuse("a tensor is not iterated over: use for i in range(t.shape[0])")

    def _refuse(self, problem: str) -> NoReturn:
        raise NkiValidationError(f"{problem}; got {self!r}\n  at {kernel_line()}")


#: What is called instead of an operator, by the operator's method.
_INSTEAD = {
    "add": "nl.add or nisa.tensor_tensor",
    "sub": "nl.subtract or nisa.tensor_tensor",
    "mul": "nl.multiply or nisa.tensor_tensor",
    "truediv": "nl.divide, or nisa.reciprocal and nl.multiply",
    "floordiv": "nl.divide and nl.floor",
    "mod": "nl.mod",
    "pow": "nl.power",
    "matmul": "nisa.nc_matmul",
    "and": "nl.bitwise_and",
    "or": "nl.bitwise_or",
    "xor": "nl.bitwise_xor",
    "lshift": "nl.left_shift",
    "rshift": "nl.right_shift",
    "lt": "nl.less",
    "le": "nl.less_equal",
    "gt": "nl.greater",
    "ge": "nl.greater_equal",
    "neg": "nl.negative",
    "abs": "nl.abs",
    "invert": "nl.invert",
    "float": "nisa.register_load",
    "int": "nisa.register_load",
}
_COMPARISONS = {"lt", "le", "gt", "ge"}
_OF_ONE = {"neg", "abs", "invert", "float", "int"}


def _add_refusals() -> None:
    """Give the class a method for each operator, which says what to call."""
    for name, instead in _INSTEAD.items():
        kinds = ("",) if name in _COMPARISONS | _OF_ONE else ("", "r", "i")
        for kind in kinds:
            method = f"__{kind}{name}__"
            setattr(NkiTensor, method, _refusal(method, instead))


def _refusal(method: str, instead: str) -> Any:
    def refuse(self: NkiTensor, *others: Any) -> NoReturn:
        self._refuse(f"a tensor has no {method}: use {instead}")

    refuse.__name__ = method
    return refuse


_add_refusals()


def as_tensor(view: View) -> NkiTensor:
    """A view as a kernel has it."""
    return NkiTensor(
        view.allocation, view.dtype, view.offset, view.shape, view.strides, view.dynamic
    )


def new_tensor(
    shape: Any, dtype: Any, region: MemoryRegion, name: str = "", address: Any = None
) -> NkiTensor:
    """A new tensor of the current run."""
    return place_tensor(
        shape, dtype, region, name=name, line=kernel_line(), address=address
    )


def _require_shape(shape: Any, region: Any) -> tuple[int, ...]:
    """The shape that a tensor can have.

    Raises:
        NkiValidationError: it has none, has no elements, or lies nowhere.
    """
    if not isinstance(region, MemoryRegion):
        raise invalid(
            f"buffer is {region!r}, and must be nl.sbuf, nl.psum, nl.shared_hbm or "
            "nl.private_hbm"
        )
    if isinstance(shape, np.ndarray):
        shape = tuple(shape.tolist()) if shape.ndim else shape.item()
    counts = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not counts:
        raise invalid(
            "a tensor's shape is (), and must have a dimension: a number is none, and "
            "an array of one element is of the shape (1,)"
        )
    if not all(_is_count(count) for count in counts):
        raise invalid(f"a tensor's shape is {shape!r}, and must be of whole numbers")
    sizes = tuple(map(int, counts))
    if 0 in sizes:
        raise invalid(
            f"a tensor's shape is {list(sizes)}, and must be of positive numbers: a "
            "tensor has elements"
        )
    if region.is_on_chip and len(sizes) < 2:
        raise invalid(
            f"a tensor in {region.value} has the shape {list(sizes)}, and must have "
            "two dimensions at least: partitions, and elements in each"
        )
    return sizes


def _require_address(address: Any, region: MemoryRegion) -> None:
    """Refuse what is no place on the chip.

    Raises:
        NkiValidationError: so it is.
    """
    if address is None:
        return
    if not region.is_on_chip:
        raise invalid(f"address is {address!r}, and a tensor in HBM can have none")
    if (
        isinstance(address, (tuple, list))
        and len(address) == 2
        and all(map(_is_count, address))
    ):
        return
    raise invalid(
        f"address is {address!r}, and must be a partition and a byte in it, from 0 on"
    )


def _is_count(value: Any) -> bool:
    if isinstance(value, bool) or hasattr(value, "register"):
        return False
    return hasattr(value, "__index__") and value >= 0


def place_tensor(
    shape: Any, dtype: Any, region: MemoryRegion, **fields: Any
) -> NkiTensor:
    """A new tensor of the current run, with other fields of its allocation."""
    run = current("nl.ndarray")
    counts = _require_shape(shape, region)
    _require_address(fields.get("address"), region)
    made = run.allocate(
        region=region,
        shape=counts,
        dtype=tensor_dtype(dtype, counts, precise=run.precise),
        **fields,
    )
    if region.is_on_chip:
        check_tile(made, run.chip, run.findings)
    if problem := size_problem(made, run.chip):
        raise invalid(problem)
    if region.is_on_chip and run.machine is not None:
        lease = _Lease(made, run.machine.memory)
        made.lease = weakref.ref(lease)
    return as_tensor(whole(made))
