"""Array manipulation: other shapes and orders, joining, splitting, repeating.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` after `arr` along `axis`; both flattened if that is None."""

def array_split(
    ary: Any,
    indices_or_sections: Any,
    axis: int = 0,
) -> list[NDArray[Any]]:
    """Parts of about equal size along `axis`, or parts between indices. Views."""

def astype(
    x: Any,
    dtype: Any,
    /,
    *,
    copy: bool = True,
    device: Any = None,
    casting: Any = "unsafe",
    order: Any = "K",
) -> Any:
    """`x` in `dtype`; itself if it has that, and the order, and `copy` is false.

    Raises:
        TypeError: `dtype` has no counterpart, or `casting` forbids the conversion.
        ValueError: `order` is none of C, F, A and K.
    """

def atleast_1d(*arys: Any) -> Any:
    """Each array with at least 1 dimensions. Views."""

def atleast_2d(*arys: Any) -> Any:
    """Each array with at least 2 dimensions. Views."""

def atleast_3d(*arys: Any) -> Any:
    """Each array with at least 3 dimensions. Views."""

def block(arrays: Any) -> Any:
    """An array of nested lists of blocks. Raises ValueError if they do not fit."""

def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    """Each array broadcast to their common shape. Read-only views."""

def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """`array` broadcast to `shape`. A read-only view."""

def column_stack(tup: Any) -> Any:
    """1-D arrays as columns, beside each other and 2-D ones."""

def concatenate(
    arrays: Any,
    /,
    axis: int | None = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    """Arrays joined along an existing axis; flattened first if that is None.

    Raises:
        ValueError: other dimensions differ, or there is no array.
        TypeError: there is no common dtype, or `casting` forbids a conversion.
    """

def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """A tensor of the same value that later stores into `a` do not reach."""

def copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Store `src` into `dst` where the condition holds.

    Raises:
        TypeError: `casting` does not allow the cast.
        ValueError: the shapes do not broadcast.
    """

def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """`arr` without the elements at static positions `obj` along `axis`.

    Raises:
        IndexError: a position is out of range.
        NotImplementedError: positions are traced.
    """

def diff(
    a: Any,
    n: int = 1,
    axis: int = -1,
    prepend: Any = ...,
    append: Any = ...,
) -> Any:
    """Differences of neighbours along `axis`, taken `n` times; of bools, inequality."""

def dsplit(ary: Any, indices_or_sections: Any) -> list[NDArray[Any]]:
    """``numpy.dsplit``: equal parts, or parts between indices. Views."""

def dstack(tup: Any) -> Any:
    """``numpy.dstack``. Raises ValueError if other dimensions differ."""

def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in flat order, between `to_begin` and `to_end`.

    Raises:
        TypeError: what to add cannot be cast to the dtype of `ary`, or that
            is bool.
    """

def expand_dims(a: Any, axis: Any) -> Any:
    """`a` with new dimensions of size one at the given positions. A view."""

def flatten(a: Any, order: str = "C") -> Any:
    """A copy of `a` as one dimension."""

def flip(m: Any, axis: Any = None) -> Any:
    """`m` with the order of elements reversed along `axis`, by default all. A view."""

def fliplr(m: Any) -> Any:
    """The array with axis 1 reversed. A view."""

def flipud(m: Any) -> Any:
    """The array with axis 0 reversed. A view."""

def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """``numpy.gradient`` with a uniform spacing, in float32."""

def hsplit(ary: Any, indices_or_sections: Any) -> list[NDArray[Any]]:
    """``numpy.hsplit``: equal parts, or parts between indices. Views."""

def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """``numpy.hstack``. Raises ValueError if other dimensions differ."""

def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`arr` with `values` put in before static positions `obj` along `axis`.

    Raises:
        IndexError: a position is out of range.
        ValueError: `values` do not broadcast to the place made for them.
        NotImplementedError: positions are traced.
    """

def matrix_transpose(x: Any, /) -> Any:
    """`x` with its last two dimensions exchanged. A view."""

def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """`a` with dimensions `source` moved to `destination`. A view."""

def ndim(a: Any) -> int:
    """The number of dimensions of `a`."""

def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """`array` made larger at its borders.

    Raises:
        ValueError: the mode, one of its options or a width is not acceptable.
        OverflowError: a constant does not fit the dtype.
        NotImplementedError: `mode` is a function.
    """

def ravel(a: Any, order: str = "C") -> Any:
    """`a` as one dimension: a view if its elements lie in that order without gaps."""

def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of `a` several times, along `axis` or in its flat order.

    Raises:
        NotImplementedError: `repeats` is traced, on which the shape would depend.
    """

def reshape(
    a: Any,
    /,
    shape: Any,
    order: str = "C",
    *,
    copy: bool | None = None,
) -> Any:
    """The elements of `a`, in `order`, in another shape. Raises ValueError: size."""

def resize(a: Any, new_shape: Any) -> Any:
    """The elements of `a`, repeated or cut off, in a shape of any size."""

def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """`a` with elements moved by `shift` along `axis`, those that fall off re-entering.

    A shift may be traced, if it is a scalar. Without an axis, `a` is rolled as if flat.
    """

def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """`a` with dimension `axis` moved to stand before `start`. A view."""

def rot90(m: Any, k: int = 1, axes: Sequence[int] = ...) -> Any:
    """`m` turned `k` times by 90 degrees in the plane of two axes. A view."""

def shape(a: Any) -> tuple[int, ...]:
    """The dimensions of `a`."""

def size(a: Any, axis: Any = None) -> int:
    """The number of elements of `a`, or its extent along `axis`."""

def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[NDArray[Any]]:
    """Equal parts along `axis`, or parts between indices. Views."""

def squeeze(a: Any, axis: Any = None) -> Any:
    """`a` without dimensions of size one: all of them, or those named. A view."""

def stack(
    arrays: Any,
    axis: int = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    """Arrays of one shape joined along a new axis. Raises ValueError if they differ."""

def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """`a` with two dimensions exchanged. A view."""

def tile(A: Any, reps: Any) -> Any:
    """`A` laid beside itself ``reps[i]`` times along dimension `i`."""

def transpose(a: Any, axes: Any = None) -> Any:
    """`a` with its dimensions permuted, by default reversed. A view."""

def unstack(x: Any, /, *, axis: int = 0) -> tuple[NDArray[Any], ...]:
    """The arrays that `x` is a stack of, along `axis`. Views, but for scalars."""

def view(x: Any, dtype: Any = None, /) -> Any:
    """The bits of `x` read as another dtype of the same width. A view."""

def vsplit(ary: Any, indices_or_sections: Any) -> list[NDArray[Any]]:
    """``numpy.vsplit``: equal parts, or parts between indices. Views."""

def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """``numpy.vstack``. Raises ValueError if other dimensions differ."""
