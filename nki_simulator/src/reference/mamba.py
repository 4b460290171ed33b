# SPDX-License-Identifier: MIT-0
"""The selective scan of Mamba: Gu and Dao, arXiv:2312.00752, section 3."""

import nki
import nki.isa as nisa
import nki.language as nl

#: Time steps at a time.
CHUNK = 512


@nki.jit
def mamba_scan(x, delta, a, b, c):
    """The outputs of a state space whose step, input and output depend on the input.

    For each channel and each of its states,
    ``h[t] = exp(delta[t] * a) * h[t - 1] + delta[t] * x[t] * b[t]``, and
    ``y[t] = sum over states of h[t] * c[t]``.

    Args:
        x: (channels, steps), channels a multiple of 128; float32 or bfloat16.
        delta: (channels, steps), of the same dtype: how long a step is.
        a: (channels, states), float32.
        b: (states, steps), of the dtype of `x`.
        c: (states, steps), of the dtype of `x`.

    Returns:
        (channels, steps), of the dtype of `x`.

    Raises:
        ValueError: the shapes do not fit.
    """
    channels, steps = x.shape
    states = a.shape[1]
    shapes = [tuple(t.shape) for t in (delta, a, b, c)]
    wanted = [(channels, steps), (channels, states), (states, steps), (states, steps)]
    if shapes != wanted or channels % 128:
        raise ValueError(f"x has the shape {x.shape}, the others {shapes}")
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for channel in range(0, channels, 128):
        rows = slice(channel, channel + 128)
        rates = nl.ndarray((128, states), nl.float32)
        nisa.dma_copy(rates, a[rows, :])
        # The scans go on where they ended: at 0 in the beginning.
        ends = nl.ndarray((128, states), nl.float32)
        nisa.memset(ends, 0.0)
        for step in range(0, steps, CHUNK):
            columns = slice(step, min(step + CHUNK, steps))
            out = _chunk(
                x[rows, columns],
                delta[rows, columns],
                rates,
                ends,
                b[:, columns],
                c[:, columns],
            )
            nisa.dma_copy(result[rows, columns], out)
    return result


def _chunk(x, delta, rates, ends, b, c):
    """The outputs of some steps, (128, steps); `ends`, the states, move on too."""
    shape = tuple(x.shape)
    step_tile, x_tile = nl.load(delta), nl.load(x)
    moved = nl.ndarray(shape, nl.float32)
    nisa.tensor_tensor(moved, step_tile, x_tile, nl.multiply)
    total = nl.ndarray(shape, nl.float32)
    for state in range(rates.shape[1]):
        here = slice(state, state + 1)
        decay = nl.ndarray(shape, nl.float32)
        nisa.activation(decay, nl.exp, step_tile, scale=rates[:, here])
        fed = nl.ndarray(shape, nl.float32)
        nisa.tensor_tensor(fed, moved, _in_all_partitions(b[here, :]), nl.multiply)
        h = nl.ndarray(shape, nl.float32)
        nisa.tensor_tensor_scan(h, decay, fed, ends[:, here], nl.multiply, nl.add)
        nisa.tensor_copy(ends[:, here], h[:, shape[1] - 1 : shape[1]])
        seen = total if state == 0 else nl.ndarray(shape, nl.float32)
        nisa.tensor_tensor(seen, h, _in_all_partitions(c[here, :]), nl.multiply)
        if state:
            nisa.tensor_tensor(total, total, seen, nl.add)
    out = nl.ndarray(shape, x.dtype)
    nisa.tensor_copy(out, total)
    return out


def _in_all_partitions(row):
    """A row (1, n) in HBM, loaded into each of 128 partitions."""
    tile = nl.ndarray((128, row.shape[1]), row.dtype)
    nisa.dma_copy(tile, row.broadcast(0, 128))
    return tile
