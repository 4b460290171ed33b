"""A kernel's bytes depend on values and shapes: not on layouts of arrays, nor threads.

Run as a program, it prints a digest of what the kernel gives.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.kernels import loaded, stored
from nkipy_nki import NkiValidationError

ROOT = Path(__file__).parents[2]


@nki.jit
def many(x: Any, y: Any, z: Any) -> Any:
    """What is approximate or summed: of x [128, 96], y [128, 200] and z, fp8 of x."""
    a, b, c = loaded(x), loaded(y), loaded(z)
    product = nl.ndarray((96, 200), nl.float32, buffer=nl.psum)
    nisa.nc_matmul(product, a, b)
    nisa.nc_matmul(product[:, 0:1], a, b[:, 7:8])
    double = nl.ndarray((48, 48), nl.float32, buffer=nl.psum)
    pair = c.reshape_dim(1, (2, 48))
    mode = nisa.matmul_perf_mode.double_row
    nisa.nc_matmul(double, pair, pair, perf_mode=mode)
    made = [stored(product), stored(double)]
    for op in ("exp", "tanh", "gelu", "sigmoid", "softplus"):
        result = nl.ndarray(b.shape, nl.float32, buffer=nl.sbuf)
        total = nl.ndarray((128, 1), nl.float32, buffer=nl.sbuf)
        nisa.activation_reduce(result, op, b, "add", total, scale=0.5)
        made += [stored(result), stored(total)]
    rows = nl.ndarray((128, 8), nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(rows, "add", b.reshape_dim(1, (8, 25)), axis=2)
    columns = nl.ndarray((1, 200), nl.bfloat16, buffer=nl.sbuf)
    nisa.tensor_partition_reduce(columns, "add", b)
    nisa.dma_copy(x[0:64, 0:8], rows[0:64])
    return (*made, stored(rows), stored(columns))


def arguments() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(4)
    x = random.standard_normal((128, 96)).astype(np.float32)
    y = random.standard_normal((128, 200)).astype(np.float32)
    return x, y, x.astype(ml_dtypes.float8_e4m3)


def digest(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> str:
    """Of what the kernel gives, and of what it writes to its first argument."""
    found = hashlib.sha256()
    for values in nki.simulate(many, target="trn2")(x, y, z):
        found.update(values.tobytes())
    found.update(x.tobytes())
    return found.hexdigest()


# -- layouts ---------------------------------------------------------------------------
def _unaligned(array: np.ndarray) -> np.ndarray:
    made = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    made = made.reshape(array.shape)
    made[...] = array
    return made


def _spaced(array: np.ndarray) -> np.ndarray:
    made = np.full((array.shape[0], 2, 3 * array.shape[1]), 7).astype(array.dtype)
    made[:, 1, ::3] = array
    return made[:, 1, ::3]


def _inside_a_record(array: np.ndarray) -> np.ndarray:
    """Its elements are 1 byte and itself apart, so that most are unaligned."""
    made = np.zeros(array.shape, [("before", "u1"), ("value", array.dtype)])
    made["value"] = array
    return made["value"]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "in C's order": np.copy,
    "in Fortran's order": lambda array: array.copy(order="F"),
    "spaced": _spaced,
    "reversed": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": _unaligned,
    "inside of a record": _inside_a_record,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_arguments_do_not_matter(layout: str) -> None:
    expected = digest(*arguments())
    x, y, z = map(LAYOUTS[layout], arguments())
    around = None if x.base is None else x.base.nbytes
    assert digest(x, y, z) == expected
    # What the kernel writes to an argument is in the caller's array.
    assert not np.array_equal(x[:64, :8], arguments()[0][:64, :8])
    assert np.array_equal(x[64:], arguments()[0][64:])
    assert around is None or x.base is not None and x.base.nbytes == around


def test_what_lies_between_an_argument_s_elements_stays() -> None:
    x, y, z = arguments()
    given = _spaced(x)
    digest(given, y, z)
    whole = given.base
    assert whole is not None and (whole[:, 0] == 7).all()
    assert (whole[:, 1, 1::3] == 7).all() and (whole[:, 1, 2::3] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint16"])
def test_other_orders_of_bytes_are_refused(dtype: str) -> None:
    x, y, z = arguments()
    swapped = np.dtype(dtype).newbyteorder()
    for array in (x.astype(swapped), x.astype(swapped)[::2]):
        with pytest.raises(NkiValidationError, match="argument x"):
            nki.simulate(many)(array, y, z)


def test_an_argument_that_cannot_be_written_is_not() -> None:
    """Each element of a broadcast array lies at several places of the tensor."""
    _, y, z = arguments()
    x = np.broadcast_to(np.float32(0.5), (128, 96))
    with pytest.raises(nki.NkiValidationError, match="the argument x, .* read-only"):
        nki.simulate(many)(x, y, z)
    assert (x == 0.5).all()
    # One that is only read may be such.
    read = np.broadcast_to(y[:1], y.shape)
    expected = nki.simulate(many)(np.array(x), np.array(read), z)
    for mine, theirs in zip(nki.simulate(many)(np.array(x), read, z), expected):
        assert mine.tobytes() == theirs.tobytes()


# -- threads ---------------------------------------------------------------------------
def test_threads_do_not_matter() -> None:
    here = digest(*arguments())
    running = {
        threads: subprocess.Popen(
            [sys.executable, "-m", "nki_simulator.tests.test_bytes_of_a_kernel"],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "2", "4")
    }
    for threads, process in running.items():
        out, _ = process.communicate()
        assert (process.returncode, out.strip()) == (0, here), threads


if __name__ == "__main__":
    sys.stdout.write(digest(*arguments()) + "\n")
