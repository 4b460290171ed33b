"""Products of matrices, and their accumulation in the PSUM.

Products are BLAS's, in float32. What it computes may depend on how operands lie in
memory, on how many threads share a product, and on the routine: that of a vector
differs, and so does that of a matrix with itself. So operands are copied into C's
order, unless they are in it, filled up to blocks of one shape, and multiplied block by
block, each so small that OpenBLAS leaves it to one thread. That takes a tenth to a
third longer than one large product by one thread, and on a busy machine far less than
several threads take, which wait for one another. Nobody's settings are changed.

A product is added to what is in the PSUM afterwards, so that its own sums do not depend
on that.
"""

from __future__ import annotations

import numpy as np

from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.machine import Call
from nkipy_nki.memory import Storage
from nkipy_nki.program import View

__all__ = ["accumulate", "overwrite", "product"]


#: OpenBLAS divides a product of so many multiplications, or fewer, among no threads
#: (SMP_THRESHOLD_MIN times GEMM_MULTITHREAD_THRESHOLD).
_OF_ONE_THREAD = 1 << 18
#: A block's columns, and at most so many rows.
_COLUMNS = 32
_ROWS = 64


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left.T @ right`` in float32, the same bits for the same values.

    Args:
        left: (K, M) float32.
        right: (K, N) float32.

    Returns:
        (M, N).
    """
    depth, rows = left.shape
    columns = right.shape[1]
    height = _block_rows(depth)
    left, right = _filled(left, height), _filled(right, _COLUMNS)
    if np.may_share_memory(left, right):
        left = left.copy()
    result = np.empty((left.shape[1], right.shape[1]), np.float32)
    np.matmul(
        left.reshape(depth, -1, 1, height).transpose(1, 2, 3, 0),
        right.reshape(depth, 1, -1, _COLUMNS).transpose(1, 2, 0, 3),
        out=result.reshape(-1, height, right.shape[1] // _COLUMNS, _COLUMNS).transpose(
            0, 2, 1, 3
        ),
    )
    return result[:rows, :columns]


def _block_rows(depth: int) -> int:
    """Rows of a block for sums over so many elements: a power of two."""
    most = max(1, _OF_ONE_THREAD // (_COLUMNS * depth))
    return min(_ROWS, 1 << (most.bit_length() - 1))


def _filled(matrix: np.ndarray, width: int) -> np.ndarray:
    """A matrix in C's order, with columns of zeros up to a multiple of a block's."""
    more = -matrix.shape[1] % width
    if not more:
        return np.ascontiguousarray(matrix)
    wide = np.zeros((matrix.shape[0], matrix.shape[1] + more), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return wide


def overwrite(call: Call, elements: np.ndarray) -> None:
    """Let `dst` hold elements of its dtype that the tensor engine computed."""
    view = call.operands["dst"]
    storage, shift = call.storage("dst")
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
    storage, shift = call.storage("dst")
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
