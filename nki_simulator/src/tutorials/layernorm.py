# SPDX-License-Identifier: MIT-0
"""
Layer norm
==========

Each row minus its mean, divided by its standard deviation, times a weight for each
column, plus a bias: Ba, Kiros and Hinton, arXiv:1607.06450. First from sums, then with
the instructions that are made for it.
"""

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

# %%
# Weights in all partitions
# -------------------------
#
# A row of a tile is a partition, and weights belong to columns. So each partition needs
# all weights: a view in HBM repeats them, and one transfer brings them all.


def _in_all_partitions(row):
    tile = nl.ndarray((nl.tile_size.pmax, row.shape[0]), row.dtype)
    nisa.dma_copy(tile, row.reshape((1, row.shape[0])).broadcast(0, tile.shape[0]))
    return tile


def _number(value):
    """A number in each partition: what all chips take for an activation's bias."""
    tile = nl.ndarray((nl.tile_size.pmax, 1), nl.float32)
    nisa.memset(tile, value)
    return tile


# %%
# From sums
# ---------
#
# The mean is the sum over the columns, divided by their number. The variance is the
# mean of the squares of what is left: ``nisa.activation_reduce`` squares and sums at
# once.


def _from_sums(tile, epsilon):
    """Each row's mean, and one over its standard deviation: (rows, 1)."""
    height, columns = tile.shape
    mean = nl.ndarray((height, 1), nl.float32)
    nisa.tensor_reduce(mean, nl.add, tile, axis=1)
    nisa.tensor_scalar(mean, mean, nl.multiply, 1 / columns)
    rest = nl.ndarray((height, columns), nl.float32)
    nisa.tensor_scalar(rest, tile, nl.subtract, mean)
    variance = nl.ndarray((height, 1), nl.float32)
    nisa.activation_reduce(rest, nl.square, rest, nl.add, variance)
    inverse = nl.ndarray((height, 1), nl.float32)
    nisa.activation(
        inverse, nl.rsqrt, variance, bias=epsilon[0:height, :], scale=1 / columns
    )
    return mean, inverse


# %%
# From statistics
# ---------------
#
# ``nisa.bn_stats`` reads up to 512 columns once, and gives what ``nisa.bn_aggr`` needs
# for the mean and the variance of all. That is one pass over the tile instead of three.


def _from_statistics(tile, epsilon):
    """The same, by the instructions for it."""
    height, columns = tile.shape
    most = nl.tile_size.bn_stats_fmax
    chunks = -(-columns // most)
    statistics = nl.ndarray((height, chunks, 6), nl.float32)
    for chunk in range(chunks):
        start, end = chunk * most, min((chunk + 1) * most, columns)
        nisa.bn_stats(statistics[:, chunk, :], tile[:, start:end])
    moments = nl.ndarray((height, 2), nl.float32)
    nisa.bn_aggr(moments, statistics)
    inverse = nl.ndarray((height, 1), nl.float32)
    nisa.activation(inverse, nl.rsqrt, moments[:, 1:2], bias=epsilon[0:height, :])
    return moments[:, 0:1], inverse


# %%
# The kernels
# -----------
#
# They differ in that one function. ``nisa.tensor_scalar`` subtracts and multiplies in
# one pass; its operands have one element for each partition.


def _layernorm(x, weight, bias, epsilon, moments):
    rows, columns = x.shape
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    weights, biases = _in_all_partitions(weight), _in_all_partitions(bias)
    added = _number(epsilon)
    for row in range(0, rows, nl.tile_size.pmax):
        height = min(nl.tile_size.pmax, rows - row)
        tile = nl.ndarray((height, columns), x.dtype)
        nisa.dma_copy(tile, x[row : row + height, :])
        mean, inverse = moments(tile, added)
        out = nl.ndarray((height, columns), nl.float32)
        nisa.tensor_scalar(
            out, tile, nl.subtract, mean, op1=nl.multiply, operand1=inverse
        )
        nisa.tensor_tensor(out, out, weights[0:height, :], op=nl.multiply)
        nisa.tensor_tensor(tile, out, biases[0:height, :], op=nl.add)
        nisa.dma_copy(result[row : row + height, :], tile)
    return result


@nki.jit
def layernorm_from_sums(x, weight, bias, epsilon=1e-5):
    """Layer norm of each row of `x` (rows, columns); `weight` and `bias` (columns,)."""
    return _layernorm(x, weight, bias, epsilon, _from_sums)


@nki.jit
def layernorm(x, weight, bias, epsilon=1e-5):
    """The same, in fewer passes."""
    return _layernorm(x, weight, bias, epsilon, _from_statistics)


# %%
# Running them
# ------------

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 1000)).astype(np.float32)
    weight, bias = (rng.standard_normal(1000).astype(np.float32) for _ in range(2))
    centred = x - x.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * weight + bias
    for kernel in (layernorm_from_sums, layernorm):
        run = nki.simulate(kernel, target="trn2").run(x, weight, bias)
        np.testing.assert_allclose(run.values, expected, atol=1e-4)
        total = run.report().total
        print(f"{kernel.__name__:20}{total / 1e3:8.2f} us (estimate)")
