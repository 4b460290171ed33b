"""What kernels of tests share: tiles of arrays, results of tiles; and a run of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.findings import NkiWarning
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode

__all__ = ["loaded", "run", "stored"]


def loaded(array: Any) -> Any:
    """A tile in the SBUF of a tensor in HBM."""
    tile = nl.ndarray(array.shape, array.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=array)
    return tile


def stored(tile: Any) -> Any:
    """A result of a tile; one in the PSUM goes through the SBUF."""
    result = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
    if nl.is_psum(tile):
        copy = nl.ndarray(tile.shape, tile.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(copy, tile)
        tile = copy
    nisa.dma_copy(result, tile)
    return result


def run(kernel: Any, *arrays: np.ndarray, **options: Any) -> Any:
    """What a kernel returns, and writes, which its program gives again from bytes."""
    inputs = [array.copy() for array in arrays]
    ran = nki.simulate(kernel, **options).run(*arrays)
    with warnings.catch_warnings():  # the run has given them
        warnings.simplefilter("ignore", NkiWarning)
        (again,) = replay(decode(encode(ran.programs)), inputs)
    assert again.tobytes() == ran.values.tobytes()
    for mine, theirs in zip(inputs, arrays):
        assert mine.tobytes() == theirs.tobytes()
    return ran.values
