"""Products of matrices, and their accumulation in the PSUM.

A product is one call of BLAS in float32. What BLAS computes may depend on how its
operands lie in memory, so they are copied into C's order first, unless they are in it,
and get a second column or row where there is one only: a product with a vector is
another routine, which also divides its sums among threads. A product is added to what
is in the PSUM afterwards, so its own sums do not depend on that either.
"""

from __future__ import annotations

import numpy as np

from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.machine import Call
from nkipy_nki.memory import Storage
from nkipy_nki.program import View

__all__ = ["accumulate", "overwrite", "product"]


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left.T @ right`` in float32, the same bits for the same values.

    Args:
        left: (K, M) float32.
        right: (K, N) float32. It is not the memory of `left`, of which BLAS would
            compute a symmetric product, in another order.

    Returns:
        (M, N), in C's order.
    """
    rows, columns = left.shape[1], right.shape[1]
    left, right = _at_least_two(left), _at_least_two(right)
    return np.matmul(left.T, right)[:rows, :columns]


def _at_least_two(matrix: np.ndarray) -> np.ndarray:
    """A matrix in C's order, with a column of zeros if it has one column only."""
    if matrix.shape[1] > 1:
        return np.ascontiguousarray(matrix)
    wide = np.zeros((matrix.shape[0], 2), np.float32)
    wide[:, :1] = matrix
    return wide


def overwrite(call: Call, elements: np.ndarray) -> None:
    """Let `dst` hold elements of its dtype that the tensor engine computed."""
    view = call.operands["dst"]
    storage, shift = call.place("dst")
    storage.elements(view, shift)[...] = elements.reshape(view.shape)
    storage.mark_product(view, shift)


def accumulate(call: Call, values: np.ndarray) -> None:
    """Write a product to `dst`, or add it to what is there, as `accumulate` says.

    Args:
        call: of an instruction with an attribute `accumulate`: false overwrites, true
            adds; None adds to each element that was written, and writes the others.
        values: the product, float32.
    """
    view = call.operands["dst"]
    storage, shift = call.place("dst")
    values = values.reshape(view.shape)
    elements = storage.elements(view, shift)
    there = _written(call, storage, view, shift)
    if there is False:
        elements[...] = narrow(values, view.dtype)
    elif there is True and elements.dtype == values.dtype:
        np.add(elements, values, out=elements)
    else:
        old = widen(elements, view.dtype)
        total = np.where(there, old + values, values)
        elements[...] = narrow(total, view.dtype)
    storage.mark_product(view, shift)


def _written(call: Call, storage: Storage, view: View, shift: int) -> bool | np.ndarray:
    """Which elements are added to: all (True), none (False), or some."""
    wanted = call.attributes["accumulate"]
    if wanted is not None and not wanted:
        return False
    marks = storage.marks(view, shift)
    written: bool | np.ndarray = True
    if marks is not None and not marks.all():
        some = np.asarray(marks.reshape(*view.shape, -1).all(-1))
        written = some if some.any() else False
    if wanted and written is not True:
        _report_nothing(call, view, np.broadcast_to(written, view.shape))
        written = True
    if written is not False and call.machine.chip.generation < 4:
        if storage.has_values(view, shift):
            _report_values(call, view)
    return written


def _report_nothing(call: Call, view: View, written: np.ndarray) -> None:
    first = list(map(int, np.argwhere(~written)[0]))
    missing = int(written.size - np.count_nonzero(written))
    call.report(
        "psum-never-written",
        f"accumulate is True, and {missing} of {written.size} elements of dst were "
        f"never written, the first at {first} of {list(view.shape)}, of "
        f"{view.allocation} made at {view.allocation.line}: give accumulate=None or "
        "False to the first product",
        operand="dst",
        missing=missing,
        position=first,
    )


def _report_values(call: Call, view: View) -> None:
    call.report(
        "psum-value-initialized",
        f"adds to what another instruction than a product wrote to {view.allocation}, "
        f"made at {view.allocation.line}, which is not defined before gen4: let the "
        "first product overwrite it (accumulate=False)",
        operand="dst",
    )
