"""NKI kernels inside of NumPy: one custom call, wherever the program runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core import nki_op
from nkipy.core.errors import NKIPyError
from nkipy.core.trace import trace_function
from nkipy.hlo import kernel_languages
from nkipy.hlo.ir import Shape
from nkipy.runtime import simulate_jit
from nkipy.testing import check_kernel
from nkipy_emulator.compiler import compile_in_process
from nkipy_nki.neuronxcc import nki as first_nki
from tests.support import nrt_client
from tests.support.nrt_client import make_neff

X = np.linspace(-2, 2, 8 * 16, dtype=np.float32).reshape(8, 16)
Y = np.arange(8 * 16, dtype=np.float32).reshape(8, 16)


@nki.jit
def added(x, y):
    """x + y, and twice that."""
    one = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    two = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    a, b = (nl.ndarray(t.shape, t.dtype) for t in (x, y))
    nisa.dma_copy(a, x)
    nisa.dma_copy(b, y)
    nisa.tensor_tensor(a, a, b, op=nl.add)
    nisa.dma_copy(one, a)
    nisa.tensor_tensor(a, a, a, op=nl.add)
    nisa.dma_copy(two, a)
    return one, two


@nki.jit
def doubled_in_place(x):
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, tile, tile, op=nl.add)
    nisa.dma_copy(x, tile)


@nki.jit
def reads_what_is_not_there(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(result, tile)
    return result


def model(x, y):
    total, twice = added(x * 2, y)
    return np.maximum(total, 0), twice.sum(axis=0)


def mutating(x, y):
    z = x + y
    doubled_in_place(z)
    doubled_in_place(x)
    return z


@nki.jit
def sums_on_two_cores(x, y):
    """The halves' sum, which each core needs the other's half for; y is set to it."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core, rows = nl.program_id(0), x.shape[0] // 2
    mine, theirs = (nl.ndarray((rows, x.shape[1]), x.dtype) for _ in range(2))
    nisa.dma_copy(mine, x[core * rows : (core + 1) * rows])
    nisa.sendrecv(mine, theirs, 1 - core, 1 - core, 0)
    nisa.tensor_tensor(mine, mine, theirs, op=nl.add)
    nisa.dma_copy(result[core * rows : (core + 1) * rows], mine)
    nisa.core_barrier(result, (0, 1))
    if core == 1:
        nisa.dma_copy(y, result)
    return result


def on_two_cores(x, y):
    z = y * 2
    return sums_on_two_cores[2](x + 1, z), z


def test_a_kernel_of_two_cores_runs_inside():
    total, set_to_it = simulate_jit(on_two_cores)(X, Y)
    expected = np.tile(X[:4] + 1 + (X[4:] + 1), (2, 1))
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(set_to_it, expected)


@pytest.mark.device
def test_a_kernel_in_a_program_gives_the_same_in_all_ways():
    check_kernel(model, X, Y)


@pytest.mark.device
def test_what_a_kernel_writes_to_is_written():
    check_kernel(mutating, X.copy(), Y)


def test_a_kernel_is_one_custom_call():
    module = trace_function(model, (X, Y), {}).module
    calls = [i for i in module.instructions() if i.opcode == "custom-call"]
    (call,) = calls
    assert call.attributes["custom_call_target"] == "AwsNeuronCustomNativeKernel"
    assert len(call.operands) == len(call.tuple_shapes) == 2


def _embedded(b, x, y):
    made = nki_op.language().embed(
        added,
        tuple(nki_op.language().ArraySpec(v.shape, v.dtype) for v in (x, y)),
        {},
        "trn2",
    )
    attributes = {
        "custom_call_target": kernel_languages.TARGET,
        "backend_config": made.program,
    }
    shapes = [Shape(dtype, dims) for dims, dtype in made.interface.outputs]
    return b.tuple_result("custom-call", (x, y), shapes, attributes)[1]


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_a_neff_carries_the_kernel(tmp_path, engine):
    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, **environment) as nrt:
        model = nrt.load(make_neff(_embedded, X, Y))
        x, y, out = nrt.tensor(X), nrt.tensor(Y), nrt.empty(X.nbytes)
        inputs = nrt.tensor_set({"x0": x, "x1": y})
        nrt.execute(model, inputs, nrt.tensor_set({"output0": out}))
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), 2 * (X + Y))


def test_another_generation_is_refused_when_it_is_compiled(tmp_path):
    module = nrt_client.make_module(_embedded, X, Y)
    (tmp_path / "m.pb").write_bytes(module.serialize())
    for target, code in (("trn1", 70), ("trn2", 0)):
        options = ["--framework", "XLA", "--target", target, "--lnc", "1"]
        done = compile_in_process(["compile", "m.pb", *options], tmp_path)
        assert done.returncode == code
        said = b"the NKI kernel was traced for trn2 (gen3)"
        assert (said in done.stderr) == (target == "trn1")


@pytest.mark.parametrize("part", [np.sum, lambda x: x[0:0]])
def test_a_call_that_cannot_be_names_its_line(part):
    def model(x):
        return added(x, part(x))

    with pytest.raises(nki.NkiValidationError, match="argument y has") as raised:
        simulate_jit(model)(X)
    line = model.__code__.co_firstlineno + 1
    assert f"at {__file__}:{line}" in str(raised.value)


def test_what_only_values_show_is_said_with_the_kernels_line():
    with pytest.raises(nki.NkiValidationError, match="never written") as raised:
        simulate_jit(lambda x: reads_what_is_not_there(x))(X)
    line = reads_what_is_not_there.func.__code__.co_firstlineno + 4
    assert f"{__file__}:{line}" in str(raised.value)


def test_what_the_language_refuses_is_refused_while_tracing():
    @nki.jit
    def wrong(x):
        tile = nl.ndarray((4, 4), x.dtype)
        nisa.dma_copy(tile, x)

    with pytest.raises(nki.NkiValidationError, match="dma_copy"):
        trace_function(lambda x: wrong(x), (X,), {})


def test_wrapped_kernels_take_the_shapes_that_they_were_wrapped_for():
    op = nki_op.wrap_nki_kernel(added, [X, Y])
    one, two = simulate_jit(lambda x, y: op(x, y))(X, Y)
    np.testing.assert_array_equal(two, 2 * one)
    with pytest.raises(ValueError, match="was traced for"):
        simulate_jit(lambda x, y: op(x[:4], y[:4]))(X, Y)
    with pytest.raises(NotImplementedError):
        op(X, Y)


def test_a_constant_cannot_be_written():
    @nki.jit
    def copied(x, y):
        nisa.dma_copy(y, x)

    constant = X.copy()
    with pytest.raises(NKIPyError, match="writes to its argument y"):
        trace_function(lambda x: copied(x, constant), (X,), {})


def test_without_the_language_it_is_said_which_package_is_missing(monkeypatch):
    monkeypatch.setattr(nki_op, "language", lambda: None)
    with pytest.raises(nki_op.NKINotAvailableError, match="nkipy-nki"):
        nki_op.wrap_nki_kernel(added, [X, Y])


def test_an_argument_that_is_returned_twice_is_one_result():
    @nki.jit
    def twice(x):
        tile = nl.load(x)
        nisa.tensor_tensor(tile, tile, tile, op=nl.add)
        nisa.dma_copy(x, tile)
        return x, x

    check_kernel(lambda x: twice(x), X.copy(), modes="simulate")


def test_a_view_of_an_argument_is_a_result_of_its_own():
    square = np.arange(64, dtype=np.float32).reshape(8, 8)
    flipped = nki.simulate(lambda x: x.permute((1, 0)))
    np.testing.assert_array_equal(flipped(square), square.T)
    bits = nki.simulate(lambda x: x.view(nl.int32))(square)
    assert bits.tobytes() == square.tobytes() and bits.dtype == np.int32


def test_results_that_are_not_written_are_told_inside_of_numpy():
    @nki.jit
    def half(x):
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result[:4], x[:4])
        return result

    with pytest.raises(nki.NkiValidationError, match="output-not-written"):
        simulate_jit(lambda x: half(x))(X)


def test_arguments_that_share_memory_are_refused_where_one_is_written():
    @nki.jit
    def copied(x, y):
        nisa.dma_copy(y, x)

    with pytest.raises(NKIPyError, match="argument y, .* shares its memory with x:"):
        trace_function(lambda x: copied(x[:4], x[4:]), (X.copy(),), {})
    for arguments in (lambda x: (x, x), lambda x: (x, X.copy())):

        def program(x, arguments=arguments):
            return copied(*arguments(x))  # called here

        with pytest.raises(NKIPyError, match="writes to its argument y, which") as made:
            trace_function(program, (X.copy(),), {})
        (line,) = [
            number
            for number, text in enumerate(Path(__file__).read_text().splitlines(), 1)
            if text.endswith("# called here")
        ]
        assert made.value.location == (__file__, line)


def test_no_variable_lets_a_program_in_that_is_wrong(monkeypatch):
    module = nki_op.language()
    specs = tuple(module.ArraySpec(v.shape, v.dtype) for v in (X, Y))
    made = module.embed(added, specs, {}, "trn2").program
    monkeypatch.setenv("NKIPY_NKI_FINDINGS", "wrong-operand=off")
    assert module.interface(made).inputs[0][0] == X.shape
    wrong = made.replace(b"[8,16]", b"[8,15]", 1)
    with pytest.raises(ValueError, match="no NKI program"):
        module.interface(wrong)


def test_an_argument_that_is_returned_unwritten_may_be_a_constant():
    @nki.jit
    def first_of(x, y):
        return x, y

    constant = X.copy()
    check_kernel(lambda x: first_of(constant, x)[0] + x, X, modes="simulate")


@pytest.mark.parametrize("language", ["today", "first"])
def test_a_call_without_an_argument_names_its_line(language):
    def function(x, y):
        return x + y

    kernel = nki.jit(function) if language == "today" else first_nki.jit(function)

    def layer(x):
        return kernel(x)  # no y

    line = layer.__code__.co_firstlineno + 1
    with pytest.raises(TypeError, match="missing a required argument: 'y'") as raised:
        simulate_jit(layer)(X)
    assert f"at {__file__}:{line}" in str(raised.value)
