"""Sorting and searching.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import NDArray

def argpartition(
    a: Any,
    kth: Any,
    axis: Any = -1,
    kind: str = "introselect",
    order: Any = None,
) -> NDArray[Any]:
    """``numpy.argpartition``, as int32; all elements are in order."""

def argsort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> NDArray[Any]:
    """``numpy.argsort``, stable, as int32."""

def digitize(x: Any, bins: Any, right: bool = False) -> NDArray[Any]:
    """``numpy.digitize``, as int32; bins rise or fall."""

def interp(
    x: Any,
    xp: Any,
    fp: Any,
    left: Any = None,
    right: Any = None,
    period: Any = None,
) -> NDArray[Any]:
    """Values at `x` of the lines between the points, which ascend in `xp`.

    Raises:
        ValueError: no points, or not as many values as points; a period of zero.
    """

def lexsort(keys: Any, axis: Any = -1) -> NDArray[Any]:
    """``numpy.lexsort``, as int32: the last key decides first."""

def partition(
    a: Any,
    kth: Any,
    axis: Any = -1,
    kind: str = "introselect",
    order: Any = None,
) -> NDArray[Any]:
    """``numpy.partition``; all elements are in order, not only the `kth`."""

def searchsorted(
    a: Any,
    v: Any,
    side: str = "left",
    sorter: Any = None,
) -> NDArray[Any]:
    """``numpy.searchsorted``, as int32: a binary search per value."""

def sort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: Any = None,
) -> NDArray[Any]:
    """``numpy.sort``: NaN last, zeros of both signs equal, stable."""
