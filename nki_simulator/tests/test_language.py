"""Functions of ``nki.language``: what each gives in a kernel, by NumPy's."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki import NkiValidationError
from nkipy_nki.findings import NkiWarning
from nkipy_nki.operators import OPERATIONS, find_operation
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode

BF16 = np.dtype(ml_dtypes.bfloat16)
#: How far results may be from NumPy's, by the type they are rounded to.
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}

DOCUMENTED = """
    ndarray zeros ones full zeros_like empty_like rand random_seed shared_constant
    shared_identity_matrix load store load_transpose2d copy broadcast_to expand_dims
    gather_flattened where matmul transpose affine_range sequential_range static_range
    dynamic_range fori_loop while_loop ds no_reorder program_id num_programs
    program_ndim abs abs_max abs_min add arctan ceil cos divide exp floor fmod log
    maximum minimum mod multiply negative power reciprocal rsqrt sign sin sqrt square
    subtract tan tanh trunc relu sigmoid silu silu_dx gelu gelu_dx gelu_apprx_sigmoid
    gelu_apprx_sigmoid_dx gelu_apprx_tanh mish softplus erf erf_dx softmax dropout
    rms_norm sum prod max min mean var all equal not_equal less less_equal greater
    greater_equal logical_and logical_or logical_xor logical_not bitwise_and bitwise_or
    bitwise_xor invert left_shift right_shift prelu bypass average device_print
    tile_size sbuf psum hbm private_hbm shared_hbm MemoryRegion NKIObject NkiTensor
    is_hbm is_psum is_sbuf is_on_chip DType bool_ int8 int16 int32 int64 uint8 uint16
    uint32 float16 bfloat16 tfloat32 float32 float8_e4m3 float8_e4m3fn float8_e5m2
    float8_e8m0fnu float8_e5m2_x4 float8_e4m3fn_x4 float4_e2m1fn_x4 tiles blocks
    alloc_tiles alloc_blocks NkiGrid NkiTileGrid NkiBlockGrid bool range
""".split()


def run(
    function: Callable[..., Any], *arrays: np.ndarray, target: str = "trn2"
) -> np.ndarray:
    """What a function of tiles gives for arrays."""

    def kernel(*tensors: Any) -> Any:
        made = function(*[nl.load(tensor) for tensor in tensors])
        result = nl.ndarray(made.shape, made.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(made) if nl.is_psum(made) else made)
        return result

    found: np.ndarray = nki.Simulator(
        kernel, target=target, findings={"would-not-compile": "off"}
    )(*arrays)
    return found


def refused(function: Callable[..., Any], *arrays: np.ndarray, match: str) -> None:
    with pytest.raises(NkiValidationError, match="(?s)" + match) as raised:
        run(function, *arrays)
    assert __file__ in str(raised.value)


def numbers(dtype: Any = np.float32, shape: tuple[int, ...] = (4, 6)) -> np.ndarray:
    made = np.random.default_rng(len(shape)).uniform(-4, 4, shape)
    return made.astype(dtype)


def close(mine: np.ndarray, expected: Any) -> None:
    wide = np.asarray(expected, np.float64)
    if mine.dtype.kind in "iu":
        np.testing.assert_array_equal(mine, np.asarray(expected))
        return
    tolerance = TOLERANCE[mine.dtype.name]
    np.testing.assert_allclose(mine.astype(np.float64), wide, tolerance, tolerance)


def f64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


# -- names -----------------------------------------------------------------------------
def test_documented_names_are_there() -> None:
    assert [name for name in DOCUMENTED if not hasattr(nl, name)] == []
    assert set(DOCUMENTED) <= set(nl.__all__)


def test_each_operation_has_its_token() -> None:
    for name, operation in OPERATIONS.items():
        token = getattr(nl, name)
        assert getattr(token, "operation", token) is operation
    kinds = ("arithmetic", "activation", "special")
    assert find_operation(nl.max, kinds).name == "maximum"
    assert find_operation(nl.min, kinds).name == "minimum"
    assert find_operation(nl.sum, kinds).name == "add"
    assert find_operation(nl.prod, kinds).name == "multiply"
    assert find_operation(nl.mean, kinds).name == "average"


def test_memories() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        assert nl.is_sbuf(tile) and nl.is_on_chip(tile) and not nl.is_psum(tile)
        assert nl.is_hbm(x) and not nl.is_on_chip(x)
        assert nl.is_psum(nl.psum) and nl.is_hbm(nl.shared_hbm)
        with pytest.raises(NkiValidationError, match="neither a memory"):
            nl.is_sbuf("sbuf")
        return x

    nki.simulate(kernel)(numbers())


@pytest.mark.parametrize(
    "target, sbuf", [("trn1", 192 << 10), ("trn2", 224 << 10), ("trn3", 256 << 10)]
)
def test_sizes_of_tiles(
    target: str, sbuf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", target)
    size = nl.tile_size
    assert (size.pmax, size.psum_bank_fmax, size.psum_bank_fmax_bytes) == (
        128,
        512,
        2048,
    )
    assert size.gemm_stationary_fmax == 128
    assert size.gemm_moving_fmax == size.bn_stats_fmax == 512
    assert (size.sbuf_fmax_bytes, size.sbuf_fmax) == (sbuf, sbuf // 4)
    assert size.sbuf_size_bytes == 128 * sbuf
    assert size.psum_num_banks == 8
    monkeypatch.setenv("NKI_DMA_TRANSPOSE_AS_PE_TRANSPOSE", "true")
    assert size.psum_num_banks == (8 if target == "trn1" else 7)
    with pytest.warns(DeprecationWarning, match="psum_bank_fmax"):
        assert size.psum_fmax == 512
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert size.total_available_sbuf_size == sbuf - 16384 - 8


def test_objects_of_kernels() -> None:
    class Pair(nl.NKIObject):
        pass

    pair = Pair(one=1)
    pair.two = 2  # type: ignore[attr-defined]
    assert vars(pair) == {"one": 1, "two": 2}


# -- new tensors -----------------------------------------------------------------------
@pytest.mark.parametrize("buffer", [nl.sbuf, nl.psum, nl.shared_hbm, nl.private_hbm])
@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16, nl.int32])
def test_filled(buffer: Any, dtype: Any) -> None:
    def kernel() -> Any:
        made = [
            nl.full((3, 5), 7, dtype, buffer),
            nl.zeros((3, 5), dtype, buffer),
            nl.ones((3, 5), dtype, buffer=buffer),
        ]
        assert {t.buffer for t in made} == {buffer}
        results = [nl.ndarray((3, 5), dtype, nl.shared_hbm) for _ in made]
        for result, tensor in zip(results, made):
            if nl.is_on_chip(tensor):
                nl.store(result, nl.copy(tensor))
            else:
                nisa.dma_copy(result, tensor)
        return tuple(results)

    for result, value in zip(nki.simulate(kernel)(), (7, 0, 1)):
        assert result.dtype.name == dtype
        np.testing.assert_array_equal(result, np.full((3, 5), value, result.dtype))


def test_hbm_beyond_a_tile_is_filled() -> None:
    def kernel() -> Any:
        return nl.full((300, 2, 3), -np.inf, nl.float32, nl.shared_hbm)

    np.testing.assert_array_equal(
        nki.simulate(kernel)(), np.full((300, 2, 3), -np.inf, np.float32)
    )


def test_like_another() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.zeros_like(x)
        assert (tile.shape, tile.dtype, tile.buffer) == ((4, 6), "bfloat16", nl.sbuf)
        other = nl.empty_like(x, dtype=nl.int8, buffer=nl.shared_hbm, name="o")
        assert (other.shape, other.dtype, other.name) == ((4, 6), "int8", "o")
        nl.store(other, tile)
        return other

    assert not nki.simulate(kernel)(numbers(BF16)).any()
    refused(lambda x: nl.zeros_like(3), numbers(), match="must be a tensor")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_identity(dtype: str) -> None:
    found = run(lambda x: nl.shared_identity_matrix(5, dtype), numbers())
    np.testing.assert_array_equal(found, np.eye(5, dtype=found.dtype))
    assert found.dtype.name == dtype


def test_identity_into_a_tile() -> None:
    def into(x: Any) -> Any:
        dst = nl.ndarray((3, 3), nl.float32)
        nl.shared_identity_matrix(3, nl.float32, dst)
        return dst

    np.testing.assert_array_equal(run(into, numbers()), np.eye(3))
    refused(lambda x: nl.shared_identity_matrix(129), numbers(), match="1 to 128")
    refused(
        lambda x: nl.shared_identity_matrix(3, nl.float32, x), numbers(), match="dst is"
    )


def test_constants(tmp_path: Any) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.save(tmp_path / "c.npy", array)

    def kernel() -> Any:
        constants = (nl.shared_constant(array), nl.shared_constant(tmp_path / "c.npy"))
        results = tuple(nl.empty_like(c, buffer=nl.shared_hbm) for c in constants)
        for result, constant in zip(results, constants):
            assert constant.buffer is nl.shared_hbm
            nl.store(result, nl.load(constant))
        return results

    for result in nki.simulate(kernel)():
        np.testing.assert_array_equal(result, array)
    refused(lambda x: nl.shared_constant(np.float32(1)), numbers(), match="elements")


def test_a_constant_of_a_pipe_is_refused_at_once(tmp_path: Any) -> None:
    os.mkfifo(tmp_path / "c.npy")
    with pytest.raises(nki.NkiValidationError, match="is no regular file"):
        nki.simulate(lambda x: nl.shared_constant(tmp_path / "c.npy"))(numbers())


@pytest.mark.parametrize("target", ["trn2", "trn3"])
@pytest.mark.parametrize("buffer", [nl.sbuf, nl.psum])
def test_random_numbers(target: str, buffer: Any) -> None:
    def drawn(seed: Any) -> Any:
        nl.random_seed(seed)
        first = nl.copy(nl.rand((64, 40), nl.float32, buffer=buffer))
        nl.random_seed(seed)
        again = nl.copy(nl.rand((64, 40), nl.float32, buffer=buffer))
        result = nl.ndarray((64, 80), nl.float32)
        result[:, :40], result[:, 40:] = first, again
        return result

    found = run(drawn, np.array([[42]], np.int32), target=target)
    np.testing.assert_array_equal(found[:, :40], found[:, 40:])
    assert 0 <= found.min() and found.max() <= 1
    assert 0.45 < found.mean() < 0.55
    assert 0.07 < found.var() < 0.1


# -- of two ----------------------------------------------------------------------------
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "fmod": np.fmod,
}
TRUTH: dict[str, Callable[..., Any]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
BITWISE: dict[str, Callable[..., Any]] = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
}


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_arithmetic(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), ARITHMETIC[name]
    x, y = (
        numbers(dtype),
        np.abs(numbers(dtype, (4, 6))[::-1]) + dtype.type(1)
        if (isinstance(dtype, np.dtype))
        else np.abs(numbers(dtype)[::-1]) + dtype(1),
    )
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    close(found, expected(f64(x), f64(y)))
    close(run(lambda t: function(t, 2.5), x), expected(f64(x), 2.5))
    close(run(lambda t: function(2.5, t), y), expected(2.5, f64(y)))
    wide = run(lambda t, u: function(t, u, dtype=nl.float32), x, y)
    assert wide.dtype == np.float32


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_arithmetic_of_whole_numbers(name: str) -> None:
    x = np.array([[2**30 + 1, -7, 12], [0, 5, -(2**24) - 1]], np.int32)
    y = np.array([[1, 3, -4], [9, -5, 2]], np.int32)
    function, expected = getattr(nl, name), ARITHMETIC[name]
    found = run(function, x, y)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected(x, y))
    small = x % 100
    np.testing.assert_array_equal(
        run(lambda t: function(t, 3), small), expected(small, 3)
    )
    assert run(lambda t: function(t, 0.5), small).dtype == np.float32


def test_power_and_magnitudes() -> None:
    x, y = np.abs(numbers()) + np.float32(0.1), numbers()[::-1]
    close(run(nl.power, x, y.copy()), f64(x) ** f64(y))
    close(run(lambda t: nl.power(t, 0.5), x), np.sqrt(f64(x)))
    close(run(lambda t: nl.power(2.0, t), y.copy()), 2.0 ** f64(y))
    size = np.maximum(np.abs(x), np.abs(y))
    close(run(nl.abs_max, x, y.copy(), target="trn3"), size)
    close(run(nl.abs_min, x, y.copy(), target="trn3"), np.minimum(abs(x), abs(y)))
    refused(nl.abs_max, x, y.copy(), match="gen4")


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_truth(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), TRUTH[name]
    x = np.array([[0, 1, 2, 3], [3, 0, 1, 2]], dtype)
    y = np.array([[0, 2, 2, 0], [1, 0, 3, 2]], dtype)
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.astype(bool), expected(x, y))
    found = run(lambda t: function(t, 1.0, dtype=nl.uint8), x)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected(x, 1))
    np.testing.assert_array_equal(run(lambda t: function(1.0, t), x), expected(1, x))


@pytest.mark.parametrize("name", BITWISE)
@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_bits(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), BITWISE[name]
    x = np.array([[0, 1, 200, 77], [255, 1024, 3, 6]], dtype)
    y = np.array([[1, 2, 3, 4], [0, 5, 6, 1]], dtype)
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, expected(x, y))
    np.testing.assert_array_equal(
        run(lambda t: function(t, 3), x), expected(x, np.array(3, dtype))
    )
    np.testing.assert_array_equal(run(nl.invert, x), ~x)


def test_types_together() -> None:
    types = {
        ("bfloat16", "float32"): "float32",
        ("bfloat16", "float16"): "float32",
        ("bfloat16", "int32"): "bfloat16",
        ("int8", "int32"): "int32",
        ("int16", "uint16"): "int32",
        ("uint8", "int8"): "int16",
        ("int32", "uint32"): "int32",
        ("float8_e4m3", "float8_e5m2"): "bfloat16",
    }

    def kernel() -> None:
        for (first, second), expected in types.items():
            x, y = nl.ones((2, 2), first), nl.ones((2, 2), second)
            assert nl.add(x, y).dtype == nl.multiply(y, x).dtype == expected

    nki.simulate(kernel)()


def test_operands_that_are_refused() -> None:
    x, column = numbers(), numbers(shape=(4, 1))
    refused(
        nl.add, x, column, match=r"nl.add: x has the shape \[4, 6\], and y \[4, 1\]"
    )
    refused(lambda t: nl.add(1, 2), x, match="one must be a tile")
    refused(lambda t: nl.add(t, "y"), x, match="y is 'y'")
    refused(lambda t: nl.bitwise_and(t, t), x, match="whole numbers")

    def kernel(x: Any) -> Any:
        return nl.add(x, 1.0)

    with pytest.raises(NkiValidationError, match="nl.load"):
        nki.simulate(kernel)(x)
    with pytest.raises(NkiValidationError, match="outside of a kernel"):
        nl.zeros((2, 2), nl.float32)


def test_a_comparison_can_be_asserted() -> None:
    def kernel(x: Any, holds: bool) -> Any:
        tile = nl.load(x)
        assert bool(nl.equal(tile, tile if holds else nl.add(tile, 1.0))) is holds
        return x

    for holds in (True, False):
        with pytest.warns(NkiWarning, match="run time only"):
            nki.simulate(kernel)(numbers(), holds)


# -- of one ----------------------------------------------------------------------------
def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def _normal(x: np.ndarray) -> np.ndarray:
    return (1 + _erf(x / math.sqrt(2))) / 2


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def _slope(f: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], Any]:
    return lambda x: (f(x + 1e-5) - f(x - 1e-5)) / 2e-5


OF_ONE: dict[str, Callable[[np.ndarray], Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "negative": np.negative,
    "sign": np.sign,
    "square": np.square,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "ceil": np.ceil,
    "floor": np.floor,
    "trunc": np.trunc,
    "reciprocal": np.reciprocal,
    "logical_not": lambda x: x == 0,
    "copy": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "silu_dx": _slope(lambda x: x * _sigmoid(x)),
    "gelu": lambda x: x * _normal(x),
    "gelu_dx": lambda x: _normal(x) + x * _density(x),
    "gelu_apprx_sigmoid": lambda x: x * _sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": _slope(lambda x: x * _sigmoid(1.702 * x)),
    "gelu_apprx_tanh": lambda x: (
        x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    ),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "erf": _erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
}
OF_POSITIVE: dict[str, Callable[[np.ndarray], Any]] = {
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "arctan": np.arctan,
}


@pytest.mark.parametrize("name", [*OF_ONE, *OF_POSITIVE])
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_functions_of_one(name: str, dtype: Any) -> None:
    x = numbers(dtype, (4, 2, 3))
    if name in OF_POSITIVE:
        x = (np.abs(f64(x)) / 4 + 0.1).astype(dtype)
    expected = {**OF_ONE, **OF_POSITIVE}[name](f64(x))
    found = run(getattr(nl, name), x)
    assert found.dtype == np.dtype(dtype)
    if name in ("tan", "reciprocal"):
        scale = 1 + expected**2  # an angle's error, near a pole
        found, expected = (found / scale.astype(dtype)).astype(dtype), expected / scale
    close(found, expected)
    wide = run(lambda t: getattr(nl, name)(t, dtype=nl.float32), x)
    assert wide.dtype == np.float32


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc"])
def test_whole_numbers_at_the_edges(name: str) -> None:
    edges = [0.0, 0.5, 1.5, 2.5, 0.49999997, 8388607.5, 2**23, 2**24 + 2, 2**31, 1e20]
    x = np.array([edges, [-e for e in edges]], np.float32)
    np.testing.assert_array_equal(run(getattr(nl, name), x), getattr(np, name)(x))
    infinite = np.array([[np.inf, -np.inf, np.nan]], np.float32)
    np.testing.assert_array_equal(run(getattr(nl, name), infinite), infinite)
    whole = np.array([[3, -(2**30) - 1]], np.int32)
    np.testing.assert_array_equal(run(getattr(nl, name), whole), whole)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_angles_of_many_turns(name: str) -> None:
    x = np.linspace(-4000, 4000, 96, dtype=np.float32).reshape(4, 24)
    close(run(getattr(nl, name), x), getattr(np, name)(f64(x)))
    # Unlike the engine's own: 9 is beyond pi.
    nine = run(nl.sin, np.array([[9.0]], np.float32))
    close(nine, [[math.sin(9)]])


# -- moving ----------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_load_and_store(dtype: Any) -> None:
    x = numbers(dtype, (4, 3, 2))
    np.testing.assert_array_equal(run(lambda t: t, x), x)
    wide = run(lambda t: nl.copy(t, dtype=nl.float32), x)
    np.testing.assert_array_equal(wide, x.astype(np.float32))

    def rounded(x: Any) -> Any:
        result = nl.ndarray(x.shape, nl.float32, nl.shared_hbm)
        nl.store(result, nl.load(x, dtype=nl.bfloat16))
        return result

    np.testing.assert_array_equal(
        nki.simulate(rounded)(x), x.astype(np.float32).astype(BF16).astype(np.float32)
    )


def test_what_load_and_store_refuse() -> None:
    x = numbers()
    refused(lambda t: nl.load(t), x, match="must be in HBM")
    refused(lambda t: nl.store(t, t), x, match="must be in HBM")
    with pytest.raises(NkiValidationError, match="more than 128 partitions"):
        nki.simulate(nl.load)(numbers(shape=(200, 2)))
    with pytest.raises(NkiValidationError, match="two dimensions"):
        nki.simulate(nl.load)(numbers(shape=(8,)))

    def kernel(x: Any) -> Any:
        nl.store(x, nl.zeros((6, 4), nl.float32))

    with pytest.raises(NkiValidationError, match="dst has the shape"):
        nki.simulate(kernel)(x)

    def of_psum(x: Any) -> Any:
        nl.store(x, nl.zeros((4, 6), nl.float32, nl.psum))

    with pytest.raises(NkiValidationError, match="psum"):
        nki.simulate(of_psum)(x)


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_load_transposed(dtype: Any) -> None:
    x = numbers(dtype, (7, 5))

    def kernel(x: Any) -> Any:
        tile = nl.load_transpose2d(x, dtype=nl.float32)
        result = nl.ndarray(tile.shape, tile.dtype, nl.shared_hbm)
        nl.store(result, tile)
        return result

    np.testing.assert_array_equal(nki.simulate(kernel)(x), x.T.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_broadcasting(dtype: Any) -> None:
    for shape in [(4, 1), (1, 6), (1, 1), (4, 6)]:
        x = numbers(dtype, shape)
        found = run(lambda t: nl.broadcast_to(t, (4, 6)), x)
        np.testing.assert_array_equal(found, np.broadcast_to(x, (4, 6)))
    x = numbers(dtype, (1, 3, 1))
    found = run(lambda t: nl.broadcast_to(t, (5, 3, 2), dtype=nl.float32), x)
    np.testing.assert_array_equal(
        found, np.broadcast_to(x, (5, 3, 2)).astype(np.float32)
    )
    refused(lambda t: nl.broadcast_to(t, (4, 7)), numbers(), match="broadcast_to")
    refused(lambda t: nl.broadcast_to(t, (2, 4, 6)), numbers(), match="broadcast_to")


def test_a_row_of_the_psum_is_broadcast() -> None:
    def broadcast(x: Any) -> Any:
        return nl.broadcast_to(nl.full((1, 6), 3.0, nl.float32, nl.psum), (4, 6))

    np.testing.assert_array_equal(run(broadcast, numbers()), np.full((4, 6), 3.0))


def test_expand_dims() -> None:
    x = numbers()
    found = run(lambda t: nl.expand_dims(t, 1), x)
    np.testing.assert_array_equal(found, np.expand_dims(x, 1))
    refused(lambda t: nl.expand_dims(t, 0), x, match="dim 0")


@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_where(dtype: Any) -> None:
    condition = np.array([[0, 1, -2], [0.5, 0, 0]], np.float32)
    x, y = numbers(dtype, (2, 3)), numbers(dtype, (2, 3))[::-1].copy()
    for first, second in [(x, y), (x, 3), (2, y)]:
        tiles = [a for a in (first, second) if isinstance(a, np.ndarray)]

        def chosen(c: Any, *given: Any, f: Any = first, s: Any = second) -> Any:
            left = list(given)
            pair = [left.pop(0) if isinstance(a, np.ndarray) else a for a in (f, s)]
            return nl.where(c, *pair)

        found = run(chosen, condition, *tiles)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(
            found, np.where(condition != 0, first, second).astype(dtype)
        )
    both = run(lambda c: nl.where(c, 1.0, 2.0), condition)
    np.testing.assert_array_equal(both, np.where(condition != 0, 1.0, 2.0))
    refused(nl.where, condition, numbers(), numbers(), match="condition")


def test_gather() -> None:
    data = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    indices = np.array([[[0, 1, 7]], [[3, 3, 0]]], np.uint32)
    found = run(nl.gather_flattened, data, indices)
    flat = np.take_along_axis(data.reshape(2, -1), indices.reshape(2, -1), axis=1)
    np.testing.assert_array_equal(found, flat.reshape(indices.shape))
    refused(nl.gather_flattened, data, indices.astype(np.int32), match="uint32")


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_transpose(dtype: Any) -> None:
    x = numbers(dtype, (5, 7))
    found = run(nl.transpose, x)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, x.T)
    wide = run(lambda t: nl.transpose(t, dtype=nl.float32), x)
    np.testing.assert_array_equal(wide, x.T.astype(np.float32))


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul(transposed: bool) -> None:
    x, y = numbers(shape=(5, 7)), numbers(shape=(7, 9))
    given = x.T.copy() if transposed else x
    found = run(lambda a, b: nl.matmul(a, b, transpose_x=transposed), given, y)
    np.testing.assert_allclose(found, f64(x) @ f64(y), 1e-5, 1e-5)


def test_matmul_of_other_types_and_shapes() -> None:
    x, y = numbers(BF16, (7, 5)), numbers(BF16, (7, 9))
    found = run(lambda a, b: nl.matmul(a, b, True), x, y, target="trn3")
    assert found.dtype == BF16
    close(found / BF16.type(16), f64(x).T @ f64(y) / 16)
    refused(lambda a, b: nl.matmul(a, b, True), x, y, match="dst")
    refused(lambda a, b: nl.matmul(a, b), x, y, match="x @ y of the shapes")


# -- reductions ------------------------------------------------------------------------
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "var": np.var,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_reductions(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), REDUCTIONS[name]
    x = (
        (numbers(dtype, (4, 3, 5)) / dtype.type(4)).astype(dtype)
        if (isinstance(dtype, np.dtype))
        else numbers(dtype, (4, 3, 5)) / dtype(4)
    )
    for axis in (2, -1, (1, 2), [2, 1], (-1,)):
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else axis
        for keepdims in (False, True):
            found = run(lambda t, a=axis, k=keepdims: function(t, a, keepdims=k), x)
            wanted = expected(f64(x), axis=axes, keepdims=keepdims)
            assert found.dtype == np.dtype(dtype)
            close(found, wanted.reshape(wanted.shape if wanted.ndim > 1 else (4, 1)))
    assert run(lambda t: function(t, 2, nl.float32), x).dtype == np.float32


@pytest.mark.parametrize("name", ["sum", "max", "mean"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_partitions(name: str, keepdims: bool) -> None:
    x = numbers(shape=(5, 2, 3))
    found = run(lambda t: getattr(nl, name)(t, 0, keepdims=keepdims), x)
    close(found, REDUCTIONS[name](f64(x), axis=0, keepdims=True))
    in_psum = run(lambda t: getattr(nl, name)(nl.transpose(t), 0), numbers())
    close(in_psum, REDUCTIONS[name](f64(numbers()).T, axis=0, keepdims=True))


def test_all() -> None:
    x = np.array([[1, 2, -3], [1, 0, 5], [0, 0, 0]], np.float32)
    found = run(lambda t: nl.all(t, axis=1), x)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, [[1], [0], [0]])


@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_reductions_of_whole_numbers(name: str) -> None:
    x = np.array([[3, -7, 12], [0, 5, -9]], np.int32)
    found = run(lambda t: getattr(nl, name)(t, 1, keepdims=True), x)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, REDUCTIONS[name](x, 1, keepdims=True))


def test_axes_that_are_refused() -> None:
    x = numbers(shape=(4, 2, 3))
    for axis in (1, (0, 1, 2), (0, 2), (2, 2), 3, -4, (), None, 1.0):
        refused(lambda t, a=axis: nl.sum(t, a), x, match="axis is")
    for function in (nl.min, nl.prod, nl.var, nl.all):
        refused(lambda t, f=function: f(t, 0), x, match="axis is 0")


# -- several steps ---------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_softmax(dtype: Any) -> None:
    x = numbers(dtype, (4, 3, 5))
    powers = np.exp(f64(x) - f64(x).max(-1, keepdims=True))
    close(run(nl.softmax, x), powers / powers.sum(-1, keepdims=True))
    powers = np.exp(f64(x))
    found = run(lambda t: nl.softmax(t, axis=(1, 2), dtype=nl.float32), x)
    assert found.dtype == np.float32
    close(found, powers / powers.sum((1, 2), keepdims=True))


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_rms_norm(dtype: Any) -> None:
    x, w = numbers(dtype), numbers(dtype)[::-1].copy()
    wide = f64(x)
    root = np.sqrt((wide**2).sum(1, keepdims=True) / 6 + 1e-3)
    found = run(lambda a, b: nl.rms_norm(a, b, axis=1, n=6, epsilon=1e-3), x, w)
    close(
        found / dtype.type(4) if isinstance(dtype, np.dtype) else found / dtype(4),
        wide / root * f64(w) / 4,
    )
    refused(lambda a, b: nl.rms_norm(a, b, 1, 6), x, w[:, :1].copy(), match="rms_norm")


def test_dropout() -> None:
    x = np.ones((64, 64), np.float32)
    kept = run(lambda t: nl.dropout(t, 0.25), x)
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert 0.7 < kept.mean() < 0.8
    assert not run(lambda t: nl.dropout(t, 1.0), x).any()
    rates = np.repeat(np.float32([0, 1]), 32).reshape(64, 1)
    kept = run(lambda t, r: nl.dropout(t, r, dtype=nl.bfloat16), x, rates)
    np.testing.assert_array_equal(kept, np.broadcast_to(1 - rates, x.shape))


# -- grids -----------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(8, 12), (7, 11), (3, 12)])
def test_a_tensor_is_copied_by_tiles(shape: tuple[int, int]) -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        sources, results = (nl.tiles(t, tile_shape=(4, 5)) for t in (src, dst))
        for i in range(sources.shape[0]):
            for j in range(sources.shape[1]):
                tile = nl.ndarray(sources[i, j].element_shape, src.dtype)
                nisa.dma_copy(dst=tile.data, src=sources[i, j].data)
                nisa.dma_copy(results[i][j], tile)
        return dst

    x = numbers(shape=shape)
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


def test_what_a_grid_tells() -> None:
    def kernel(src: Any) -> Any:
        grid = nl.tiles(src, tile_shape=(4, 5))
        assert isinstance(grid, nl.NkiTileGrid) and isinstance(grid, nl.NkiGrid)
        assert grid.shape == (2, 2, 3)
        assert grid.element_shape == (2, 7, 11)
        assert grid.index_step_elements == (1, 4, 5)
        assert (grid.dtype, grid.buffer) == (src.dtype, src.buffer)
        assert grid.is_remainder and not grid[0, 0, 0].is_remainder
        last = grid[1, -1, -1]
        assert (last.shape, last.element_shape) == ((), (3, 1))
        assert last.is_remainder and last.data.shape == (3, 1)
        row = grid[1, 0]
        assert (row.shape, row.element_shape, row.data.shape) == (
            (3,),
            (4, 11),
            (4, 11),
        )
        assert grid[0, :, 1:].element_shape == (7, 6)
        assert grid[..., 2].element_shape == (2, 7, 1)
        apart = grid[0, :, ::2]
        assert apart.shape == (2, 2) and apart.index_step_elements == (4, 10)
        assert apart.element_shape == (7, 6)
        assert not apart.is_data_representable
        with pytest.raises(ValueError, match="not one view"):
            apart.data  # noqa: B018
        for index in ((2,), (0, 0, 3), (0, 0, 0, 0)):
            with pytest.raises(NkiValidationError, match="a grid"):
                grid[index]
        return src

    nki.simulate(kernel)(numbers(shape=(2, 7, 11)))


def test_blocks_of_tiles() -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        shapes = {"tile_shape": (2, 3), "block_shape": (2, 2)}
        sources, results = nl.blocks(src, **shapes), nl.blocks(dst, **shapes)
        assert sources.shape == (2, 2) and sources.block_shape == (2, 2)
        assert sources.index_step_elements == (4, 6)
        assert sources[1, 1].element_shape == (3, 5)
        for i in range(2):
            for j in range(2):
                into = nl.tiles(results[i, j])
                tiles = nl.tiles(sources[i, j])
                assert isinstance(tiles, nl.NkiTileGrid) and tiles.tile_shape == (2, 3)
                for k in range(tiles.shape[0]):
                    for m in range(tiles.shape[1]):
                        nl.store(into[k, m], nl.load(tiles[k, m]))
        assert nl.blocks(
            nl.tiles(src, tile_shape=(2, 3)), block_shape=(1, 4)
        ).shape == (
            4,
            1,
        )
        return dst

    x = numbers(shape=(7, 11))
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


@pytest.mark.parametrize("buffer", [nl.sbuf, nl.private_hbm])
def test_new_storage_of_tiles(buffer: Any) -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        kept = nl.alloc_blocks(
            tile_shape=(4, 5),
            block_shape=(1, 2),
            element_shape=(7, 11),
            buffer=buffer,
            dtype=src.dtype,
        )
        assert kept.shape == (2, 2) and kept.element_shape == (7, 11)
        sources, results = (nl.tiles(t, tile_shape=(4, 5)) for t in (src, dst))
        inner = nl.tiles(kept)
        for i in range(2):
            for j in range(3):
                nisa.dma_copy(inner[i, j], sources[i, j])
        for i in range(2):  # whole rows
            nisa.dma_copy(results[i], inner[i])
        return dst

    x = numbers(shape=(7, 11))
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


def test_what_grids_refuse() -> None:
    def kernel(src: Any) -> Any:
        for error, call in [
            (TypeError, lambda: nl.tiles(src)),
            (TypeError, lambda: nl.tiles(3, tile_shape=(2, 2))),
            (TypeError, lambda: nl.tiles(src, tile_shape=[2, 2])),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2,))),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2, 0))),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2, 2, 2))),
            (ValueError, lambda: nl.blocks(src, tile_shape=(2, 2), block_shape=(2,))),
        ]:
            with pytest.raises(error):
                call()
        kept = nl.alloc_tiles(
            tile_shape=(2, 3), element_shape=(4, 6), buffer=nl.sbuf, dtype=nl.float32
        )
        assert not kept.is_data_representable and kept[0].is_data_representable
        with pytest.raises(TypeError):
            nl.alloc_tiles(
                tile_shape=(2, 3), element_shape=(4, 6), buffer="sbuf", dtype=nl.float32
            )
        return src

    nki.simulate(kernel)(numbers())


# -- loops, programs -------------------------------------------------------------------
def test_older_loops_warn_once_a_line() -> None:
    def kernel(x: Any) -> Any:
        for _ in nl.affine_range(3):
            for _ in nl.sequential_range(2):
                pass
        for _ in nl.static_range(1, 3):
            pass
        return x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nki.simulate(kernel)(numbers())
    lines = [w.lineno for w in caught if w.category is DeprecationWarning]
    first = kernel.__code__.co_firstlineno
    assert lines == [first + 1, first + 2, first + 4]
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize("bounds", [(3,), (1, 4), (0, 4, 2), (2, 2)])
def test_dynamic_range(bounds: tuple[int, ...]) -> None:
    def kernel(x: Any) -> Any:
        result = nl.zeros(x.shape, x.dtype, nl.shared_hbm)
        for i in nl.dynamic_range(*bounds):
            nl.store(result[nl.ds(i, 1)], nl.load(x[nl.ds(i, 1)]))
        return result

    x = numbers()
    with pytest.warns(DeprecationWarning, match="fori_loop"):
        found = nki.simulate(kernel)(x)
    expected = np.zeros_like(x)
    expected[list(range(*bounds))] = x[list(range(*bounds))]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_dynamic_loop_cannot_be_left() -> None:
    def kernel(x: Any) -> Any:
        for _ in nl.dynamic_range(4):
            break
        return x

    with pytest.raises(NkiValidationError, match="left before its end"):
        nki.simulate(kernel)(numbers())


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_programs_run_again_from_their_bytes() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        nl.device_print("x", tile)
        constant = nl.load(nl.shared_constant(np.full((4, 6), 2.5, np.float32)))
        made = nl.add(nl.softmax(nl.multiply(tile, constant)), nl.floor(tile))
        result = nl.zeros(x.shape, x.dtype, nl.shared_hbm)
        for i in nl.dynamic_range(1, 4):
            nisa.dma_copy(result[nl.ds(i, 1)], made[nl.ds(i, 1)])
        return result

    x, other = numbers(), numbers()[::-1].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        simulator = nki.Simulator(kernel)
        read = decode(encode(simulator.run(x).programs))
        for array in (x, other):
            (again,) = replay(read, [array])
            np.testing.assert_array_equal(again, simulator(array))


def test_generations_give_the_same() -> None:
    """What all chips have: several steps, with each engine's own rules."""

    def several(x: Any) -> Any:
        made = nl.rms_norm(nl.softmax(x), nl.sin(x), axis=1, n=6)
        made = nl.add(made, nl.broadcast_to(nl.mean(x, 0), (4, 6)))
        made = nl.where(nl.less(x, 0.0), nl.floor(x), made)
        identity = nl.shared_identity_matrix(4, nl.float32)
        return nl.matmul(identity, nl.multiply(made, nl.gelu(x)), transpose_x=True)

    x = numbers()
    expected = run(several, x)
    for target in ("trn1", "trn3"):
        np.testing.assert_array_equal(run(several, x, target=target), expected)


# -- kernels as guides have them -------------------------------------------------------
@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_attention_of_one_head() -> None:
    """Scores, softmax and values, each a function of the language."""

    def kernel(q: Any, k: Any, v: Any) -> Any:
        scores = nl.matmul(nl.load_transpose2d(q), nl.load_transpose2d(k), True)
        weights = nl.softmax(nl.multiply(scores, 1 / math.sqrt(q.shape[1])), axis=1)
        made = nl.matmul(weights, nl.load(v))
        result = nl.ndarray(made.shape, q.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(made))
        return result

    q, k, v = (numbers(shape=(16, 8)) + np.float32(i) / 8 for i in range(3))
    scores = f64(q) @ f64(k).T / math.sqrt(8)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ f64(v)
    np.testing.assert_allclose(nki.simulate(kernel)(q, k, v), expected, 1e-4, 1e-4)


def test_layer_norm_by_tiles() -> None:
    """Rows in tiles of the greatest height, the last of them partial."""

    def kernel(x: Any, weight: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        scale = nl.broadcast_to(nl.load(weight), (128, x.shape[1]))
        for start in range(0, x.shape[0], nl.tile_size.pmax):
            rows = slice(start, min(start + nl.tile_size.pmax, x.shape[0]))
            tile = nl.load(x[rows])
            mean = nl.mean(tile, axis=1, keepdims=True)
            spread = nl.rsqrt(nl.add(nl.var(tile, axis=1, keepdims=True), 1e-5))
            made = nl.ndarray(tile.shape, nl.float32)
            nisa.tensor_scalar(
                made, tile, nl.subtract, mean, False, nl.multiply, spread
            )
            nl.store(result[rows], nl.multiply(made, scale[: tile.shape[0]]))
        return result

    x, w = numbers(shape=(200, 32)), numbers(shape=(1, 32))
    wide = f64(x)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(
        wide.var(1, keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(
        nki.simulate(kernel)(x, w), expected * f64(w), 2e-5, 2e-5
    )


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_a_mask_by_iota_and_where() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        place = nl.ndarray(tile.shape, nl.float32)
        nisa.iota(place, [[1, tile.shape[1]]], channel_multiplier=-1)
        masked = nl.where(nl.less_equal(place, 0.0), tile, -np.inf)
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(result, nl.softmax(masked))
        return result

    x = numbers(shape=(6, 6))
    powers = np.tril(np.exp(f64(x)))
    close(nki.simulate(kernel)(x), powers / powers.sum(1, keepdims=True))


def test_addition_by_tiles() -> None:
    """Two matrices of several tiles, each loaded, added and stored."""

    def kernel(a: Any, b: Any) -> Any:
        result = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        for i in range(a.shape[0] // 128):
            for j in range(a.shape[1] // 64):
                part = (slice(i * 128, (i + 1) * 128), nl.ds(j * 64, 64))
                nl.store(result[part], nl.add(nl.load(a[part]), nl.load(b[part])))
        return result

    a, b = numbers(shape=(256, 128)), numbers(shape=(256, 128))[::-1].copy()
    np.testing.assert_array_equal(nki.simulate(kernel)(a, b), a + b)


def test_free_dimensions_are_exchanged() -> None:
    """Each row's matrix transposed: copies with two views of a partition."""

    def kernel(x: Any, rows: int) -> Any:
        tile = nl.load(x)
        columns = x.shape[1] // rows
        made = nl.ndarray(tile.shape, tile.dtype)
        for i in range(rows):
            for j in range(columns):
                made[:, j * rows + i] = tile[:, i * columns + j]
        nl.store(x, made)
        return x

    x = numbers(shape=(3, 12))
    expected = x.reshape(3, 3, 4).transpose(0, 2, 1).reshape(3, 12)
    np.testing.assert_array_equal(nki.simulate(kernel)(x.copy(), 3), expected)


def test_pooling_by_an_access_pattern() -> None:
    """The mean of windows: five dimensions of a view, the last two summed."""

    def kernel(x: Any, size: int) -> Any:
        tile = nl.load(x)
        channels, height, width = x.shape
        windows = tile.ap(
            [
                [height * width, channels],
                [size * width, height // size],
                [size, width // size],
                [width, size],
                [1, size],
            ]
        )
        pooled = nl.multiply(nl.sum(windows, axis=[3, 4]), 1 / (size * size))
        result = nl.ndarray(pooled.shape, x.dtype, nl.shared_hbm)
        nl.store(result, pooled)
        return result

    x = numbers(shape=(5, 6, 8))
    expected = f64(x).reshape(5, 3, 2, 4, 2).mean((2, 4))
    close(nki.simulate(kernel)(x, 2), expected)


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_rms_norm_with_a_row_of_weights() -> None:
    def kernel(x: Any, weight: Any) -> Any:
        tile = nl.load(x)
        weights = nl.broadcast_to(nl.load(weight), tile.shape)
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(result, nl.rms_norm(tile, weights, axis=1, n=x.shape[1]))
        return result

    x, w = numbers(shape=(8, 16)), numbers(shape=(1, 16))
    wide = f64(x)
    root = np.sqrt((wide**2).mean(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(
        nki.simulate(kernel)(x, w), wide / root * f64(w), 1e-5, 1e-5
    )


def test_products_of_blocks_add_up_in_the_psum() -> None:
    """The inner dimension in tiles: products of each are added to one tile."""

    def kernel(left: Any, right: Any) -> Any:
        rows, columns = left.shape[1], right.shape[1]
        total = nl.ndarray((rows, columns), nl.float32, buffer=nl.psum)
        for k in range(left.shape[0] // nl.tile_size.pmax):
            part = nl.ds(k * nl.tile_size.pmax, nl.tile_size.pmax)
            nisa.nc_matmul(total, nl.load(left[part]), nl.load(right[part]))
        result = nl.ndarray((rows, columns), left.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(total, dtype=left.dtype))
        return result

    left, right = numbers(shape=(256, 16)), numbers(shape=(256, 24))
    np.testing.assert_allclose(
        nki.simulate(kernel)(left, right), f64(left).T @ f64(right), 1e-4, 1e-4
    )


def test_a_running_softmax() -> None:
    """Tiles of a row one after another, with the greatest and the sum so far."""

    def kernel(x: Any) -> Any:
        width = 8
        rows = x.shape[0]
        top = nl.full((rows, 1), -np.inf, nl.float32)
        total = nl.zeros((rows, 1), nl.float32)
        for start in range(0, x.shape[1], width):
            tile = nl.load(x[:, nl.ds(start, width)])
            higher = nl.maximum(top, nl.max(tile, axis=1, keepdims=True))
            powers = nl.ndarray(tile.shape, nl.float32)
            nisa.activation(powers, nl.exp, tile, bias=nl.negative(higher))
            shrunk = nl.multiply(total, nl.exp(nl.subtract(top, higher)))
            total = nl.add(shrunk, nl.sum(powers, axis=1, keepdims=True))
            top = higher
        result = nl.ndarray((rows, 1), nl.float32, nl.shared_hbm)
        nl.store(result, nl.add(top, nl.log(total)))
        return result

    x = numbers(shape=(4, 32))
    close(nki.simulate(kernel)(x), np.log(np.exp(f64(x)).sum(1, keepdims=True)))


@pytest.mark.parametrize(
    "shape, buffer, problem",
    [
        ((4, 4), "sbuf", "buffer is 'sbuf'"),
        ((4, -1), nl.sbuf, "must be of whole numbers"),
        ((4, 1.5), nl.sbuf, "must be of whole numbers"),
        ((), nl.sbuf, "must be of whole numbers"),
        ((1 << 20, 1 << 20), nl.shared_hbm, "larger than the memory"),
    ],
)
def test_what_cannot_be_a_tensor_is_refused(
    shape: Any, buffer: Any, problem: str
) -> None:
    def kernel() -> None:
        nl.ndarray(shape, nl.float32, buffer=buffer)

    with pytest.raises(nki.NkiValidationError, match=problem) as raised:
        nki.simulate(kernel)()
    assert __file__ in str(raised.value)


@pytest.mark.parametrize("shape", [(3, 70000), (2, 2, 40000), (100000,)])
def test_full_in_hbm_of_long_rows(shape: tuple[int, ...]) -> None:
    @nki.jit
    def kernel() -> Any:
        return nl.full(shape, 2.5, nl.float32, buffer=nl.shared_hbm)

    made = kernel()
    assert made.shape == shape and (made == 2.5).all()
