"""Appends instructions to a computation, inferring their shapes.

A method takes operands whose shapes and dtypes already agree, as HLO demands; NumPy's
broadcasting and promotion are the caller's affair. What a method cannot express is an
error of who calls it, never silently something else: the verifier recomputes every
shape from the operands before anything reads the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.arguments import expect, explained_methods
from nkipy.hlo.array_classes import other_meaning
from nkipy.hlo.errors import HLOArgumentError, HLOArgumentValueError
from nkipy.hlo.instruction import (
    NO_ATTRIBUTES,
    Form,
    HLOComputation,
    HLOInstruction,
    Shape,
    SourceLocation,
    fixed_copy,
    instruction_of,
)

Value = HLOInstruction
Dims = Sequence[int]

_MAPPINGS = (MappingProxyType, dict)
_SMALL_LITERAL_BYTES = 4096
_PROBES = 64


@explained_methods
class HLOBuilder:
    """Builds instructions at the end of one computation.

    Args:
        computation: where instructions go.
        parent: the builder of the calling computation. Comparators are shared with it.

    Attributes:
        current_source_location: where the next instructions come from, if known.
        append: appends an instruction that was made elsewhere.
        broadcasts: results of :meth:`broadcast_to`, by id of the operand and shape.
    """

    def __init__(
        self, computation: HLOComputation, parent: HLOBuilder | None = None
    ) -> None:
        expect(computation, HLOComputation, "HLOBuilder", "computation")
        expect(parent, HLOBuilder | None, "HLOBuilder", "parent")
        computation.refuse_if_fixed()
        self.computation = computation
        self.current_source_location: SourceLocation | None = None
        self.append = computation.instructions.append
        self._constants: dict[Any, Value] = {}
        self._large: dict[Any, list[Value]] = {}
        self.broadcasts: dict[Any, Value] = {}
        self._reducers: dict[tuple[str, np.dtype], HLOComputation]
        self._reducers = parent._reducers if parent is not None else {}

    @contextmanager
    def at(self, location: tuple[str, int] | None) -> Iterator[None]:
        """Attribute what is built inside a ``with`` statement to a line of a file.

        Args:
            location: file name and line, as a :class:`SourceLocation` or a plain pair;
                None for no line. The location from before returns afterwards.
        """
        expect(location, tuple[str, int] | None, "at", "location")
        before = self.current_source_location
        self.current_source_location = location and SourceLocation(*location)
        try:
            yield
        finally:
            self.current_source_location = before

    # -- the primitive ---------------------------------------------------------------
    def emit(
        self,
        opcode: str,
        operands: tuple[Value, ...],
        shape: tuple[int, ...],
        dtype: np.dtype | None,
        attributes: Mapping[str, Any] = NO_ATTRIBUTES,
        tuple_shapes: tuple[Shape, ...] | None = None,
    ) -> Value:
        """Append one instruction with a given, normalised result shape.

        Raises:
            HLOArgumentError: the opcode is no text, an operand no instruction, or the
                attributes are no mapping.
        """
        if type(opcode) is not str:
            expect(opcode, str, "emit", "opcode")
        for operand in operands:
            if not isinstance(operand, HLOInstruction):
                expect(operand, HLOInstruction, opcode, "operand")
        if type(attributes) not in _MAPPINGS:
            expect(attributes, Mapping, "emit", "attributes")
        inst = HLOInstruction(
            opcode,
            operands,
            shape,
            dtype,
            attributes,
            self.current_source_location,
            tuple_shapes,
        )
        self.append(inst)
        return inst

    def place(self, form: Form, operands: tuple[Value, ...]) -> Value:
        """Append an instruction of a form, whose operands fit it."""
        inst = instruction_of(form, operands, self.current_source_location)
        self.append(inst)
        return inst

    # -- constants -------------------------------------------------------------------
    def constant(self, value: Any, dtype: np.dtype | None = None) -> Value:
        """A constant holding a copy of `value`; identical constants are one.

        An array of one repeated value becomes a scalar and a broadcast.

        Raises:
            HLOArgumentError: its class computes otherwise than an ndarray does.
        """
        array = value
        if type(value) is not np.ndarray or dtype is not None:
            problem = other_meaning(value)
            if problem is not None:
                raise HLOArgumentError(f"a constant's value {problem}")
            array = np.asarray(value, dtype=dtype)
        if array.nbytes > _SMALL_LITERAL_BYTES:
            return self._large_constant(array)
        key = array.dtype, array.shape, array.tobytes()
        found = self._constants.get(key)
        if found is None:
            if array.size > 1 and _is_uniform(array):
                found = self.full(array.shape, array.flat[0], array.dtype)
            else:
                found = self._literal(array)
            self._constants[key] = found
        return found

    def _large_constant(self, array: np.ndarray) -> Value:
        """A constant that is compared with those like it: a digest takes longer."""
        if _is_uniform(array):
            return self.full(array.shape, array.flat[0], array.dtype)
        words = _words(np.ascontiguousarray(array))
        probe = words[:: max(1, words.size // _PROBES)].tobytes()
        alike = self._large.setdefault((array.dtype, array.shape, probe), [])
        for found in alike:
            if np.array_equal(_words(found.attributes["literal"]), words):
                return found
        alike.append(self._literal(array))
        return alike[-1]

    def _literal(self, array: np.ndarray) -> Value:
        literal = fixed_copy(array)
        attributes = {"literal": literal}
        return self.emit("constant", (), literal.shape, literal.dtype, attributes)

    def scalar(self, value: Any, dtype: np.dtype) -> Value:
        """A 0-d constant.

        Raises:
            OverflowError: an integer dtype does not have `value`, or it is finite, and
                would be NaN in a float that has no infinity.
        """
        # 0.0 and -0.0 are equal keys but different constants.
        key = (dtype, type(value), value if value else str(value))
        found = self._constants.get(key)
        if found is None:
            found = self.constant(dt.literal(value, dtype))
            self._constants[key] = found
        return found

    def full(self, shape: Dims, value: Any, dtype: np.dtype) -> Value:
        """`value` everywhere: a scalar constant and, unless 0-d, a broadcast."""
        return self.broadcast_to(self.scalar(value, dtype), shape)

    def full_like(self, x: Value, value: Any) -> Value:
        """`value` everywhere, in the shape and dtype of `x`."""
        assert x.dtype is not None
        return self.full(x.shape, value, x.dtype)

    def iota(self, shape: Dims, dimension: int, dtype: np.dtype = dt.int32) -> Value:
        """The index along `dimension`, at every position of `shape`."""
        return self.emit(
            "iota", (), tuple(shape), dtype, {"iota_dimension": int(dimension)}
        )

    # -- element-wise ----------------------------------------------------------------
    def unary(self, opcode: str, x: Value) -> Value:
        """`opcode` of `x`; the result has the shape and dtype of `x`."""
        return self.emit(opcode, (x,), x.shape, x.dtype)

    def binary(self, opcode: str, x: Value, y: Value) -> Value:
        """`opcode` of two values of one shape and dtype."""
        return self.emit(opcode, (x, y), x.shape, x.dtype)

    def add(self, x: Value, y: Value) -> Value:
        """``x + y``, of one shape and dtype."""
        return self.emit("add", (x, y), x.shape, x.dtype)

    def subtract(self, x: Value, y: Value) -> Value:
        """``x - y``, of one shape and dtype."""
        return self.emit("subtract", (x, y), x.shape, x.dtype)

    def multiply(self, x: Value, y: Value) -> Value:
        """``x * y``, of one shape and dtype."""
        return self.emit("multiply", (x, y), x.shape, x.dtype)

    def divide(self, x: Value, y: Value) -> Value:
        """``x / y``, of one shape and dtype; of integers, towards zero."""
        return self.emit("divide", (x, y), x.shape, x.dtype)

    def maximum(self, x: Value, y: Value) -> Value:
        """The greater of each pair, of one shape and dtype; NaN if either is."""
        return self.emit("maximum", (x, y), x.shape, x.dtype)

    def minimum(self, x: Value, y: Value) -> Value:
        """The lesser of each pair, of one shape and dtype; NaN if either is."""
        return self.emit("minimum", (x, y), x.shape, x.dtype)

    def and_(self, x: Value, y: Value) -> Value:
        """Bitwise and of two values of one shape and dtype, boolean or integer."""
        return self.emit("and", (x, y), x.shape, x.dtype)

    def or_(self, x: Value, y: Value) -> Value:
        """Bitwise or of two values of one shape and dtype, boolean or integer."""
        return self.emit("or", (x, y), x.shape, x.dtype)

    def xor(self, x: Value, y: Value) -> Value:
        """Bitwise exclusive or of two values of one shape and dtype, no floats."""
        return self.emit("xor", (x, y), x.shape, x.dtype)

    def not_(self, x: Value) -> Value:
        """The bits of `x`, boolean or integer, inverted."""
        return self.emit("not", (x,), x.shape, x.dtype)

    def negate(self, x: Value) -> Value:
        """``-x``, in the shape and dtype of `x`."""
        return self.emit("negate", (x,), x.shape, x.dtype)

    def compare(self, x: Value, y: Value, direction: str) -> Value:
        """Booleans, of `x` and `y` of one shape and dtype.

        `direction` is EQ, NE, LT, LE, GT or GE.
        """
        attributes = _COMPARE.get(direction)
        if attributes is None:
            raise HLOArgumentValueError(
                f"compare() takes one of {', '.join(_COMPARE)} for 'direction', but "
                f"received {direction!r}"
            )
        return self.emit("compare", (x, y), x.shape, dt.bool_, attributes)

    def select(self, predicate: Value, x: Value, y: Value) -> Value:
        """`x` where `predicate` (of the same shape) holds, else `y`."""
        return self.emit("select", (predicate, x, y), x.shape, x.dtype)

    def clamp(self, low: Value, x: Value, high: Value) -> Value:
        return self.emit("clamp", (low, x, high), x.shape, x.dtype)

    def convert(self, x: Value, dtype: np.dtype) -> Value:
        """`x` in `dtype`, by HLO's rules: to pred is ``!= 0``; itself if unchanged."""
        if x.dtype == dtype:
            return x
        if dtype == dt.bool_:
            return self.compare(x, self.full_like(x, 0), "NE")
        return self.emit("convert", (x,), x.shape, dtype)

    def bitcast_convert(self, x: Value, dtype: np.dtype) -> Value:
        """The bits of `x` read as `dtype`, which has the same width."""
        if x.dtype == dtype:
            return x
        return self.emit("bitcast-convert", (x,), x.shape, dtype)

    # -- shape -----------------------------------------------------------------------
    def reshape(self, x: Value, shape: Dims) -> Value:
        """The elements of `x`, in C order, in a shape of as many."""
        shape = tuple(shape)
        if shape == x.shape:
            return x
        return self.emit("reshape", (x,), shape, x.dtype)

    def transpose(self, x: Value, permutation: Dims) -> Value:
        """Result dimension `i` is dimension ``permutation[i]`` of `x`."""
        permutation = tuple(permutation)
        if permutation == tuple(range(x.ndim)):
            return x
        shape = tuple(x.shape[p] for p in permutation)
        return self.emit("transpose", (x,), shape, x.dtype, {"dimensions": permutation})

    def broadcast_in_dim(self, x: Value, shape: Dims, dimensions: Dims) -> Value:
        """Operand dimension `i` becomes result dimension ``dimensions[i]``."""
        attributes = {"dimensions": tuple(dimensions)}
        return self.emit("broadcast", (x,), tuple(shape), x.dtype, attributes)

    def broadcast_to(self, x: Value, shape: Dims) -> Value:
        """`x` broadcast to `shape` by NumPy's rule, whose holding is the caller's."""
        shape = tuple(shape)
        if x.shape == shape:
            return x
        key = (id(x), shape)  # x stays alive: it is in the computation
        found = self.broadcasts.get(key)
        if found is None:
            found = self.broadcasts[key] = self._broadcast(x, shape)
        return found

    def _broadcast(self, x: Value, shape: tuple[int, ...]) -> Value:
        for form in broadcast_forms(x.shape, x.dtype, shape):
            x = self.place(form, (x,))
        return x

    def expand_dims(self, x: Value, axes: Sequence[int]) -> Value:
        """New dimensions of size one at the given positions of the result."""
        shape = list(x.shape)
        for axis in sorted(axes):
            shape.insert(axis, 1)
        return self.reshape(x, shape)

    def concatenate(self, values: Sequence[Value], dimension: int) -> Value:
        """One or more values of one dtype, end to end along `dimension`."""
        if len(values) == 1:
            return values[0]
        shape = list(values[0].shape)
        shape[dimension] = sum(v.shape[dimension] for v in values)
        attributes = {"dimension": int(dimension)}
        return self.emit(
            "concatenate", tuple(values), tuple(shape), values[0].dtype, attributes
        )

    def slice(
        self, x: Value, starts: Dims, limits: Dims, strides: Dims | None = None
    ) -> Value:
        """``x[start:limit:stride, ...]`` with static, positive bounds and strides."""
        strides = tuple(strides) if strides is not None else (1,) * x.ndim
        starts, limits = tuple(starts), tuple(limits)
        shape = tuple(
            max(0, -(-(hi - lo) // step))
            for lo, hi, step in zip(starts, limits, strides)
        )
        if shape == x.shape:
            return x
        attributes = {"starts": starts, "limits": limits, "strides": strides}
        return self.emit("slice", (x,), shape, x.dtype, attributes)

    def slice_dim(
        self, x: Value, dimension: int, start: int, limit: int, stride: int = 1
    ) -> Value:
        """A slice along one dimension."""
        starts, limits, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
        starts[dimension], limits[dimension], strides[dimension] = start, limit, stride
        return self.slice(x, starts, limits, strides)

    def reverse(self, x: Value, dimensions: Dims) -> Value:
        """`x` with the order of elements reversed along `dimensions`."""
        if not dimensions:
            return x
        attributes = {"dimensions": tuple(dimensions)}
        return self.emit("reverse", (x,), x.shape, x.dtype, attributes)

    def pad(self, x: Value, value: Value, padding: Sequence[Dims]) -> Value:
        """(low, high, interior) padding per dimension; negative low or high trims.

        What is trimmed is sliced off afterwards: XLA's CPU compiler has no negative
        padding, and leaves it in some programs.
        """
        config = tuple((int(lo), int(hi), int(mid)) for lo, hi, mid in padding)
        if any(lo < 0 or hi < 0 for lo, hi, _ in config):
            wider = [(max(lo, 0), max(hi, 0), mid) for lo, hi, mid in config]
            made = self.pad(x, value, wider)
            starts = [max(-lo, 0) for lo, _, _ in config]
            ends = [d + min(hi, 0) for d, (_, hi, _) in zip(made.shape, config)]
            return self.slice(made, starts, ends)
        shape = tuple(
            lo + hi + d + max(0, d - 1) * mid
            for d, (lo, hi, mid) in zip(x.shape, config)
        )
        return self.emit("pad", (x, value), shape, x.dtype, {"padding": config})

    def dynamic_slice(self, x: Value, starts: Sequence[Value], sizes: Dims) -> Value:
        """`sizes` elements from traced scalar `starts`, which XLA clamps in range."""
        sizes = tuple(sizes)
        attributes = {"dynamic_slice_sizes": sizes}
        return self.emit("dynamic-slice", (x, *starts), sizes, x.dtype, attributes)

    def dynamic_update_slice(
        self, x: Value, update: Value, starts: Sequence[Value]
    ) -> Value:
        """`x` with `update` written at scalar `starts`, which XLA clamps in range."""
        operands = (x, update, *starts)
        return self.emit("dynamic-update-slice", operands, x.shape, x.dtype)

    # -- computations ----------------------------------------------------------------
    def reducer(self, opcode: str, dtype: np.dtype) -> HLOComputation:
        """The two-scalar computation of `opcode`, or ``assign``: the right operand.

        It is fixed, and the same in all modules.
        """
        return _reducers.get((opcode, dtype)) or _make_reducer(opcode, dtype)

    def reduce(self, x: Value, opcode: str, init: Any, dimensions: Dims) -> Value:
        """Combine `x` over `dimensions` with `opcode`, starting from scalar `init`."""
        if not dimensions:
            return x
        assert x.dtype is not None
        start = init if isinstance(init, HLOInstruction) else self.scalar(init, x.dtype)
        gone = frozenset(dimensions)
        shape = tuple([d for i, d in enumerate(x.shape) if i not in gone])
        attributes = {
            "dimensions": tuple(dimensions),
            "to_apply": self.reducer(opcode, x.dtype),
        }
        return self.emit("reduce", (x, start), shape, x.dtype, attributes)

    def dot(
        self,
        x: Value,
        y: Value,
        contract: tuple[Dims, Dims],
        batch: tuple[Dims, Dims] = ((), ()),
        dtype: np.dtype | None = None,
    ) -> Value:
        """General dot: batch dimensions, then free ones of `x`, then those of `y`."""
        (xc, yc), (xb, yb) = contract, batch
        shape = [x.shape[i] for i in xb]
        shape += [d for i, d in enumerate(x.shape) if i not in xc and i not in xb]
        shape += [d for i, d in enumerate(y.shape) if i not in yc and i not in yb]
        attributes = {
            "lhs_contracting_dims": tuple(xc),
            "rhs_contracting_dims": tuple(yc),
            "lhs_batch_dims": tuple(xb),
            "rhs_batch_dims": tuple(yb),
        }
        return self.emit("dot", (x, y), tuple(shape), dtype or x.dtype, attributes)

    def gather(
        self,
        x: Value,
        indices: Value,
        *,
        offset_dims: Dims,
        collapsed_slice_dims: Dims,
        start_index_map: Dims,
        slice_sizes: Dims,
        indices_are_sorted: bool = False,
    ) -> Value:
        """XLA's gather; the index vector is the last dimension of `indices`."""
        kept = [s for i, s in enumerate(slice_sizes) if i not in collapsed_slice_dims]
        rank = len(offset_dims) + indices.ndim - 1
        batch, offsets = iter(indices.shape[:-1]), iter(kept)
        shape = tuple(
            next(offsets) if i in offset_dims else next(batch) for i in range(rank)
        )
        attributes = {
            "offset_dims": tuple(offset_dims),
            "collapsed_slice_dims": tuple(collapsed_slice_dims),
            "start_index_map": tuple(start_index_map),
            "index_vector_dim": indices.ndim - 1,
            "slice_sizes": tuple(slice_sizes),
            "indices_are_sorted": indices_are_sorted,
        }
        return self.emit("gather", (x, indices), shape, x.dtype, attributes)

    def scatter(
        self,
        x: Value,
        indices: Value,
        updates: Value,
        *,
        update_window_dims: Dims,
        inserted_window_dims: Dims,
        scatter_dims_to_operand_dims: Dims,
        unique_indices: bool = False,
        opcode: str = "assign",
    ) -> Value:
        """XLA's scatter; the index vector is the last dimension of `indices`.

        Updates out of range are dropped; `opcode` combines the old and the new value.
        """
        assert x.dtype is not None
        attributes = {
            "update_window_dims": tuple(update_window_dims),
            "inserted_window_dims": tuple(inserted_window_dims),
            "scatter_dims_to_operand_dims": tuple(scatter_dims_to_operand_dims),
            "index_vector_dim": indices.ndim - 1,
            "indices_are_sorted": False,
            "unique_indices": unique_indices,
            "to_apply": self.reducer(opcode, x.dtype),
        }
        return self.emit("scatter", (x, indices, updates), x.shape, x.dtype, attributes)

    def tuple_result(
        self,
        opcode: str,
        operands: tuple[Value, ...],
        shapes: Sequence[Shape],
        attributes: Mapping[str, Any],
    ) -> tuple[Value, ...]:
        """An instruction with several results, and each of those."""
        inst = self.emit(opcode, operands, (), None, attributes, tuple(shapes))
        return tuple(
            self.emit("get-tuple-element", (inst,), s.dims, s.dtype, {"index": i})
            for i, s in enumerate(shapes)
        )


@lru_cache(maxsize=4096)
def broadcast_forms(
    own: tuple[int, ...], dtype: np.dtype, shape: tuple[int, ...]
) -> tuple[Form, ...]:
    """What broadcasts a value of shape `own` to `shape` by NumPy's rule."""
    lead = len(shape) - len(own)
    kept = [i for i, d in enumerate(own) if d == shape[i + lead]]
    squeezed = tuple([own[i] for i in kept])
    dimensions = {"dimensions": tuple([i + lead for i in kept])}
    broadcast = Form("broadcast", ((squeezed, dtype),), shape, dtype, dimensions)
    if squeezed == own:
        return (broadcast,)
    return Form("reshape", ((own, dtype),), squeezed, dtype), broadcast


_COMPARE = {
    d: MappingProxyType({"direction": d}) for d in ("EQ", "NE", "LT", "LE", "GT", "GE")
}


# They are the same in all modules, which can then share whatever calls them; so nobody
# can change them.
_reducers: dict[tuple[str, np.dtype], HLOComputation] = {}


def _make_reducer(opcode: str, dtype: np.dtype) -> HLOComputation:
    made = HLOComputation(f"{opcode}_{dt.HLO_NAMES[dtype]}")
    x = made.add_parameter((), dtype, "lhs")
    y = made.add_parameter((), dtype, "rhs")
    made.root = y if opcode == "assign" else HLOBuilder(made).binary(opcode, x, y)
    # Another thread's, if that was faster.
    return _reducers.setdefault((opcode, dtype), made.fix())


def _words(array: np.ndarray) -> np.ndarray:
    """The bits of the elements of a C-contiguous array, one after the other."""
    return array.reshape(-1).view(f"u{array.itemsize}")


def _is_uniform(array: np.ndarray) -> bool:
    """Whether all elements have the bits of the first."""
    if not any(array.strides):
        return True
    bits = np.ascontiguousarray(array).view(np.uint8)
    bits = bits.reshape(prod(array.shape), array.dtype.itemsize)
    probe = bits[:: max(1, len(bits) // 7)]
    return bool((probe == bits[0]).all()) and bool((bits == bits[0]).all())
