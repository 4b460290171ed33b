"""What is looked for on request: NaN in results, indices out of bounds."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.support import nrt_client
from tests.support.nrt_client import NUM_ERR, OOB, NrtFailure, make_neff

X = np.arange(8, dtype=np.float32)


NANS = [np.float32, np.float16, ml_dtypes.bfloat16]
NANS += [ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("dtype", NANS)
@pytest.mark.parametrize(
    "variable",
    [
        {"NEURON_FAIL_ON_NAN": "1"},
        {"NEURON_RT_NUMERICAL_ERRORS_VERBOSITY": "critical"},
    ],
    ids=lambda v: next(iter(v)),
)
def test_nan_fails_when_it_is_looked_for(tmp_path, dtype, variable):
    x = np.zeros(5001, dtype)
    bad = x.copy()
    bad[-1] = np.nan
    with nrt_client.session(tmp_path, **variable) as nrt:
        model = nrt.load(make_neff(lambda b, p: b.unary("copy", p), x))
        tensor, out = nrt.tensor(x), nrt.empty(x.nbytes)
        inputs, outputs = (
            nrt.tensor_set({"x0": tensor}),
            nrt.tensor_set({"output0": out}),
        )
        for value in (x, np.full_like(x, np.inf), -x):
            nrt.write(tensor, value)
            nrt.execute(model, inputs, outputs)
        nrt.write(tensor, bad)
        with pytest.raises(NrtFailure) as failure:
            nrt.execute(model, inputs, outputs)
        assert failure.value.status == NUM_ERR
        # The execution has completed: results are there.
        got = nrt.read(out, x.shape, np.uint8 if x.itemsize == 1 else x.dtype)
        np.testing.assert_array_equal(got.view(np.uint8), bad.view(np.uint8))


def test_nan_is_a_result_like_others_by_default(tmp_path):
    x = np.array([np.nan, 1], np.float32)
    with nrt_client.session(tmp_path) as nrt:
        y = nrt.run(make_neff(lambda b, p: b.negate(p), x), x, like=x)
    np.testing.assert_array_equal(y, -x)


def take(b, x, i):
    dims = {"offset_dims": (), "collapsed_slice_dims": (0,), "start_index_map": (0,)}
    return b.gather(x, i, **dims, slice_sizes=(1,))


def put(b, x, i):
    return b.scatter(
        *(x, i, b.full((3,), -1, x.dtype)),
        update_window_dims=(),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0,),
    )


def cut(b, x, i):
    return b.dynamic_slice(x, [start_of(b, i)], (2,))


def paste(b, x, i):
    return b.dynamic_update_slice(x, b.full((2,), -1, x.dtype), [start_of(b, i)])


def start_of(b, i):
    return b.reshape(b.slice_dim(i, 0, 0, 1), ())


def replaced(*places):
    x = X.copy()
    x[list(places)] = -1
    return x


#: Results for the indices 7, 0 and 3 of eight elements, all of them in bounds (windows
#: of two elements begin at 6), and XLA's results for one more each, without a check.
INDEXED = [
    (take, 7, X[[7, 0, 3]], X[[7, 1, 4]]),
    (put, 7, replaced(7, 0, 3), replaced(1, 4)),
    (cut, 6, X[6:8], X[6:8]),
    (paste, 6, replaced(6, 7), replaced(6, 7)),
]


@pytest.mark.parametrize("engine", ["inprocess", "child"])
@pytest.mark.parametrize(
    ("body", "first", "inside", "moved"),
    INDEXED,
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_indices_out_of_bounds_fail_when_they_are_looked_for(
    body, first, inside, moved, engine, tmp_path, capfd, monkeypatch
):
    monkeypatch.setenv("NKIPY_EMULATOR_ENGINE", engine)
    indices = np.array([[first], [0], [3]], np.int32)
    neff = make_neff(body, X, indices)
    with nrt_client.session(tmp_path, cores=1) as nrt:
        got = nrt.run(neff, X, indices + 1, like=moved)
        np.testing.assert_array_equal(got, moved)
    monkeypatch.setenv("NKIPY_EMULATOR_FAIL_OUT_OF_BOUNDS", "1")
    with nrt_client.session(tmp_path, cores=1) as nrt:
        for outside in (indices + 1, indices - first - 1):
            with pytest.raises(NrtFailure) as failure:
                nrt.run(neff, X, outside, like=moved)
            assert failure.value.status == OOB
            assert "out of bounds" in capfd.readouterr().err
        fine = nrt.run(neff, X, indices, like=inside)
        np.testing.assert_array_equal(fine, inside)
