"""Kernels of NKI's first generation inside of NumPy: its own semantics, the same bytes.

Each kernel runs alone on arrays, and in a program: simulated, on the emulated core in
this process and in a child, and wrapped as an op.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy.core import nki_op
from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit
from nkipy.testing import check_kernel
from nkipy_nki import NkiValidationError
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl
from nkipy_nki.neuronxcc.nki import typing as nt
from tests.support import nrt_client
from tests.support.nrt_client import make_neff

X = np.linspace(-2, 2, 8 * 16, dtype=np.float32).reshape(8, 16)
Y = np.arange(1, 8 * 16 + 1, dtype=np.float32).reshape(8, 16)


@nki.jit
def quotient_of_rows(x, y):
    """x / y in the first five rows, and in the corner; -1 elsewhere."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    i, j = nl.mgrid[0:8, 0:16]
    inside = (i < 5) | (j < 3)
    a, b = nl.load(x[i, j], mask=inside), nl.load(y[i, j], mask=inside)
    nl.store(result, -1.0)
    nl.store(result[i, j], a / b, mask=inside)
    return result


@nki.jit
def by_programs(x, y):
    """Each of a grid's programs computes two rows."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    first = nl.program_id(0) * 2
    rows = nl.load(x[nl.ds(first, 2), :]) * nl.num_programs(0)
    nl.store(result[nl.ds(first, 2), :], nl.maximum(rows, nl.load(y[nl.ds(first, 2)])))
    return result


@nki.jit
def gram(x, y):
    """x.T @ y, summed over parts of the rows; and x, transposed."""
    result = nl.ndarray((16, 16), nl.float32, buffer=nl.shared_hbm)
    turned = nl.ndarray((16, 8), x.dtype, buffer=nl.shared_hbm)
    total = nl.zeros((nl.par_dim(16), 16), nl.float32, buffer=nl.psum)
    for i in nl.affine_range(2):
        rows = nl.ds(i * 4, 4)
        total += nl.matmul(nl.load(x[rows]), nl.load(y[rows]), transpose_x=True)
    nl.store(result, nl.copy(total, dtype=nl.float32))
    nl.store(turned, nl.transpose(nl.load(x)))
    return result, turned


@nki.jit
def added_in_place(x: nt.mutable_tensor, y):
    nl.store(x, nl.load(x) + nl.load(y))
    return x


@nki.jit
def sum_of_all(pair, options):
    """The sum of a pair and of what a dict holds."""
    result = nl.ndarray(pair[0].shape, pair[0].dtype, buffer=nl.shared_hbm)
    total = nl.load(pair[0]) + nl.load(pair[1])
    nl.store(result, (total + nl.load(options["more"])) * options["scale"])
    return result


@nki.jit
def scaled_products(a, b):
    """``a.T @ b`` by rows of tiles, and a mask that ends the last."""
    out = nl.ndarray((a.shape[1], b.shape[1]), a.dtype, buffer=nl.shared_hbm)
    total = nl.zeros(out.shape, nl.float32, buffer=nl.psum)
    i_p, i_a = nl.arange(32)[:, None], nl.arange(a.shape[1])[None, :]
    i_b = nl.arange(b.shape[1])[None, :]
    for k in nl.affine_range(2):
        x = nl.zeros((32, a.shape[1]), a.dtype)
        y = nl.zeros((32, b.shape[1]), b.dtype)
        inside = k * 32 + i_p < a.shape[0]
        x[i_p, i_a] = nl.load(a[k * 32 + i_p, i_a], mask=inside)
        y[i_p, i_b] = nl.load(b[k * 32 + i_p, i_b], mask=inside)
        total += nisa.nc_matmul(x, y)
    nl.store(out, nl.copy(total) * 2.0)
    return out


@nki.jit
def depends(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for _ in nl.affine_range(2):
        nl.store(result, nl.load(x))
    return result


@nki.jit
def writes_nothing(x):
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)


KERNELS = {
    "masks": quotient_of_rows,
    "grid": by_programs[4],
    "products": gram,
}


def _leaves(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _require_same(made: Any, expected: Any) -> None:
    for one, other in zip(_leaves(made), _leaves(expected), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_kernel_gives_the_same_bytes_inside(kernel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # sound: no finding, of any generation
        alone = kernel(X, Y)
        _require_same(simulate_jit(lambda x, y: kernel(x, y))(X, Y), alone)
        op = nki_op.wrap_nki_kernel(kernel, [X, Y])
        _require_same(simulate_jit(lambda x, y: op(x, y))(X, Y), alone)
        handle = nki_op.nki_custom_op(nki_kernel=kernel)
        _require_same(simulate_jit(lambda x, y: handle(x, y))(X, Y), alone)


def test_what_is_computed_is_what_numpy_does():
    i, j = np.mgrid[0:8, 0:16]
    expected = np.where((i < 5) | (j < 3), X / Y, np.float32(-1))
    np.testing.assert_allclose(quotient_of_rows(X, Y), expected, rtol=1e-6)
    np.testing.assert_array_equal(by_programs[4](X, Y), np.maximum(X * 4, Y))
    product, turned = gram(X, Y)
    np.testing.assert_allclose(product, X.T @ Y, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(turned, X.T)


@pytest.mark.device
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_kernel_between_ops_gives_the_same_in_all_ways(kernel):
    def model(x, y):
        return tuple(np.negative(part) for part in _leaves(kernel(x * 2, y)))

    check_kernel(model, X, Y)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_a_neff_carries_a_kernel(tmp_path, engine):
    def emitted(b, x, y):
        language = nki_op.language()
        specs = tuple(language.ArraySpec(v.shape, v.dtype) for v in (x, y))
        made = language.embed(by_programs[4], specs, {}, "trn2")
        ((dims, dtype),) = made.interface.outputs
        return b.emit(
            "custom-call",
            (x, y),
            dims,
            dtype,
            {
                "custom_call_target": "AwsNeuronCustomNativeKernel",
                "backend_config": made.program,
            },
        )

    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, **environment) as nrt:
        model = nrt.load(make_neff(emitted, X, Y))
        x, y, out = nrt.tensor(X), nrt.tensor(Y), nrt.empty(X.nbytes)
        inputs = nrt.tensor_set({"x0": x, "x1": y})
        nrt.execute(model, inputs, nrt.tensor_set({"output0": out}))
        _require_same(nrt.read(out, X.shape, X.dtype), by_programs[4](X, Y))


def test_a_grid_may_be_given_when_a_kernel_is_wrapped():
    op = nki_op.wrap_nki_kernel(by_programs, [X, Y], grid=(4,))
    made = simulate_jit(lambda x, y: op(x, y))(X, Y)
    _require_same(made, by_programs[4](X, Y))


def test_a_mutable_argument_is_written_where_the_kernel_is_called():
    def model(x, y):
        z = x * 1
        added_in_place(z, y)
        added_in_place(x, y)
        return z

    check_kernel(model, X.copy(), Y, modes="simulate")
    given = X.copy()
    _require_same(simulate_jit(model)(given, Y), X + Y)
    _require_same(given, X + Y)


def test_an_argument_that_is_not_mutable_is_not_written():
    def overwritten(x):
        nl.store(x, 0.0)
        return x

    with pytest.raises(NkiValidationError, match="err_cannot_update_immutable"):
        trace_function(lambda x: nki.jit(overwritten)(x), (X,), {})


@pytest.mark.parametrize("sequence", [tuple, list])
def test_arrays_may_be_in_what_a_kernel_takes(sequence):
    def model(x, y):
        return sum_of_all(sequence((x, y)), {"more": x * 3, "scale": 0.5})

    _require_same(
        simulate_jit(model)(X, Y), sum_of_all((X, Y), {"more": X * 3, "scale": 0.5})
    )


def test_an_array_in_a_dict_alone_is_enough():
    def model(x):
        return sum_of_all((Y, Y), {"more": x, "scale": 2.0})

    _require_same(simulate_jit(model)(X), (Y + Y + X) * 2)


@pytest.mark.parametrize("maker", [nki.benchmark, nki.baremetal, nki.trace])
def test_what_runs_kernels_alone_lets_them_be_part_of_a_program(maker, capsys):
    made = simulate_jit(lambda x, y: maker(gram)(x, y))(X, Y)
    _require_same(made, gram(X, Y))
    assert not capsys.readouterr().out


def _found(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(NkiValidationError) as raised:
        call()
    finding = raised.value.finding
    assert finding is not None
    return finding.kind, f"{finding.file}:{finding.line} {finding.message}"


@pytest.mark.parametrize(
    ("kernel", "kind", "name", "at"),
    [
        (depends, "iteration-race", "err_unexpected_output_dependencies", 4),
        (writes_nothing, "output-not-written", "err_tensor_output_not_written_to", 2),
    ],
)
def test_what_is_wrong_is_told_inside_as_it_is_alone(kernel, kind, name, at):
    alone = _found(lambda: kernel(X))
    assert alone == _found(lambda: trace_function(lambda x: kernel(x), (X,), {}))
    line = kernel.func.__code__.co_firstlineno + at
    assert alone[0] == kind and alone[1].startswith(f"{__file__}:{line} {name}")


def test_today_has_no_such_finding():
    """Levels are of the generation of each kernel, where a program has several."""

    def model(x, y):
        return quotient_of_rows(x, y) + by_programs[4](x, y)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace_function(model, (X, Y), {})


@nki.jit
def prints(x):
    nl.device_print("x is", nl.load(x))
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nl.store(result, nisa.tensor_copy(nl.load(x)))
    return result


def test_a_kernel_that_prints_runs_inside():
    _require_same(simulate_jit(lambda x: prints(x))(X), X)


def summed_products(a, b):
    return scaled_products(a + 1, b).sum(axis=0)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_kernel_of_the_first_generation_is_called_in_a_program() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((50, n)).astype(np.float32) for n in (16, 24))
    alone = scaled_products(a, b)
    np.testing.assert_allclose(alone, 2 * a.T @ b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        simulate_jit(summed_products)(a, b),
        (2 * (a + 1).T @ b).sum(axis=0),
        rtol=1e-4,
        atol=1e-3,
    )
