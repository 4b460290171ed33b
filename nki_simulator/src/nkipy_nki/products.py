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
from functools import lru_cache

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.memory import Storage
from nkipy_nki.program import View

__all__ = ["accumulate", "multiply", "overwrite", "product"]


#: OpenBLAS divides a product of so many multiplications, or fewer, among no threads
#: (SMP_THRESHOLD_MIN times GEMM_MULTITHREAD_THRESHOLD).
_OF_ONE_THREAD = 1 << 18
#: A block's columns, and fewer for long sums, whose blocks would have few rows.
_COLUMNS, _COLUMNS_OF_LONG_SUMS = 64, 32
_LONG_SUM = 128
#: At most so many rows of a block.
_ROWS = 64
#: Blocks that are kept of a tensor are at most so many times its elements in float32.
_KEPT_TIMES = 2


@lru_cache(maxsize=256)
def _block_shape(depth: int) -> tuple[int, int]:
    """Rows and columns of a block for sums over so many elements: powers of two."""
    columns = _COLUMNS_OF_LONG_SUMS if depth > _LONG_SUM else _COLUMNS
    most = max(1, _OF_ONE_THREAD // (columns * depth))
    return min(_ROWS, 1 << (most.bit_length() - 1)), columns


def _packed(matrix: np.ndarray, width: int) -> np.ndarray:
    """A matrix in blocks of columns, each block's elements side by side.

    Args:
        matrix: (depth, columns), of float32, or of floats that float32 has.
        width: columns of a block.

    Returns:
        (blocks, depth, width) float32, of which the last one is filled up with 0.
    """
    depth, columns = matrix.shape
    full, rest = divmod(columns, width)
    if not rest:
        blocks = np.empty((full, depth, width), np.float32)
        blocks.transpose(1, 0, 2)[...] = matrix.reshape(depth, full, width)
        return blocks
    blocks = np.zeros((full + 1, depth, width), np.float32)
    if full:
        most = matrix[:, :-rest].reshape(depth, full, width)
        blocks[:full].transpose(1, 0, 2)[...] = most
    blocks[full, :, :rest] = matrix[:, -rest:]
    return blocks


def _factor(call: Call, name: str, depth: int, width: int) -> np.ndarray:
    """The blocks of an operand, which are kept until its tensor is written.

    One operand is often multiplied by many.

    Args:
        call: of a product.
        name: the operand's.
        depth: over how many elements of a column is summed.
        width: columns of a block.
    """
    view = call.operands[name]
    if view.dynamic is not None:
        return _packed(call.read(name).reshape(depth, -1), width)
    storage = call.machine.memory.storage(view.allocation)
    kept = storage.derived
    key = view.offset, view.shape, view.strides, id(view.dtype), depth, width
    found: np.ndarray | None = kept.get(key)
    if found is None:
        found = _packed(call.read(name).reshape(depth, -1), width)
        few = (1 + len(kept)) * found.size <= _KEPT_TIMES * view.allocation.size
        if few and storage.written is None:
            kept[key] = found
    return found


class _Results(threading.local):
    """The memory of each thread for the last results, by their shapes."""

    #: Memory is kept for so many shapes.
    most = 4

    def __init__(self) -> None:
        self._by_shape: OrderedDict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = (
            OrderedDict()
        )

    def of(self, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        """A result by its blocks, of so many down and across, rows and columns.

        Returns:
            The blocks, (across, down, rows, columns) float32, as one of the right is
            multiplied by all of the left while it is near; and the matrix that they
            make up.
        """
        found = self._by_shape.get(shape)
        if found is None:
            down, across, rows, columns = shape
            matrix = np.empty((down * rows, across * columns), np.float32)
            blocks = matrix.reshape(down, rows, across, columns).transpose(2, 0, 1, 3)
            found = self._by_shape[shape] = blocks, matrix
            if len(self._by_shape) > self.most:
                self._by_shape.popitem(last=False)
        else:
            self._by_shape.move_to_end(shape)
        return found


_RESULTS = _Results()


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``left.T @ right`` in float32, the same bits for the same values.

    Args:
        left: (K, M), of float32, or of floats that float32 has.
        right: (K, N), likewise.

    Returns:
        (M, N).
    """
    depth, rows = left.shape
    height, width = _block_shape(depth)
    made = _multiplied(_packed(left, height), _packed(right, width))
    return made[:rows, : right.shape[1]].copy()


def _multiplied(lefts: np.ndarray, rights: np.ndarray) -> np.ndarray:
    """The product of two matrices in blocks, filled up as they are.

    It is in memory that the next product of the thread is written to.
    """
    if lefts is rights:
        lefts = lefts.copy()
    shape = len(lefts), len(rights), lefts.shape[2], rights.shape[2]
    blocks, result = _RESULTS.of(*shape)
    np.matmul(lefts.transpose(0, 2, 1), rights[:, None], out=blocks)
    return result


def multiply(call: Call, depth: int) -> None:
    """Write ``stationary.T @ moving`` to `dst`, or add it: see :func:`accumulate`.

    Args:
        call: the instruction.
        depth: over how many elements of a column is summed.
    """
    height, width = _block_shape(depth)
    lefts = _factor(call, "stationary", depth, height)
    rights = _factor(call, "moving", depth, width)
    made = _multiplied(lefts, rights)
    dst = call.operands["dst"]
    rows, columns = dst.shape[0], dst.free_size
    if made.shape != (rows, columns):
        made = made[:rows, :columns]
    accumulate(call, made)


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
    if values.shape != view.shape:
        values = values.reshape(view.shape)
    there = _written(call, storage, view, shift)
    if there is False:
        storage.room(view, shift)[...] = narrow(values, view.dtype)
    else:
        all_of_them = there is True
        find = storage.room if all_of_them else storage.elements
        elements = find(view, shift)
        if all_of_them and elements.dtype == values.dtype:
            np.add(elements, values, out=elements)
        else:
            old = widen(elements, view.dtype)
            total = np.where(there, old + values, values)
            elements[...] = narrow(total, view.dtype)
    if storage.written is not None or storage.valued is not None:
        storage.mark_product(view, shift)


def _written(call: Call, storage: Storage, view: View, shift: int) -> bool | np.ndarray:
    """Which elements are added to: all (True), none (False), or some."""
    wanted = call.attributes["accumulate"]
    if wanted is not None and not wanted:
        return False
    written = storage.written_of(view, shift)
    if wanted and written is not True:
        _report_nothing(call, view, np.broadcast_to(written, view.shape))
        storage.elements(view, shift)  # of which those that were not are 0
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
