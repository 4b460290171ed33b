"""Wrong calls over the language: the class of each error, its line, and what it says.

What the language refuses is an ``NkiValidationError``, and an ``AssertionError``; what
a register's value would be needed for is a ``TypeError``, as documented. Each names the
line of this file, what was received, and what may be given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.language as first_nl
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord
from tests.support.nki.samples import emit_sample, prepared

RECORDS = [record for _, record in sorted(INSTRUCTIONS.items())]

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)
Call = Callable[[Any], Any]


def tile(shape: Any = (128, 64), dtype: Any = nl.float32, buffer: Any = nl.sbuf) -> Any:
    made = nl.ndarray(shape, dtype, buffer=buffer)
    nisa.memset(made, 0.0 if made.dtype.is_float else 0)
    return made


def product(**options: Any) -> Any:
    total = nl.ndarray((64, 64), nl.float32, buffer=nl.psum)
    return nisa.nc_matmul(total, tile(), tile(), **options)


def summed(**options: Any) -> Any:
    return nisa.tensor_tensor(tile(), tile(), tile(), **{"op": nl.add, **options})


register = nisa.register_alloc

#: What is called, and what the error says: what was received, what may be given.
REFUSED: list[tuple[Call, str, str]] = [
    # -- tensors
    (lambda x: tile(dtype="float33"), "'float33'", "which has bool_"),
    (lambda x: tile(dtype=np.complex64), "complex64", "which has bool_"),
    (lambda x: tile().view("bfloat17"), "'bfloat17'", "which has bool_"),
    (lambda x: tile(buffer="sbfu"), "buffer is 'sbfu'", "must be nl.sbuf"),
    (lambda x: tile(buffer=3), "buffer is 3", "must be nl.sbuf"),
    (lambda x: tile((128, 4.0)), "(128, 4.0)", "whole numbers"),
    (lambda x: tile((128, register(4))), "VirtualRegister", "whole numbers"),
    (lambda x: tile((128,)), "[128]", "two dimensions"),
    (lambda x: tile((4, 0)), "[4, 0]", "positive numbers"),
    (lambda x: tile((0, 4)), "[0, 4]", "positive numbers"),
    (lambda x: nl.zeros((0, 4), "int8", nl.shared_hbm), "[0, 4]", "positive numbers"),
    (lambda x: nl.shared_constant(X[0:0]), "[0, 64]", "must have elements"),
    (lambda x: tile((256, 4)), "has 256 partitions", "may have 128"),
    (lambda x: nl.ndarray((4, 4), "int8", address="0"), "'0'", "from 0 on"),
    (lambda x: nl.ndarray((4, 4), "int8", address=(0, -4)), "(0, -4)", "from 0 on"),
    (lambda x: nl.full((4, 4), "a", nl.float32), "'a'", "must be a number"),
    (lambda x: nl.shared_identity_matrix("a"), "n is 'a'", "1 to 128"),
    # -- indices
    (lambda x: x[0:0], "x[0:0]", "no elements"),
    (lambda x: tile()[:, 5:3], "5:3", "no elements"),
    (lambda x: tile()[:, nl.ds(0, 0)], "the size is 0", "must be positive"),
    (lambda x: tile()[:, 64], "index 64 of dimension 1", "has 64 elements"),
    (lambda x: tile()[:, 0:65], "index 65 of dimension 1", "has 64 elements"),
    (lambda x: x[nl.ds(120, 9)], "index 129 of dimension 0", "has 128 elements"),
    (lambda x: tile()[:, 1.5], "1.5", "must be an int or a slice"),
    (lambda x: tile()[np.arange(3)], "array([0, 1, 2])", "must be an int"),
    (lambda x: tile()[:, nl.ds(0, "4")], "'4'", "must be a whole number"),
    (lambda x: tile()[:, nl.ds(0, register(4))], "only the run", "a whole number"),
    (lambda x: tile()[:, register(0) : 4], "VirtualRegister", "use nl.ds"),
    (lambda x: x.vector_select(0, 3), "3", "a register or a tile of integers"),
    # -- views
    (lambda x: tile().slice("a", 0, 3), "dim is 'a'", "must be a whole number"),
    (lambda x: tile().select(5, 0), "dim 5", "of 2 dimensions"),
    (lambda x: tile().permute(3), "permute(3)", "must be a tuple"),
    (lambda x: tile().permute((1, 0)), "permute((1, 0))", "cannot be moved"),
    (lambda x: tile((128, 1)).broadcast(1, "4"), "'4'", "must be a whole number"),
    (lambda x: tile().reshape((128, 63)), "8064 elements", "there are 8192"),
    (lambda x: tile().reshape_dim(1, (2.0, 32)), "2.0", "must be a whole number"),
    (lambda x: tile().rearrange(("p", "f"), ("p", "g")), "'g'", "the same names"),
    # -- access patterns
    (lambda x: tile().ap([[64, 128], [1, 65]]), "[127, 64]", "which has 64"),
    (lambda x: x.ap([[64, 129], [1, 64]]), "element 8255", "there are 8192"),
    (lambda x: tile().ap([64, 128]), "[64, 128]", "is [stride, count] of each"),
    (lambda x: tile().ap(None), "ap(None)", "is [stride, count] of each"),
    (lambda x: tile().ap([[64, 4], [1.0, 4]]), "1.0", "must be a whole number"),
    (lambda x: tile().ap([[64, 4], [1, 4]], offset="1"), "'1'", "a whole number"),
    # -- NumPy and Python
    (lambda x: tile() + 1, "__add__", "use nl.add"),
    (lambda x: np.add(tile(), 1), "np.add", "use nl.add"),
    (lambda x: np.sum(tile()), "np.add", "use nl.add"),
    (lambda x: np.asarray(tile()), "no array", "at run time only"),
    (lambda x: bool(tile()), "no truth value", "nl.where"),
    # -- registers and loops
    (lambda x: register("a"), "'a'", "must be"),
    (lambda x: nisa.register_store(tile((1, 1), nl.int32), register()), "0", "set it"),
    (lambda x: nl.fori_loop(0, register(), print), "register 0", "set it with"),
    (lambda x: nl.fori_loop(0, "3", print), "'3'", "an int or a register"),
    (lambda x: nl.fori_loop(0, 3, None), "None", "must be a function"),
    (lambda x: nl.while_loop(3, print), "3", "must be a register"),
    (lambda x: nl.affine_range("3"), "'3'", "must be a whole number"),
    (lambda x: nl.program_id("a"), "'a'", "must be a whole number"),
    # -- instructions
    (lambda x: summed(op="plus"), "'plus'", "must be"),
    (lambda x: summed(engine="vector"), "'vector'", "nisa.engine.vector"),
    (lambda x: summed(name=5), "name is 5", "must be a str"),
    (lambda x: nisa.tensor_tensor(tile(), X, tile(), nl.add), "ndarray", "a tensor"),
    (lambda x: nisa.activation(tile(), nl.exp, tile(), scale="a"), "scale", "must be"),
    (lambda x: nisa.memset(tile(), "a"), "'a'", "must be"),
    (lambda x: nisa.dma_copy(tile(), x, dge_mode=2), "2", "nisa.dge_mode.swdge"),
    (lambda x: nisa.dma_copy(tile(), x, priority="a"), "'a'", "a whole number"),
    (lambda x: product(accumulate="yes"), "'yes'", "True or False"),
    (lambda x: product(is_transpose="no"), "'no'", "must be True or False"),
    (lambda x: nisa.iota(tile(dtype=nl.int32), "ab"), "'ab'", "must be"),
    (lambda x: nl.load("a"), "'a'", "must be"),
    (lambda x: nl.load(X), "an ndarray [128, 64] float32", "nl.shared_constant"),
    (lambda x: nl.exp(X), "an ndarray [128, 64] float32", "nl.shared_constant"),
    (lambda x: nl.zeros_like(X), "an ndarray [128, 64]", "nl.shared_constant"),
    (lambda x: nisa.dma_copy(tile(), X), "an ndarray [128, 64]", "nl.shared_constant"),
    (lambda x: nki.jit(nl.load)(X), "kernel load", "called in another kernel with"),
    (lambda x: nki.jit(nl.load)([X]), "kernel load", "called in another kernel with"),
    (lambda x: nl.add(tile(), "a"), "'a'", "must be"),
    (lambda x: nl.exp(tile(), dtype="f77"), "'f77'", "which has bool_"),
    (lambda x: nl.rms_norm(tile(), tile(), 1, "n"), "'n'", "not 0"),
    (lambda x: nl.sum(tile(), axis="a"), "'a'", "axis"),
]

FIRST: list[tuple[Call, str, str]] = [
    (lambda x: first_nl.exp(X), "an ndarray [128, 64]", "nl.shared_constant"),
    (lambda x: first_nki.jit(first_nl.load)(X), "kernel load", "in another kernel"),
    (lambda x: first_nl.load(x, dtype="f77"), "'f77'", "which has bool_"),
    (lambda x: first_nl.zeros("ab", dtype=np.float32), "'a'", "a whole number"),
    (lambda x: first_nl.par_dim("a"), "'a'", "must be a whole number"),
    (lambda x: first_nl.arange(3.5), "3.5", "must be a whole number"),
    (lambda x: first_nl.mgrid["a"], "'a'", "slices with an end"),
    (lambda x: list(first_nl.affine_range(2.5)), "2.5", "must be a whole number"),
    (lambda x: first_nl.load(x[0:129]), "index 129", "which has 128 elements"),
    (
        lambda x: first_nl.where(
            first_nl.load(x) > 0, first_nl.load(x[0:64]), first_nl.load(x)
        ),
        "[64, 64]",
        "cannot be broadcast together",
    ),
    (lambda x: first_nl.sum(first_nl.load(x), axis="a"), "'a'", "a whole number"),
]

#: What would need a register's value, which only the run knows.
UNKNOWN: list[Call] = [
    lambda x: 1 if register(3) else 2,
    lambda x: int(register(3)),
    lambda x: range(register(3)),
    lambda x: [1, 2, 3][register(1)],
    lambda x: register(3) + 1,
    lambda x: 2 * register(3),
    lambda x: register(3) == 3,
    lambda x: np.arange(register(3)),
    lambda x: nl.affine_range(register(3)),
    lambda x: bool(nisa.scalar_load(tile((1, 1), nl.int32)) < 3),
]


def _error(call: Call, *, first: bool = False) -> Exception:
    """What a kernel raises that makes a call, which must name the call's line."""

    def kernel(x: Any) -> Any:
        call(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises((nki.NkiValidationError, TypeError)) as raised:
            if first:
                first_nki.simulate_kernel(first_nki.jit(kernel), X.copy())
            else:
                nki.simulate(kernel, target="trn2").run(X.copy())
    return raised.value


def _lines(call: Call) -> set[str]:
    """The lines of a call, as errors name them."""
    lines = {line for _, _, line in call.__code__.co_lines() if line}
    return {f"{__file__}:{line}" for line in lines}


@pytest.mark.parametrize(
    "call, received, allowed, first",
    [(*row, False) for row in REFUSED] + [(*row, True) for row in FIRST],
)
def test_a_wrong_call_is_refused_at_its_line(
    call: Call, received: str, allowed: str, first: bool
) -> None:
    error = _error(call, first=first)
    assert isinstance(error, nki.NkiValidationError)
    assert isinstance(error, AssertionError)
    text = str(error)
    assert received in text and allowed in text, text
    helpers = {f"{__file__}:{line}" for f in (tile, product, summed) for line in _of(f)}
    assert any(line in text for line in _lines(call) | helpers), text


def _of(function: Callable[..., Any]) -> list[int]:
    return [line for _, _, line in function.__code__.co_lines() if line]


@pytest.mark.parametrize("call", UNKNOWN)
def test_what_needs_a_register_s_value_is_a_type_error(call: Call) -> None:
    error = _error(call)
    assert isinstance(error, TypeError)
    assert any(line in str(error) for line in _lines(call)), error


def test_a_register_is_no_result() -> None:
    with pytest.raises(nki.NkiValidationError, match="results must be tensors"):
        nki.simulate(lambda x: register(3)).run(X.copy())


def yields(x: Any) -> Any:
    yield x


async def waits(x: Any) -> Any:
    return x


async def yields_and_waits(x: Any) -> Any:
    yield x


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "kernel, what",
    [
        (yields, "a generator"),
        (waits, "a coroutine"),
        (yields_and_waits, "an asynchronous generator"),
        (lambda x: (x, yields(x)), "a generator"),
    ],
)
def test_what_was_not_run_is_no_result(kernel: Call, what: str) -> None:
    with pytest.raises(nki.NkiValidationError, match="results must be tensors") as one:
        nki.jit(kernel)(X.copy())
    with pytest.raises(nki.NkiValidationError, match="results must be tensors"):
        first_nki.jit(kernel)(X.copy())
    assert what in str(one.value) and f"at {__file__}:" in str(one.value)


def test_outside_of_a_kernel_that_is_the_error() -> None:
    for call in (lambda: nl.load(X), lambda: nl.exp(X), lambda: tile()):
        with pytest.raises(nki.NkiValidationError, match="outside of a kernel") as one:
            call()
        assert f"at {__file__}:" in str(one.value)


def test_a_register_is_still_a_key() -> None:
    def kernel(x: Any) -> None:
        one, two = register(1), register(2)
        assert len({one, two, one}) == 2

    nki.simulate(kernel).run(X.copy())


# -- anything for each parameter -------------------------------------------------------
ANYTHING = [
    *("text", None, -1, 3.5, 1 << 40, float("nan"), 1j, True),
    *((), (1, 2, 3), [[1, "a"]], {}, object(), np.ones(3), np.ones(())),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_an_instruction_takes_a_value_or_refuses_it(record: InstructionRecord) -> None:
    """No value of any kind for a parameter is another error than the language's."""
    sample = replace(next(iter(record.samples())), others=())
    (core,) = prepared(record, sample)
    for name in record.signature.parameters.keys() - {"name"}:
        for value in ANYTHING:
            given, attributes = dict(core.operands), dict(sample.attributes)
            (given if name in record.operands else attributes)[name] = value
            try:
                told = replace(sample, attributes=attributes)
                emit_sample(record, [core._replace(sample=told, operands=given)])
            except nki.NkiValidationError as error:
                assert "samples.py:" in str(error), (name, value, error)
