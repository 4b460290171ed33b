# SPDX-License-Identifier: MIT-0
"""
Adding tensors
==============

A first kernel, and the same on two cores at once.

A kernel is a Python function that says which instructions a NeuronCore carries out. The
core computes on what lies in its own memory, the SBUF, which has 128 partitions. So a
kernel moves a *tile* of at most 128 rows there, computes, and moves the result back.
"""

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

# %%
# What a tile may be
# ------------------
#
# The partitions limit the rows to 128. A tile's columns are limited by what a partition
# holds, and longer ones are better: each instruction takes some 60 cycles to start.

ROWS = 128
COLUMNS = 512


# %%
# One tile after the other
# ------------------------
#
# ``nisa.dma_copy`` moves a tile between the device's memory, HBM, and the SBUF.
# ``nisa.tensor_tensor`` adds, on the vector engine. What a kernel returns must be in
# ``nl.shared_hbm``. The last tiles may be smaller than the others: they are slices like
# any.


def _add_rows(result, a, b, first, last):
    for row in range(first, last, ROWS):
        for column in range(0, a.shape[1], COLUMNS):
            rows = slice(row, min(row + ROWS, last))
            columns = slice(column, min(column + COLUMNS, a.shape[1]))
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            a_tile = nl.ndarray(shape, a.dtype, buffer=nl.sbuf)
            nisa.dma_copy(a_tile, a[rows, columns])
            b_tile = nl.ndarray(shape, b.dtype, buffer=nl.sbuf)
            nisa.dma_copy(b_tile, b[rows, columns])
            sum_tile = nl.ndarray(shape, result.dtype, buffer=nl.sbuf)
            nisa.tensor_tensor(sum_tile, a_tile, b_tile, op=nl.add)
            nisa.dma_copy(result[rows, columns], sum_tile)


@nki.jit
def tensor_add(a, b):
    """``a + b``, of two tensors of one shape (rows, columns) and dtype."""
    if tuple(a.shape) != tuple(b.shape):
        raise ValueError(f"tensors of the shapes {a.shape} and {b.shape}")
    result = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
    _add_rows(result, a, b, 0, a.shape[0])
    return result


# %%
# Two cores
# ---------
#
# ``kernel[2]`` runs a kernel on both physical cores of a logical one. Each asks which
# it is, ``nl.program_id(0)``, and how many there are, and takes its share of the rows.
# Both write to the same result, each to rows of its own. The kernel works on one core,
# too.


@nki.jit
def tensor_add_spmd(a, b):
    """``a + b``, the rows divided among the cores."""
    if tuple(a.shape) != tuple(b.shape):
        raise ValueError(f"tensors of the shapes {a.shape} and {b.shape}")
    result = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
    core, cores = (
        (nl.program_id(0), nl.num_programs(0)) if nl.program_ndim() else (0, 1)
    )
    share = -(-a.shape[0] // cores)
    first = min(core * share, a.shape[0])
    _add_rows(result, a, b, first, min(first + share, a.shape[0]))
    return result


# %%
# Running them
# ------------
#
# Called with arrays, a kernel is run by the simulator. ``nki.simulate(...).run`` tells
# more of the run: its report estimates where the time goes. Half of the rows take each
# core about half of the time, beyond what it takes to start.

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((1000, 2048)).astype(np.float32) for _ in range(2))
    np.testing.assert_array_equal(tensor_add(a, b), a + b)
    np.testing.assert_array_equal(tensor_add_spmd[2](a, b), a + b)
    print(nki.simulate(tensor_add, target="trn2").run(a, b).report().text(lines=4))
    both = nki.simulate(tensor_add_spmd[2], target="trn2").run(a, b)
    for core in range(2):
        print(f"core {core}: {both.report(core).total / 1e3:.2f} us (estimate)")
