"""Products of matrices, and their accumulation in the PSUM.

Products are BLAS's, in float32. What it computes may depend on how operands lie in
memory, on how many threads share a product, and on the routine: that of a vector
differs, and so does that of a matrix with itself. So operands are copied into blocks of
one shape, filled up with zeros, and multiplied block by block, each so small that
OpenBLAS leaves it to one thread. That takes little longer than one large product by one
thread, and on a busy machine far less than several threads take, which wait for one
another. Nobody's settings are changed.

A product is added to what is in the PSUM afterwards, so that its own sums do not depend
on that.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.machine import Call
from nkipy_nki.memory import Storage
from nkipy_nki.program import View

__all__ = ["accumulate", "overwrite", "product", "product_in_passing"]


#: OpenBLAS divides a product of so many multiplications, or fewer, among no threads
#: (SMP_THRESHOLD_MIN times GEMM_MULTITHREAD_THRESHOLD).
_OF_ONE_THREAD = 1 << 18
#: A block's columns, and fewer for long sums, whose blocks would have few rows.
_COLUMNS, _COLUMNS_OF_LONG_SUMS = 64, 32
_LONG_SUM = 128
#: At most so many rows of a block.
_ROWS = 64


class _Blocks:
    """Memory for products of one shape: operands in blocks, and the result.

    What fills blocks up stays 0.

    Args:
        depth: over how many elements is summed.
        rows, columns: of the result.
    """

    def __init__(self, depth: int, rows: int, columns: int) -> None:
        width = _COLUMNS_OF_LONG_SUMS if depth > _LONG_SUM else _COLUMNS
        most = max(1, _OF_ONE_THREAD // (width * depth))
        height = min(_ROWS, 1 << (most.bit_length() - 1))
        self._left = _Packed(depth, rows, height)
        self._right = _Packed(depth, columns, width)
        down, across = len(self._left.blocks), len(self._right.blocks)
        result = np.empty((down * height, across * width), np.float32)
        self._result = result[:rows, :columns]
        self._factors = (
            self._left.blocks.transpose(0, 2, 1)[:, None],
            self._right.blocks[None],
        )
        self._made = result.reshape(down, height, across, width).transpose(0, 2, 1, 3)

    def multiply(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Their product, which is there until the next one."""
        self._left.fill(left)
        self._right.fill(right)
        np.matmul(*self._factors, out=self._made)
        return self._result


class _Packed:
    """A matrix in blocks of columns.

    Attributes:
        blocks: (blocks, depth, width) float32, each block's elements side by side.
    """

    def __init__(self, depth: int, columns: int, width: int) -> None:
        self.blocks = np.zeros((-(-columns // width), depth, width), np.float32)
        full = columns // width
        self._shape = depth, full, width
        self._split = full * width
        self._full = self.blocks[:full].transpose(1, 0, 2)
        self._rest = self.blocks[-1, :, : columns % width]

    def fill(self, matrix: np.ndarray) -> None:
        """Take over a matrix of (depth, columns) numbers."""
        split = self._split
        np.copyto(self._full, matrix[:, :split].reshape(self._shape))
        if split < matrix.shape[1]:
            np.copyto(self._rest, matrix[:, split:])


class _Scratch(threading.local):
    """The memory for products of each thread, of the last shapes."""

    #: Memory is kept for so many shapes.
    most = 4

    def __init__(self) -> None:
        self._by_shape: OrderedDict[tuple[int, int, int], _Blocks] = OrderedDict()

    def blocks(self, depth: int, rows: int, columns: int) -> _Blocks:
        """Memory for products of a shape."""
        shape = depth, rows, columns
        found = self._by_shape.get(shape)
        if found is None:
            found = self._by_shape[shape] = _Blocks(*shape)
            if len(self._by_shape) > self.most:
                self._by_shape.popitem(last=False)
        else:
            self._by_shape.move_to_end(shape)
        return found


_SCRATCH = _Scratch()


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left.T @ right`` in float32, the same bits for the same values.

    Args:
        left: (K, M), of float32, or of floats that float32 has.
        right: (K, N), likewise.

    Returns:
        (M, N).
    """
    return product_in_passing(left, right).copy()


def product_in_passing(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The same, in memory that the next product of the thread is written to."""
    depth, rows = left.shape
    return _SCRATCH.blocks(depth, rows, right.shape[1]).multiply(left, right)


def overwrite(call: Call, elements: np.ndarray) -> None:
    """Let `dst` hold elements of its dtype that the tensor engine computed."""
    view = call.operands["dst"]
    storage, shift = call.storage("dst")
    storage.room(view, shift)[...] = elements.reshape(view.shape)
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
    there = _written(call, storage, view, shift)
    if there is False:
        storage.room(view, shift)[...] = narrow(values, view.dtype)
        storage.mark_product(view, shift)
        return
    elements = storage.elements(view, shift)
    if there is True and elements.dtype == values.dtype:
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
