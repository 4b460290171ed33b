"""A module under construction: what lowerings build with.

Methods take care of padding: what combines elements along a dimension masks first, and
what cannot tell where the data is raises :class:`NeedsExactSize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOModule
from spike_torch.lowering import expressions, scalars
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import (
    ONE,
    Dim,
    merged,
    prefix,
    reshaped,
)
from spike_torch.lowering.dtypes import accumulating, hlo_dtype
from spike_torch.lowering.errors import NeedsExactSize, Unsupported
from spike_torch.lowering.sizes import Size, Sizes, is_static, product

#: What torch takes for a number: an expression stands for a SymInt or SymFloat.
Number: TypeAlias = "bool | int | float | Any"


#: The name of the program's input of actual sizes, s32[k], if it has one: after those
#: of tensors.
SIZES = "sizes"


@dataclass(frozen=True)
class Result:
    """What torch says that an operation returns: dtype and sizes of one tensor."""

    dtype: torch.dtype
    sizes: tuple[Size, ...]


class Graph:
    """A module under construction.

    Args:
        name: the module's.
        sizes: symbols and buckets; a program of static sizes has none.
        seeded: whether who calls the program gives a seed, if it has the input of one.

    Attributes:
        module: the module.
        b: the builder at its end.
        sizes: symbols and buckets.
        masks: what was done about padding: sizes, and the number put in its place.
        compiler_args: what operations want the compiler to be told.
        notes: what lowerings say of their choices, for people.
        results: what the operation that is being lowered returns, tensor by tensor.
    """

    def __init__(
        self, name: str = "main", sizes: Sizes | None = None, seeded: bool = False
    ) -> None:
        self.seeded = seeded
        self.seed: Value | None = None
        self.draws = 0
        self.module = HLOModule(name)
        self.b = HLOBuilder(self.module.entry)
        self.sizes = sizes or Sizes()
        self.masks: list[tuple[Size, Number]] = []
        self.compiler_args: list[str] = []
        self.notes: list[str] = []
        self.results: tuple[Result, ...] = ()
        self._size_values: Value | None = None
        self._numbers: dict[Any, Value] = {}

    @property
    def result(self) -> Result:
        """What the operation returns, if that is one tensor."""
        (only,) = self.results
        return only

    @contextmanager
    def lowering(self, results: Sequence[Result]) -> Iterator[None]:
        """While an operation is lowered that returns these."""
        before, self.results = self.results, tuple(results)
        try:
            yield
        finally:
            self.results = before

    # -- dimensions ------------------------------------------------------------------
    def dim(self, size: Size) -> Dim:
        """A dimension of a size, its data first."""
        size = self.sizes.of(size)
        return prefix(size, self.sizes.padded(size))

    def dims(self, sizes: Sequence[Size]) -> tuple[Dim, ...]:
        return tuple(self.dim(size) for size in sizes)

    def axis(self, x: Array, dim: int) -> int:
        """A dimension's number, counted from the first. Of a scalar there is 0."""
        return dim % max(x.ndim, 1)

    def axes(self, x: Array, dim: Any) -> tuple[int, ...]:
        """Numbers of dimensions; all of them for None or an empty list."""
        if dim is None or (not isinstance(dim, int) and not len(dim)):
            return tuple(range(x.ndim))
        found = (dim,) if isinstance(dim, int) else dim
        return tuple(self.axis(x, d) for d in found if x.ndim)

    def require_exact(self, x: Array, reason: str, axes: Sequence[int] = ()) -> None:
        """Refuse padding in these dimensions; in all, without any named.

        Raises:
            NeedsExactSize: there is some. `reason` follows the operation's name.
        """
        dims = [x.dims[a] for a in axes] if axes else x.dims
        padded = [d.size for d in dims if d.is_padded]
        if padded:
            raise NeedsExactSize(reason, *padded)

    def require_prefix(self, x: Array, reason: str, axes: Sequence[int]) -> None:
        """Refuse dimensions with padding between what counts.

        Raises:
            NeedsExactSize: there is such a dimension.
        """
        bad = [x.dims[a].size for a in axes if not x.dims[a].is_prefix]
        if bad:
            raise NeedsExactSize(reason, *bad)

    def require_same(self, one: Sequence[Dim], other: Sequence[Dim]) -> None:
        """Refuse dimensions of the same sizes whose data lies differently.

        Raises:
            NeedsExactSize: there are such.
        """
        for own, wanted in zip(one, other, strict=True):
            if own != wanted:
                raise _differ(own, wanted)

    # -- numbers ---------------------------------------------------------------------
    def number(self, value: Number, dtype: torch.dtype) -> Array:
        """A 0-d array of a Python number, or of an expression of symbols."""
        if isinstance(value, complex):
            raise Unsupported("has a complex number, which cores do not compute with")
        if not isinstance(value, (bool, int, float)):
            value = self.sizes.of(value)
        if isinstance(value, (bool, int, float)):
            return Array(scalars.constant(self.b, value, hlo_dtype(dtype)), ())
        made = hlo_dtype(dtype)
        is_wide = made == dt.int64 or dtype.is_floating_point
        return Array(self.b.convert(self._value(value, is_wide), made), ())

    def size(self, size: Size) -> Value:
        """A size as a scalar: s32, as the program's input has them; f32 if no int."""
        size = self.sizes.of(size)
        if is_static(size):
            return self.b.scalar(size, dt.int32)
        if isinstance(size, float):  # of exact sizes
            return self.b.scalar(size, dt.float32)
        return self._value(size)

    def _value(self, size: Size, may_be_wide: bool = False) -> Value:
        """An expression as a scalar: s32, if that may be and is needed s64."""
        buckets = self.sizes.buckets
        is_wide = may_be_wide and not expressions.fits(size, buckets, dt.int32)
        dtype = dt.int64 if is_wide else dt.int32
        found = self._numbers.get((size, dtype))
        if found is None:
            expressions.require_fitting(size, buckets, dtype)
            found = expressions.expression(self.b, size, self._symbol, dtype)
            self._numbers[size, dtype] = found
        return found

    def _symbol(self, symbol: Any) -> Value:
        place = self.sizes.places.get(symbol)
        if place is None:
            raise Unsupported(f"depends on {symbol}, which is no size of an input")
        if self._size_values is None:
            shape = (len(self.sizes.places),)
            self._size_values = self.module.add_parameter(shape, dt.int32, SIZES)
        part = self.b.slice(self._size_values, (place,), (place + 1,))
        return self.b.reshape(part, ())

    def full(
        self, sizes: Sequence[Size] | tuple[Dim, ...], value: Number, dtype: torch.dtype
    ) -> Array:
        """The same number everywhere, padding included."""
        dims = self._as_dims(sizes)
        return self.expand(self.number(value, dtype), dims)

    def _as_dims(self, sizes: Sequence[Any]) -> tuple[Dim, ...]:
        return tuple(s if isinstance(s, Dim) else self.dim(s) for s in sizes)

    # -- element by element ----------------------------------------------------------
    def convert(self, x: Array, dtype: torch.dtype) -> Array:
        """The array in another dtype, as torch converts: floats to integers are cut."""
        if x.dtype == dtype:
            return x
        return Array(scalars.convert(self.b, x.value, hlo_dtype(dtype)), x.dims)

    def operand(self, x: Array | Number, dtype: torch.dtype) -> Array:
        """An argument that may be a number, in a dtype."""
        return self.convert(x, dtype) if isinstance(x, Array) else self.number(x, dtype)

    def unary(self, opcode: str, x: Array) -> Array:
        return Array(self.b.unary(opcode, x.value), x.dims)

    def binary(self, opcode: str, x: Array, y: Array) -> Array:
        """Of two arrays of one dtype, which are broadcast to each other."""
        x, y = self.broadcast(x, y)
        return Array(self.b.binary(opcode, x.value, y.value), x.dims)

    def compare(self, x: Array, y: Array, direction: str) -> Array:
        """Booleans. `direction` is EQ, NE, LT, LE, GT or GE."""
        x, y = self.broadcast(x, y)
        return Array(self.b.compare(x.value, y.value, direction), x.dims)

    def select(self, where: Array, x: Array, y: Array) -> Array:
        """`x` where `where` holds, else `y`; all are broadcast to each other."""
        where, x, y = self.broadcast(where, x, y)
        return Array(self.b.select(where.value, x.value, y.value), x.dims)

    def elementwise(self, make: Callable[..., Value], *xs: Array) -> Array:
        """What `make(b, *values)` makes of arrays that are broadcast to each other."""
        xs = self.broadcast(*xs)
        return Array(make(self.b, *(x.value for x in xs)), xs[0].dims)

    # -- shapes ----------------------------------------------------------------------
    def broadcast(self, *xs: Array) -> tuple[Array, ...]:
        """The arrays in the shape that all of them are broadcast to.

        Raises:
            NeedsExactSize: dimensions of one size have their data in other places.
        """
        if len({x.dims for x in xs}) == 1:
            return xs
        dims: list[Dim] = []
        for back in range(1, max(x.ndim for x in xs) + 1):
            found = ONE
            for x in xs:
                if back <= x.ndim:
                    found = self._merged(found, x.dims[-back])
            dims.insert(0, found)
        return tuple(self.expand(x, tuple(dims)) for x in xs)

    def _merged(self, one: Dim, other: Dim) -> Dim:
        both = merged(one, other)
        if both is None:
            raise _differ(one, other)
        return both

    def expand(self, x: Array, dims: tuple[Dim, ...]) -> Array:
        """The array broadcast to these dimensions, aligned at the last."""
        if x.dims == dims:
            return x
        for own, wanted in zip(reversed(x.dims), reversed(dims)):
            if self._merged(own, wanted) != wanted:
                raise ValueError(f"cannot broadcast {x.dims} to {dims}")
        shape = tuple(d.padded for d in dims)
        return Array(self.b.broadcast_to(x.value, shape), dims)

    def reshape(self, x: Array, sizes: Sequence[Size]) -> Array:
        """The elements in their order, in another shape.

        Raises:
            NeedsExactSize: the data would not be where a program can tell.
        """
        sizes = [self.sizes.of(size) for size in sizes]
        return self.with_dims(x, reshaped(x.dims, sizes))

    def with_dims(self, x: Array, dims: tuple[Dim, ...]) -> Array:
        """The elements in their order, with dimensions that have them all."""
        return Array(self.b.reshape(x.value, tuple(d.padded for d in dims)), dims)

    def insert_ones(self, x: Array, axes: Sequence[int]) -> Array:
        """New dimensions of size 1 at these places of the result."""
        dims = list(x.dims)
        for axis in sorted(axes):
            dims.insert(axis, ONE)
        return self.with_dims(x, tuple(dims))

    def drop_ones(self, x: Array, axes: Sequence[int]) -> Array:
        """Without these dimensions, which have size 1."""
        dims = [d for a, d in enumerate(x.dims) if a not in axes]
        return self.with_dims(x, tuple(dims))

    def transpose(self, x: Array, permutation: Sequence[int]) -> Array:
        """Dimension `i` of the result is dimension ``permutation[i]``."""
        dims = tuple(x.dims[p] for p in permutation)
        value = x.value
        if value.opcode == "transpose":  # of what that one permutes
            (value,), before = value.operands, value.attributes["dimensions"]
            permutation = [before[p] for p in permutation]
        return Array(self.b.transpose(value, permutation), dims)

    def moved(self, x: Array, axis: int, to: int) -> Array:
        """With a dimension moved to another place."""
        order = [a for a in range(x.ndim) if a != axis]
        order.insert(to, axis)
        return self.transpose(x, order)

    def iota(self, dims: tuple[Dim, ...], axis: int, dtype: torch.dtype) -> Array:
        """The place of each element along a dimension, padding not counted.

        Of a dimension of several factors, that is the place among what counts.
        """
        own = self._places(dims[axis])
        value = self.b.convert(own, hlo_dtype(dtype))
        shape = tuple(d.padded for d in dims)
        return Array(self.b.broadcast_in_dim(value, shape, (axis,)), dims)

    def _places(self, dim: Dim) -> Value:
        """s32[padded]: the place of each element that counts."""
        if dim.is_prefix:
            return self.b.iota((dim.padded,), 0)
        shape = tuple(f.padded for f in dim.factors)
        total = self.b.full(shape, 0, dt.int32)
        for i in range(len(dim.factors)):
            stride = self.size(product(f.size for f in dim.factors[i + 1 :]))
            step = self.b.broadcast_to(stride, shape)
            total = self.b.add(total, self.b.multiply(self.b.iota(shape, i), step))
        return self.b.reshape(total, (dim.padded,))

    # -- padding ---------------------------------------------------------------------
    def valid(self, dims: tuple[Dim, ...], axes: Sequence[int]) -> Array | None:
        """Booleans: where data is along these dimensions; None if it is everywhere."""
        shape = tuple(d.padded for d in dims)
        found: Value | None = None
        for axis in axes:
            if dims[axis].is_padded:
                own = self._valid_along(dims[axis])
                wide = self.b.broadcast_in_dim(own, shape, (axis,))
                found = wide if found is None else self.b.and_(found, wide)
        return None if found is None else Array(found, dims)

    def _valid_along(self, dim: Dim) -> Value:
        shape = tuple(f.padded for f in dim.factors)
        found: Value | None = None
        for i, factor in enumerate(dim.factors):
            if factor.is_padded:
                size = self.b.broadcast_to(self.size(factor.size), shape)
                inside = self.b.compare(self.b.iota(shape, i), size, "LT")
                found = inside if found is None else self.b.and_(found, inside)
        assert found is not None
        return self.b.reshape(found, (dim.padded,))

    def masked(self, x: Array, axes: Sequence[int], value: Number) -> Array:
        """The array with a number in place of padding along these dimensions."""
        where = self.valid(x.dims, axes)
        if where is None:
            return x
        padded = (x.dims[a] for a in axes if x.dims[a].is_padded)
        self.masks += ((dim.size, value) for dim in padded)
        return self.select(where, x, self.number(value, x.dtype))

    def count(self, x: Array, axes: Sequence[int]) -> Size:
        """How many elements count along these dimensions together."""
        return product(x.dims[a].size for a in axes)

    # -- what combines elements ------------------------------------------------------
    def reduce(
        self,
        x: Array,
        opcode: str,
        identity: Any,
        axes: Sequence[int],
        keepdim: bool = False,
    ) -> Array:
        """Elements combined along dimensions, without padding."""
        if not axes:
            return x
        x = self.masked(x, axes, identity)
        dims = tuple(d for a, d in enumerate(x.dims) if a not in axes)
        made = Array(self.b.reduce(x.value, opcode, identity, tuple(axes)), dims)
        return self.insert_ones(made, axes) if keepdim else made

    def sum(self, x: Array, axes: Sequence[int], keepdim: bool = False) -> Array:
        return self.reduce(x, "add", 0, axes, keepdim)

    def maximum(self, x: Array, axes: Sequence[int], keepdim: bool = False) -> Array:
        """The greatest along dimensions; NaN if there is one."""
        lowest = dt.lowest(x.hlo_dtype)
        return self.reduce(x, "maximum", lowest, axes, keepdim)

    def minimum(self, x: Array, axes: Sequence[int], keepdim: bool = False) -> Array:
        """The least along dimensions; NaN if there is one."""
        highest = dt.highest(x.hlo_dtype)
        return self.reduce(x, "minimum", highest, axes, keepdim)

    def dot(
        self,
        x: Array,
        y: Array,
        contract: tuple[Sequence[int], Sequence[int]],
        batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
        dtype: torch.dtype | None = None,
    ) -> Array:
        """General dot: batch dimensions, then free ones of `x`, then those of `y`.

        Narrow floats are accumulated in float32 and rounded once, to `dtype`, which is
        that of `x` unless given.
        """
        for own, other in (*zip(*contract), *zip(*batch)):
            self._merged(x.dims[own], y.dims[other])
        x = self.masked(x, contract[0], 0)
        y = self.masked(y, contract[1], 0)  # 0 times NaN would be NaN
        dims = [x.dims[a] for a in batch[0]]
        for array, used in ((x, (contract[0], batch[0])), (y, (contract[1], batch[1]))):
            gone = {a for axes in used for a in axes}
            dims += [d for a, d in enumerate(array.dims) if a not in gone]
        wide = hlo_dtype(accumulating(x.dtype))
        value = self.b.dot(x.value, y.value, contract, batch, wide)
        return Array(self.b.convert(value, hlo_dtype(dtype or x.dtype)), tuple(dims))


def _differ(one: Dim, other: Dim) -> NeedsExactSize:
    reason = "combines arrays that lie differently in their buckets"
    return NeedsExactSize(reason, one.size, other.size)
